//! `Idempotency-Key`: a POST that is repeated under its key is answered again, and not done again
//! (draft-ietf-httpapi-idempotency-key-header).
//!
//! The way of a keyed request: who asks, his key, the body to its end, what is asked as a fingerprint.
//! Then it claims the key, is handled, and keeps its answer under the key. The rules:
//!
//! * Keys belong to callers. A user, a service, and a service acting for a user each have their own,
//!   and who asks is decided before the key is looked at.
//! * Only success (2xx) is kept. Any other answer gives the key back, so that the request may be
//!   corrected or sent again. After a 5xx nobody knows what was done, and a repetition is done again.
//! * A claim is a lease. Its holder stops working before it ends, so that nobody works on a request
//!   that another has taken over; and what he writes to the ledger names his own claim.
//! * The answer is kept after the effect, in a transaction of its own. A crash, a panic, or an outage of
//!   the database between the two leaves the effect without an answer: the claim bars the key until the
//!   lease ends, and a repetition after that is done again. So a request is done once, but for that
//!   moment, where it is done at least once.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, response};
use http_body_util::{BodyExt as _, Either};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout_at};

use super::{
    Answer, Context, body, full,
    paced::Paced,
    route::Route,
    run,
    sent::{Received, Sent},
    tus,
};
use crate::{
    clock,
    db::{
        idempotency::{self, Holder, Kept, Keyed},
        users,
    },
    error::Error,
    id::{ClaimId, hex},
    identity::{self, Caller},
};

/// What names a request.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer was given before.
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The longest key, in characters.
const MAX_KEY_CHARS: usize = 255;
/// The largest answer that is kept, in bytes of its body. No handler has a larger one; the key of such
/// an answer would be given back, and a repetition done again.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// The part of a lease, as its divisor, that is left when the work must end: for keeping the answer, and
/// for another node's clock.
const LEASE_MARGIN: u64 = 10;

/// Whether a request asks to be done once. Other methods can be repeated as they are, so there the
/// header says nothing.
pub(super) fn is_asked_for(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::POST && headers.contains_key(IDEMPOTENCY_KEY)
}

/// Answers a request that asks to be done once.
///
/// The caller must see to it that this goes on when the client hangs up.
pub(super) async fn once(cx: &Context<'_>, route: Route<'_>, body: &mut Paced) -> Answer {
    let caller = cx.identified().await?;
    if let Some(user) = caller.user() {
        cx.ensure(user).await?;
    }
    let Some(scope) = scope(&caller, cx.headers) else {
        // Nobody has no keys; the handler has the right words for him.
        return run(cx, route, Sent::Coming(body)).await;
    };
    let key = key(cx.headers)?;
    let received = Received::receive(route, cx.headers, body, cx.max_file_bytes()).await?;
    let fingerprint = fingerprint(cx, &received);
    let keyed = Keyed { scope, key, user: caller.user().cloned(), fingerprint };

    let _place = cx.app.keyed.enter().await?;
    let claim = ClaimId::new();
    let lease_secs = cx.app.config.idempotency.lease_secs;
    // The clock that stops the work is read before the one that ends the claim.
    let stop = Instant::now() + Duration::from_secs(lease_secs - lease_secs / LEASE_MARGIN);
    if let Some(kept) = take(cx, &keyed, claim, lease_secs).await? {
        return replay(&kept);
    }
    let Ok(answer) = timeout_at(stop, run(cx, route, Sent::Received(received))).await else {
        // What was done until now is not known, so the claim stays until it ends, which is soon.
        return Err(Error::took_too_long());
    };
    settle(cx, &keyed, claim, answer).await
}

/// Whose keys the caller's are; nobody's, when he did not say who he is.
fn scope(caller: &Caller, headers: &HeaderMap) -> Option<String> {
    match caller {
        Caller::Anonymous => None,
        Caller::User { id, by_service: false } => Some(format!("user {id}")),
        Caller::User { id, by_service: true } => {
            identity::presented_key_hash(headers).map(|service| format!("service {service} for {id}"))
        }
        Caller::Service => identity::presented_key_hash(headers).map(|service| format!("service {service}")),
    }
}

