//! What the answer to a purge means.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, header};

/// The longest part of an answer that an operator is told, in bytes.
const SAID_BYTES: usize = 200;

/// What became of a purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The edge has forgotten the images, or is about to.
    Done,
    /// It has not; why, and how long it wants to be left alone, if it says so.
    Failed(String, Option<Duration>),
}

/// 2xx is done and everything else is not; a redirect leads nowhere that the settings name.
pub(super) fn by_status(answer: &Response<Bytes>) -> Verdict {
    if answer.status().is_success() { Verdict::Done } else { failed(answer) }
}

pub(super) fn failed(answer: &Response<Bytes>) -> Verdict {
    let body = answer.body();
    let said = String::from_utf8_lossy(&body[..body.len().min(SAID_BYTES)]);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let colon = if said.is_empty() { "" } else { ": " };
    Verdict::Failed(format!("it answers with {}{colon}{said}", answer.status()), retry_after(answer))
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3). A date is left to our own pauses: the other clock may be off.
fn retry_after(answer: &Response<Bytes>) -> Option<Duration> {
    let secs = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(secs))
}
