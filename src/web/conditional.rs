//! Conditional and range requests (RFC 9110 §13 and §14), decided on headers alone.

use std::ops::Range;

use http::{HeaderMap, HeaderName, Method, header};
use http_range_header::RangeUnsatisfiableError;

/// What to send of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of it: 200.
    Whole,
    /// So many bytes of it: 206.
    Part(Range<u64>),
    /// Nothing, the client has it: 304.
    NotModified,
    /// Nothing, the range lies outside: 416.
    Unsatisfiable,
    /// Nothing, the client means another one: 412.
    PreconditionFailed,
}

/// Decides what to send of `length` bytes whose strong validator is `etag`.
///
/// Ranges count for GET alone. Several ranges at once, and what is not understood, get the whole,
/// as §14.2 allows.
pub(super) fn evaluate(method: &Method, headers: &HeaderMap, etag: &str, length: u64) -> Selection {
    // In the order of §13.2.2. We send no dates, so conditions on them are passed over. Compared strongly (§13.1.1).
    if headers.contains_key(header::IF_MATCH)
        && !tags(headers, &header::IF_MATCH).any(|tag| tag == "*" || tag == etag)
    {
        return Selection::PreconditionFailed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        // Compared weakly (§13.1.2).
        let mut tags = tags(headers, &header::IF_NONE_MATCH);
        if tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag) {
            return Selection::NotModified;
        }
    }
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let Some(range) = range.filter(|_| method == Method::GET) else {
        return Selection::Whole;
    };
    // Compared strongly (§13.1.5); we send no dates, so a date never matches.
    if headers.get(header::IF_RANGE).is_some_and(|validator| validator != etag) {
        return Selection::Whole;
    }
    let ranges = http_range_header::parse_range_header(range).and_then(|ranges| ranges.validate(length));
    match ranges.as_deref() {
        Ok([one]) => Selection::Part((*one.start()).min(length)..one.end().saturating_add(1).min(length)),
        Err(RangeUnsatisfiableError::Unsatisfiable) => Selection::Unsatisfiable,
        Ok(_) | Err(_) => Selection::Whole,
    }
}

/// The validators of a header, comma-separated over one line or several.
fn tags<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const ETAG: &str = "\"abc\"";

    fn ask(method: &Method, headers: &[(HeaderName, &'static str)]) -> Selection {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.clone(), HeaderValue::from_static(value));
        }
        evaluate(method, &map, ETAG, 10)
    }

    #[test]
    fn a_known_etag_is_not_sent_again() {
        for value in ["\"abc\"", "W/\"abc\"", "*", "\"x\", \"abc\"", "\"x\",W/\"abc\""] {
            assert_eq!(
                ask(&Method::GET, &[(header::IF_NONE_MATCH, value)]),
                Selection::NotModified,
                "{value}"
            );
            assert_eq!(
                ask(&Method::HEAD, &[(header::IF_NONE_MATCH, value)]),
                Selection::NotModified,
                "{value}"
            );
        }
        for value in ["\"x\"", "abc", "\"abc", ""] {
            assert_eq!(ask(&Method::GET, &[(header::IF_NONE_MATCH, value)]), Selection::Whole, "{value}");
        }
        let twice = [(header::IF_NONE_MATCH, "\"x\""), (header::IF_NONE_MATCH, "\"abc\"")];
        assert_eq!(ask(&Method::GET, &twice), Selection::NotModified);
    }

    #[test]
    fn one_range_is_cut_out() {
        for (value, expected) in [
            ("bytes=0-3", Selection::Part(0..4)),
            ("bytes=4-", Selection::Part(4..10)),
            ("bytes=-3", Selection::Part(7..10)),
            ("bytes=-99", Selection::Part(0..10)),
            ("bytes=0-99", Selection::Part(0..10)),
            ("bytes=9-9", Selection::Part(9..10)),
            ("bytes=10-", Selection::Unsatisfiable),
            ("bytes=10-12", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=0-1,4-5", Selection::Whole),
            ("bytes=3-1", Selection::Whole),
            ("lines=1-2", Selection::Whole),
            ("bytes=", Selection::Whole),
            ("bytes=99999999999999999999-", Selection::Unsatisfiable),
        ] {
            assert_eq!(ask(&Method::GET, &[(header::RANGE, value)]), expected, "{value}");
            assert_eq!(ask(&Method::HEAD, &[(header::RANGE, value)]), Selection::Whole, "HEAD {value}");
        }
    }

    #[test]
    fn a_range_of_something_else_gets_the_whole() {
        let with =
            |validator| ask(&Method::GET, &[(header::RANGE, "bytes=0-3"), (header::IF_RANGE, validator)]);
        assert_eq!(with("\"abc\""), Selection::Part(0..4));
        assert_eq!(with("W/\"abc\""), Selection::Whole);
        assert_eq!(with("\"x\""), Selection::Whole);
        assert_eq!(with("Sun, 06 Nov 1994 08:49:37 GMT"), Selection::Whole);
    }

    #[test]
    fn whoever_means_another_one_gets_nothing() {
        for (value, expected) in [
            ("\"abc\"", Selection::Whole),
            ("*", Selection::Whole),
            ("\"x\", \"abc\"", Selection::Whole),
            ("\"x\"", Selection::PreconditionFailed),
            ("W/\"abc\"", Selection::PreconditionFailed),
            ("", Selection::PreconditionFailed),
        ] {
            for method in [Method::GET, Method::HEAD] {
                assert_eq!(ask(&method, &[(header::IF_MATCH, value)]), expected, "{value}");
            }
        }
        // It comes before everything else, and lets everything else be.
        let with = |tag| [(header::IF_MATCH, tag), (header::RANGE, "bytes=0-3")];
        assert_eq!(ask(&Method::GET, &with("\"abc\"")), Selection::Part(0..4));
        assert_eq!(ask(&Method::GET, &with("\"x\"")), Selection::PreconditionFailed);
        let both = [(header::IF_MATCH, "\"x\""), (header::IF_NONE_MATCH, ETAG)];
        assert_eq!(ask(&Method::GET, &both), Selection::PreconditionFailed);
    }

    #[test]
    fn what_the_client_has_comes_before_the_range() {
        let both = [(header::IF_NONE_MATCH, ETAG), (header::RANGE, "bytes=99-")];
        assert_eq!(ask(&Method::GET, &both), Selection::NotModified);
    }
}
