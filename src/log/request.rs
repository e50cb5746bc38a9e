//! Which request a line of the log belongs to.
//!
//! The ids go with the task, and not in a span: what answers from memory pays for them with a few nanoseconds, and
//! whatever logs a line need not be told of them.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The request header that names a request, and the response header that says the name.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C Trace Context: <https://www.w3.org/TR/trace-context/#traceparent-header>.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The longest id that is taken from outside, in characters.
const MAX_CHARS: usize = 64;
/// The characters of a trace id.
const TRACE_CHARS: usize = 32;

tokio::task_local! {
    /// The request that is being worked on.
    static CURRENT: Option<Ids>;
}

/// What a request is called by.
#[derive(Clone, Debug)]
pub struct Ids {
    /// Here and by whoever asked.
    pub request: RequestId,
    /// By those who follow it through several programs, if they do.
    pub trace: Option<TraceId>,
}

impl Ids {
    /// Those that a request came with, or a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = only(headers, &X_REQUEST_ID).and_then(RequestId::given);
        let trace = only(headers, &TRACEPARENT).and_then(TraceId::parse);
        Self { request: given.unwrap_or_else(RequestId::fresh), trace }
    }

    /// Does something for the request: what is logged meanwhile is logged with its ids.
    pub fn during<T>(&self, act: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(Some(self.clone()), act)
    }

    /// The same of what takes longer.
    pub fn through<F: Future>(self, act: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(Some(self), act)
    }

    /// Looks at those of the request that is being worked on here, if one is.
    pub(super) fn current<T>(look: impl FnOnce(&Self) -> T) -> Option<T> {
        CURRENT.try_with(|ids| ids.as_ref().map(look)).ok().flatten()
    }
}

/// What a task of its own does for the request that is being worked on here.
pub fn carry<F: Future>(act: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(Ids::current(Clone::clone), act)
}

/// A header's value, if it is there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let value = headers.get(name)?;
    let mut all = headers.get_all(name).iter();
    (all.next().is_some() && all.next().is_none()).then_some(value)
}

/// A request's id: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, so that it is one word wherever it is written.
#[derive(Clone, Debug)]
pub struct RequestId(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Given(HeaderValue),
    Fresh(u128),
}

impl RequestId {
    /// One that nobody can guess or meet again.
    pub fn fresh() -> Self {
        Self(Kind::Fresh(rand::random()))
    }

    /// The id that somebody gave it, unless that is none.
    fn given(value: &HeaderValue) -> Option<Self> {
        let is_sane = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
        let bytes = value.as_bytes();
        ((1..=MAX_CHARS).contains(&bytes.len()) && bytes.iter().all(is_sane))
            .then(|| Self(Kind::Given(value.clone())))
    }

    /// Whether the request came with it.
    pub fn is_given(&self) -> bool {
        matches!(self.0, Kind::Given(_))
    }

    /// Says it in an answer.
    pub fn say(&self, headers: &mut HeaderMap) {
        let value = match &self.0 {
            Kind::Given(value) => Ok(value.clone()),
            Kind::Fresh(_) => HeaderValue::try_from(self.to_string()),
        };
        // It is visible ASCII, and so always a value.
        if let Ok(value) = value {
            headers.insert(X_REQUEST_ID, value);
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Given(value) => f.write_str(value.to_str().unwrap_or_default()),
            Kind::Fresh(number) => write!(f, "{number:032x}"),
        }
    }
}

/// The id of a trace: 32 hexadecimal digits in lower case, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; TRACE_CHARS]);

impl TraceId {
    /// Takes it out of a `traceparent`: `version-trace_id-parent_id-flags`. What a later version has behind the flags
    /// is nothing to us (section 4.3 there).
    fn parse(value: &HeaderValue) -> Option<Self> {
        let mut parts = value.as_bytes().split(|b| *b == b'-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |part: &[u8], chars| {
            part.len() == chars && part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_zero = |part: &[u8]| part.iter().all(|b| *b == b'0');
        let is_sound = is_hex(version, 2)
            && version != b"ff"
            && (version != b"00" || parts.next().is_none())
            && is_hex(trace, TRACE_CHARS)
            && !is_zero(trace)
            && is_hex(parent, 16)
            && !is_zero(parent)
            && is_hex(flags, 2);
        if is_sound { trace.try_into().ok().map(Self) } else { None }
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(pairs: &[(HeaderName, &[u8])]) -> Ids {
        let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).unwrap();
        let mut headers = HeaderMap::new();
        for (name, bytes) in pairs {
            headers.append(name, value(bytes));
        }
        Ids::of(&headers)
    }

    #[test]
    fn a_request_has_the_id_that_it_came_with_if_it_is_one() {
        let longest = "a".repeat(64);
        for good in ["a", "Az09._-", "..", &longest] {
            assert_eq!(of(&[(X_REQUEST_ID, good.as_bytes())]).request.to_string(), good);
        }
        let too_long = "a".repeat(65);
        let bad: [&[u8]; 7] = [b"", b"a b", b"a\tb", b"a=b", b"a\"b", b"\xc3\xa4", too_long.as_bytes()];
        for bad in bad {
            let id = of(&[(X_REQUEST_ID, bad)]).request;
            assert!(!id.is_given() && id.to_string().len() == 32, "{bad:?}: {id}");
        }
        assert!(!of(&[(X_REQUEST_ID, b"a"), (X_REQUEST_ID, b"b")]).request.is_given());
        assert_ne!(of(&[]).request.to_string(), of(&[]).request.to_string());
    }

    #[test]
    fn a_trace_is_taken_from_what_is_one() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let of = |text: &str| of(&[(TRACEPARENT, text.as_bytes())]).trace.map(|trace| trace.to_string());
        for good in [
            "00-TRACE-00f067aa0ba902b7-01",
            "00-TRACE-00f067aa0ba902b7-00",
            "cc-TRACE-00f067aa0ba902b7-01-what-comes-later",
        ] {
            assert_eq!(of(&good.replace("TRACE", trace)).as_deref(), Some(trace), "{good}");
        }
        for bad in [
            "",
            "00",
            "00-TRACE-00f067aa0ba902b7",
            "00-TRACE-00f067aa0ba902b7-01-more",
            "ff-TRACE-00f067aa0ba902b7-01",
            "00-TRACE-0000000000000000-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(of(&bad.replace("TRACE", trace)), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_task_of_its_own_belongs_to_the_request_that_began_it() {
        let id = || Ids::current(|ids| ids.request.to_string());
        assert_eq!(id(), None);
        let ids = of(&[(X_REQUEST_ID, b"one")]);
        let seen =
            ids.clone().through(async move { tokio::spawn(carry(async move { id() })).await.unwrap() });
        assert_eq!((ids.during(id), seen.await), (Some("one".to_owned()), Some("one".to_owned())));
        assert_eq!(tokio::spawn(carry(async move { id() })).await.unwrap(), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_the_id_is_one_word(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let id = Ids::of(&HeaderMap::from_iter([(X_REQUEST_ID, value)])).request.to_string();
                prop_assert!((1..=64).contains(&id.len()));
                prop_assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
            }
        }
    }
}
