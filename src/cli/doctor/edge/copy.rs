//! Whether an answer is a cache's copy, by what caches say of themselves. Pure.

use http::{HeaderMap, Response, header};

/// Whether it is one, and by what that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Copy {
    /// It is.
    Hit(String),
    /// It was made for the one who asked.
    Miss(String),
    /// Nothing says so.
    Unknown(String),
}

/// Where caches say it: the standard (RFC 9211) first.
const SAY_SO: [&str; 4] = ["cache-status", "cf-cache-status", "x-cache-status", "x-cache"];

/// What an answer is, that came a second or more after `first`.
pub(super) fn of<B>(answer: &Response<B>, first: &Response<B>) -> Copy {
    let headers = answer.headers();
    for name in SAY_SO {
        let said = text(headers, name);
        let word = said.to_ascii_lowercase();
        // Of several caches any may have it: the list has one after the other.
        if word.contains("hit") {
            return Copy::Hit(format!("{name}: {said}"));
        }
        if ["miss", "fwd", "expired", "dynamic", "bypass", "pass", "none"]
            .iter()
            .any(|other| word.contains(other))
        {
            return Copy::Miss(format!("{name}: {said}"));
        }
    }
    let age = text(headers, header::AGE.as_str());
    match age.parse::<u64>() {
        Ok(0) => return Copy::Miss("Age: 0".to_owned()),
        Ok(_) => return Copy::Hit(format!("Age: {age}")),
        Err(_) => {}
    }
    let date = text(headers, header::DATE.as_str());
    if !date.is_empty() && date == text(first.headers(), header::DATE.as_str()) {
        return Copy::Hit(format!("it has the Date of the first: {date}"));
    }
    Copy::Unknown(format!("it has no Age, nor {}", SAY_SO.join(", ")))
}

/// All values of a header.
fn text(headers: &HeaderMap, name: &str) -> String {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&str, &str)]) -> Response<()> {
        let date = ("date", "Tue, 14 Nov 2023 22:13:20 GMT");
        let all = [date].into_iter().chain(headers.iter().copied());
        all.fold(Response::builder(), |to, (name, value)| to.header(name, value)).body(()).unwrap()
    }

    #[test]
    fn caches_are_understood_in_their_own_words() {
        let first = Response::new(());
        for hit in [
            ("cache-status", "pinhole-edge; hit"),
            ("cf-cache-status", "HIT"),
            ("x-cache", "MISS, HIT"),
            ("x-cache", "Hit from cloudfront"),
            ("x-cache-status", "HIT"),
            ("age", "1"),
        ] {
            assert!(matches!(of(&answer(&[hit]), &first), Copy::Hit(_)), "{hit:?}");
        }
        for miss in [
            ("cache-status", "pinhole-edge; fwd=uri-miss"),
            ("cf-cache-status", "DYNAMIC"),
            ("x-cache", "Miss from cloudfront"),
            ("x-cache-status", "EXPIRED"),
            ("age", "0"),
        ] {
            assert!(matches!(of(&answer(&[miss]), &first), Copy::Miss(_)), "{miss:?}");
        }
        assert!(matches!(of(&answer(&[]), &first), Copy::Unknown(_)));
        assert!(matches!(of(&answer(&[]), &answer(&[])), Copy::Hit(_)), "an origin's Date is kept in a copy");
    }
}
