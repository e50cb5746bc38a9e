//! What becomes of the answers on a connection of HTTP/2: whether the client takes them.
//!
//! TCP's own timeout does not see a client that reads everything, and then grants no window for an answer
//! (RFC 9113, section 5.2). So the answers' bytes say themselves when they move.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};

/// How many streams are remembered before those that are over are cleared away.
const MAX_REMEMBERED: usize = 256;

/// The streams of a connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// How many there have been.
    begun: AtomicU64,
    /// Whether a byte of any answer has moved since the last look.
    moved: AtomicBool,
    remembered: Mutex<Vec<Weak<Stream>>>,
}

/// A request under way, until the last byte of its answer is written.
#[derive(Debug)]
pub(super) struct Stream {
    connection: Arc<Streams>,
    /// Whether bytes of the answer are there that the client has not taken.
    has_bytes: AtomicBool,
    /// Whether any was taken since the last look.
    moved: AtomicBool,
    /// At how many looks in a row none had been.
    still: AtomicU32,
}

/// What is seen of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Whether there is, or was since the last look, a request.
    pub(super) has_requests: bool,
    /// Whether a byte of any answer has moved since the last look.
    pub(super) has_moved: bool,
    /// At how many looks in a row the answer that waits longest had not moved.
    pub(super) still: u32,
}

impl Streams {
    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>) -> Arc<Stream> {
        self.begun.fetch_add(1, Relaxed);
        let stream = Arc::new(Stream {
            connection: Arc::clone(self),
            has_bytes: AtomicBool::new(false),
            moved: AtomicBool::new(false),
            still: AtomicU32::new(0),
        });
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.retain(|stream| stream.strong_count() > 0);
        }
        remembered.push(Arc::downgrade(&stream));
        stream
    }

    /// Looks at all of them. `begun` is how many there had been at the last look.
    pub(super) fn look(&self, begun: &mut u64) -> Seen {
        let before = std::mem::replace(begun, self.begun.load(Relaxed));
        let mut seen =
            Seen { has_requests: *begun != before, has_moved: self.moved.swap(false, Relaxed), still: 0 };
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|stream| {
            let Some(stream) = stream.upgrade() else { return false };
            seen.has_requests = true;
            let is_still = stream.has_bytes.load(Relaxed) && !stream.moved.swap(false, Relaxed);
            let looks = if is_still { stream.still.load(Relaxed).saturating_add(1) } else { 0 };
            stream.still.store(looks, Relaxed);
            seen.still = seen.still.max(looks);
            true
        });
        seen
    }
}

impl Stream {
    fn moves(&self) {
        self.moved.store(true, Relaxed);
        self.connection.moved.store(true, Relaxed);
    }
}

/// An answer's body, whose bytes say when they move.
pub(super) struct Watched<B> {
    /// `None` if none is sent.
    body: Option<B>,
    stream: Arc<Stream>,
}

impl<B> Watched<B> {
    pub(super) fn new(body: Option<B>, stream: Arc<Stream>) -> Self {
        Self { body, stream }
    }
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = Piece<B::Data>;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        // While more of it is still to be made, it is not the client who is waited for.
        self.stream.has_bytes.store(polled.is_ready(), Relaxed);
        polled.map_ok(|frame| frame.map_data(|data| Piece { data, stream: Arc::clone(&self.stream) }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Bytes of an answer, until they are written.
pub(super) struct Piece<D> {
    data: D,
    stream: Arc<Stream>,
}

impl<D: Buf> Buf for Piece<D> {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(slices)
    }

    fn advance(&mut self, bytes: usize) {
        self.stream.moves();
        self.data.advance(bytes);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn piece(stream: &Arc<Stream>) -> Piece<Bytes> {
        stream.has_bytes.store(true, Relaxed);
        Piece { data: Bytes::from_static(b"bytes"), stream: Arc::clone(stream) }
    }

    #[test]
    fn a_connection_has_requests_until_the_last_byte_is_written() {
        let (streams, mut begun) = (Arc::new(Streams::default()), 0);
        assert!(!streams.look(&mut begun).has_requests);
        let stream = streams.begin();
        let piece = piece(&stream);
        drop(stream);
        streams.look(&mut begun);
        assert!(streams.look(&mut begun).has_requests, "bytes are left");
        drop(piece);
        assert!(!streams.look(&mut begun).has_requests);
        drop(streams.begin());
        assert!(streams.look(&mut begun).has_requests, "there was one since the last look");
        assert!(!streams.look(&mut begun).has_requests);
    }

    #[test]
    fn an_answer_is_still_while_its_bytes_are_there_and_do_not_move() {
        let (streams, mut begun) = (Arc::new(Streams::default()), 0);
        let (working, waiting) = (streams.begin(), streams.begin());
        let mut piece = piece(&waiting);
        assert_eq!(streams.look(&mut begun).still, 1);
        assert_eq!(streams.look(&mut begun), Seen { has_requests: true, has_moved: false, still: 2 });
        piece.advance(1);
        assert_eq!(streams.look(&mut begun), Seen { has_requests: true, has_moved: true, still: 0 });
        drop((piece, waiting));
        assert_eq!(streams.look(&mut begun).still, 0, "the other one is still being answered");
        drop(working);
    }

    #[test]
    fn streams_that_are_over_are_not_remembered() {
        let streams = Arc::new(Streams::default());
        let kept = streams.begin();
        for _ in 0..10 * MAX_REMEMBERED {
            streams.begin();
        }
        assert!(streams.remembered.lock().unwrap().len() <= MAX_REMEMBERED);
        assert!(streams.look(&mut 0).has_requests);
        drop(kept);
    }
}