/// The request's key.
fn key(headers: &HeaderMap) -> Result<String, Error> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let only = values.next().filter(|_| values.next().is_none());
    only.and_then(|value| parse(value.as_bytes())).ok_or_else(|| {
        Error::invalid_field(
            "Idempotency-Key",
            format_args!(
                "must be given once, as 1 to {MAX_KEY_CHARS} visible ASCII characters, bare or as a quoted string"
            ),
        )
    })
}

/// Reads a key as clients send it, bare, and as the draft has it: a string of RFC 9651 §3.3.3. Both
/// are the same key.
fn parse(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let key = match text.strip_prefix('"') {
        Some(rest) => unquote(rest.strip_suffix('"')?)?,
        None => text.to_owned(),
    };
    let well_formed =
        (1..=MAX_KEY_CHARS).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    well_formed.then_some(key)
}

/// What stands between the quotation marks of a string. Only they and backslashes are escaped.
fn unquote(quoted: &str) -> Option<String> {
    let mut key = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => key.push(chars.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            '"' => return None,
            _ => key.push(c),
        }
    }
    Some(key)
}

/// Everything that a request asks, as a SHA-256 in hexadecimal. JSON separates its parts, so that no
/// two requests run together to the same text.
fn fingerprint(cx: &Context<'_>, received: &Received) -> String {
    let asked = json!([
        cx.method.as_str(),
        cx.uri.path(),
        cx.uri.query(),
        body::media_type(cx.headers),
        tus::asked_in_headers(cx.uri.path(), cx.headers),
        received.summary(),
    ]);
    hex(&Sha256::digest(asked.to_string()))
}

/// Claims the key, or finds the answer that is kept under it.
async fn take(
    cx: &Context<'_>,
    keyed: &Keyed,
    claim: ClaimId,
    lease_secs: u64,
) -> Result<Option<Kept>, Error> {
    let mut tx = cx.app.db.begin().await?;
    if let Some(user) = &keyed.user
        && !users::lock_alive(&mut tx, user).await?
    {
        return Err(Error::erased());
    }
    let now = clock::now_micros();
    if idempotency::claim(&mut tx, keyed, claim, now, clock::after(now, lease_secs)).await? {
        tx.commit().await?;
        return Ok(None);
    }
    match idempotency::holder(&mut tx, keyed).await? {
        Some(holder) if holder.fingerprint != keyed.fingerprint => Err(Error::idempotency_key_reused()),
        Some(Holder { kept: Some(kept), .. }) => Ok(Some(kept)),
        _ => Err(Error::idempotency_key_in_use()),
    }
}

/// Keeps a success under the key, and gives the key of anything else back. The client gets his answer
/// either way: what was done is done.
async fn settle(cx: &Context<'_>, keyed: &Keyed, claim: ClaimId, answer: Answer) -> Answer {
    let (answer, kept) = match answer {
        Ok(response) if response.status().is_success() => {
            let (parts, body) = response.into_parts();
            let (body, kept) = match body {
                Either::Left(body) => {
                    let Ok(bytes) = body.collect().await;
                    let bytes = bytes.to_bytes();
                    let kept = to_keep(&parts, &bytes);
                    (full(bytes), kept)
                }
                stream @ Either::Right(_) => (stream, None),
            };
            if kept.is_none() {
                tracing::warn!("an answer is too large to be kept, or no text; a repetition is done again");
            }
            (Ok(Response::from_parts(parts, body)), kept)
        }
        other => (other, None),
    };
    let writing = async {
        let mut tx = cx.app.db.begin().await?;
        if let Some(kept) = kept {
            let until = clock::after(clock::now_micros(), cx.app.config.idempotency.keep_secs);
            if !idempotency::keep(&mut tx, keyed, claim, &kept, until).await? {
                tracing::warn!(
                    "an answer came too late to be kept: its key was another's, or its user erased"
                );
            }
        } else {
            idempotency::release(&mut tx, keyed, claim).await?;
        }
        tx.commit().await
    };
    if let Err(error) = writing.await {
        tracing::warn!("an idempotency key stays claimed until its lease ends: {error}");
    }
    answer
}

