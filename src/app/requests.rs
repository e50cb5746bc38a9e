//! Which requests get a line in the log, and what it says: never a path or query, which may hold a signature.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use http::{Method, StatusCode};

use crate::{
    config::{Log, Requests},
    error::BUSY,
};

/// The book of requests.
#[derive(Debug)]
pub struct RequestLog {
    which: Requests,
    /// One in so many is logged.
    one_in: u64,
    count: AtomicU64,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// What was asked with.
    pub method: &'a Method,
    /// Where it went, as in the metrics.
    pub route: &'static str,
    /// What it was answered.
    pub status: StatusCode,
    /// Why not what was asked for, in the problem document's word.
    pub code: Option<&'static str>,
    /// How many bytes the answer's body has, as far as that is known.
    pub bytes: Option<u64>,
    /// Where an image came from.
    pub tier: Option<&'static str>,
    /// How long it took until the answer began.
    pub took: Duration,
}

impl RequestLog {
    /// Begins a book.
    pub fn new(settings: &Log) -> Self {
        let one_in = settings.requests_one_in.max(1);
        Self { which: settings.requests, one_in, count: AtomicU64::new(0) }
    }

    /// Whether any request gets a line that is answered well.
    pub fn has_all(&self) -> bool {
        self.which == Requests::All
    }

    /// Whether one with such an answer gets a line. What failed here always does; what was shed did not fail, and a
    /// line for each would make a flood of requests one of lines.
    pub fn wants(&self, status: StatusCode, code: Option<&'static str>) -> bool {
        let class = match status.as_u16() {
            500.. if code != Some(BUSY) => return true,
            400.. => Requests::Errors,
            _ => Requests::All,
        };
        class <= self.which
            && (self.one_in == 1 || self.count.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.one_in))
    }

    /// Writes a line. The request's id is among the line's own.
    pub fn write(&self, answered: &Answered<'_>) {
        macro_rules! write_at {
            ($level:ident) => {
                tracing::$level!(
                    target: "pinhole::requests",
                    method = name(answered.method),
                    route = answered.route,
                    status = answered.status.as_u16(),
                    code = answered.code,
                    bytes = answered.bytes,
                    tier = answered.tier,
                    duration_ms = millis(answered.took),
                    "request"
                )
            };
        }
        match answered.status {
            // What passes by itself, or by fewer requests.
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => write_at!(warn),
            status if status.is_server_error() => write_at!(error),
            _ => write_at!(info),
        }
    }
}

/// A method, if it is one that is used here: it may be any text of any length.
fn name(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => method.as_str(),
        _ => "other",
    }
}

/// In milliseconds, to the microsecond.
fn millis(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_here_is_always_logged_and_the_rest_as_the_settings_say() {
        let statuses = [200, 206, 304, 400, 404, 429, 500, 503];
        for (requests, logged) in [
            (Requests::Failures, &statuses[6..]),
            (Requests::Errors, &statuses[3..]),
            (Requests::All, &statuses[..]),
        ] {
            let log = RequestLog::new(&Log { requests, ..Log::default() });
            let wanted =
                statuses.iter().filter(|status| log.wants(StatusCode::from_u16(**status).unwrap(), None));
            assert!(wanted.eq(logged), "{requests:?}");
            let shed = log.wants(StatusCode::SERVICE_UNAVAILABLE, Some(BUSY));
            assert_eq!(shed, requests >= Requests::Errors, "{requests:?}");
        }
    }

    #[test]
    fn of_so_many_one_is_logged() {
        let log = RequestLog::new(&Log { requests: Requests::All, requests_one_in: 10, ..Log::default() });
        let logged = |status| (0..100).filter(|_| log.wants(status, None)).count();
        assert_eq!((logged(StatusCode::OK), logged(StatusCode::BAD_GATEWAY)), (10, 100));
    }
}
