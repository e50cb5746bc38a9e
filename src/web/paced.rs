//! A request's body that keeps pace, or is given up: the one place that all bodies come through.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::{Instant, Sleep};

/// How slowly a body may come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long its sender may be waited for in one go, and how far he may fall behind.
    pub(super) patience: Duration,
    /// What he has to send each second so as not to fall behind; 0: anything.
    pub(super) min_bytes_per_sec: u64,
}

/// How long the sender may still be waited for. Waiting uses it up, and bytes bring it back; as Apache's
/// `mod_reqtimeout` reckons with `MinRate`, but that nothing can be saved up beyond the patience, so that a large
/// first part does not pay for hours of nothing.
#[derive(Clone, Copy, Debug)]
struct Credit {
    pace: Pace,
    left: Duration,
}

impl Credit {
    fn new(pace: Pace) -> Self {
        Self { pace, left: pace.patience }
    }

    fn waited(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    fn received(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let worth = match bytes.saturating_mul(1_000_000).checked_div(self.pace.min_bytes_per_sec) {
            Some(micros) => Duration::from_micros(micros),
            None => self.pace.patience,
        };
        self.left = self.left.saturating_add(worth).min(self.pace.patience);
    }
}

/// Why no more comes of a body.
#[derive(Debug, Error)]
pub(super) enum Stopped {
    /// The connection ended, or what came is not HTTP.
    #[error("{0}")]
    Broken(#[from] hyper::Error),
    /// It came too slowly, or not at all.
    #[error("it came too slowly")]
    TooSlow,
}

/// A body, as hyper has it, with its sender's credit. Only the time counts that somebody waits for him.
#[derive(Debug)]
pub(super) struct Paced {
    body: Incoming,
    credit: Credit,
    /// Since when he is waited for.
    waiting: Option<Instant>,
    /// Ends when the credit does; made when he is waited for the first time.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub(super) fn new(body: Incoming, pace: Pace) -> Self {
        Self { body, credit: Credit::new(pace), waiting: None, timer: None }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            if let Some(since) = this.waiting.take() {
                this.credit.waited(since.elapsed());
            }
            if let Some(Ok(frame)) = &frame {
                this.credit.received(frame.data_ref().map_or(0, Bytes::len));
            }
            return Poll::Ready(frame.map(|frame| Ok(frame?)));
        }
        let is_new = this.waiting.is_none();
        let end = *this.waiting.get_or_insert_with(Instant::now) + this.credit.left;
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        if is_new {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(cx).map(|()| Some(Err(Stopped::TooSlow)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// For how long a sender is borne with who sends `bytes` every `pause`, at most an hour.
    fn borne(min_bytes_per_sec: u64, bytes: usize, pause: Duration) -> Duration {
        let mut credit = Credit::new(Pace { patience: Duration::from_secs(30), min_bytes_per_sec });
        let mut time = Duration::ZERO;
        while time < Duration::from_hours(1) && pause < credit.left {
            time += pause;
            credit.waited(pause);
            credit.received(bytes);
        }
        time
    }

    #[test]
    fn a_drip_is_given_up_and_a_slow_line_is_not() {
        let secs = Duration::from_secs;
        assert!(borne(512, 1, secs(29)) < secs(60));
        assert!(borne(512, 500, secs(1)) < Duration::from_hours(1), "2 % below the least");
        assert!(borne(512, 10 << 10, secs(1)) >= Duration::from_hours(1), "10 KB/s");
        assert!(borne(512, 16 << 10, secs(25)) >= Duration::from_hours(1), "in gusts");
        assert!(borne(0, 1, secs(29)) >= Duration::from_hours(1), "no bound but the pause");
        assert_eq!(borne(0, 1, secs(31)), secs(0));
    }

    proptest! {
        /// However it comes, the whole time is bounded by its length: patience and length over pace.
        #[test]
        fn the_whole_time_is_bounded(
            rate in 1u64..10_000,
            pieces in proptest::collection::vec((0usize..100_000, 0u64..40_000), 0..200),
        ) {
            let patience = Duration::from_secs(30);
            let mut credit = Credit::new(Pace { patience, min_bytes_per_sec: rate });
            let (mut waited, mut bytes) = (Duration::ZERO, 0);
            for (piece, millis) in pieces {
                let pause = Duration::from_millis(millis);
                if pause >= credit.left {
                    waited += credit.left;
                    break;
                }
                waited += pause;
                bytes += piece as u64;
                credit.waited(pause);
                credit.received(piece);
            }
            prop_assert!(waited <= patience + Duration::from_micros(bytes * 1_000_000 / rate));
        }
    }
}