/// An answer as the ledger keeps it, if it can.
fn to_keep(parts: &response::Parts, body: &Bytes) -> Option<Kept> {
    if body.len() > MAX_KEPT_BYTES {
        return None;
    }
    let headers: Option<Vec<(&str, &str)>> =
        parts.headers.iter().map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    Some(Kept {
        status: i64::from(parts.status.as_u16()),
        headers: serde_json::to_string(&headers?).ok()?,
        body: String::from_utf8(body.to_vec()).ok()?,
    })
}

/// The kept answer, again.
fn replay(kept: &Kept) -> Answer {
    let response = || -> Option<_> {
        let mut response = Response::new(full(Bytes::from(kept.body.clone())));
        *response.status_mut() = StatusCode::from_u16(u16::try_from(kept.status).ok()?).ok()?;
        let pairs: Vec<(String, String)> = serde_json::from_str(&kept.headers).ok()?;
        for (name, value) in pairs {
            response
                .headers_mut()
                .append(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
        }
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        Some(response)
    };
    response().ok_or_else(|| Error::internal(&"the ledger holds a kept answer that cannot be read"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A key as a string of RFC 9651 §4.1.6.
    fn quoted(key: &str) -> String {
        format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in [
            "",
            "\"\"",
            "\"",
            "a b",
            "\"a b\"",
            "\"a",
            "\"a\"b\"",
            "\"a\\b\"",
            "\"a\\\"",
            "\"a\", \"b\"",
            "\"a\";x=1",
            "ä",
            "a\tb",
            "a\u{7f}",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(parse(b"\xff"), None);
        let key = |times| parse("x".repeat(times).as_bytes());
        assert_eq!((key(255).is_some(), key(256)), (true, None));
        assert_eq!(parse(b"\"a\\\"b\\\\c\"").as_deref(), Some("a\"b\\c"));
    }

    #[test]
    fn an_answer_is_kept_as_it_is_unless_it_is_large() {
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = StatusCode::CREATED;
        parts.headers.append("location", HeaderValue::from_static("/here"));
        parts.headers.append("vary", HeaderValue::from_static("a"));
        parts.headers.append("vary", HeaderValue::from_static("b"));
        let largest = Bytes::from(vec![b'x'; MAX_KEPT_BYTES]);
        let again = to_keep(&parts, &largest).map(|kept| replay(&kept));
        let Some(Ok(again)) = again else { unreachable!("it is kept") };
        let mut headers = parts.headers.clone();
        headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        assert_eq!((again.status(), again.headers()), (StatusCode::CREATED, &headers));
        assert_eq!(to_keep(&parts, &Bytes::from(vec![b'x'; MAX_KEPT_BYTES + 1])), None);
        assert_eq!(to_keep(&parts, &Bytes::from_static(b"\xff")), None);
    }

    proptest! {
        #[test]
        fn a_key_is_the_same_bare_and_quoted(key in "[!#-~][!-~]{0,254}") {
            prop_assert_eq!(parse(key.as_bytes()), Some(key.clone()));
            prop_assert_eq!(parse(quoted(&key).as_bytes()), Some(key));
        }

        #[test]
        fn whatever_is_taken_is_a_key(value in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(key) = parse(&value) {
                prop_assert!((1..=255).contains(&key.len()) && key.bytes().all(|b| (0x21..0x7f).contains(&b)));
                prop_assert_eq!(parse(quoted(&key).as_bytes()), Some(key));
            }
        }
    }
}
