//! What a check came to, and how it is told.

use std::{
    fmt::{self, Display, Formatter},
    time::{Duration, UNIX_EPOCH},
};

use http::{HeaderMap, header};
use serde::Serialize;

use crate::cli::say::{BAD, GOOD, NOTE, one_line};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// It is as it should be.
    Pass,
    /// It is not; there is something to mend.
    Fail,
    /// It was not tried, or what came of it says nothing.
    Skipped,
}

/// One thing that was tried.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// Its name: the area and what of it, such as `bucket.clock`.
    pub(super) check: &'static str,
    pub(super) outcome: Outcome,
    /// What was tried, and what came.
    detail: String,
    /// What to change, where it failed.
    mend: Option<String>,
}

impl Finding {
    pub(super) fn pass(check: &'static str, detail: impl Display) -> Self {
        Self { check, outcome: Outcome::Pass, detail: one_line(detail), mend: None }
    }

    pub(super) fn fail(check: &'static str, detail: impl Display, mend: impl Display) -> Self {
        Self { check, outcome: Outcome::Fail, detail: one_line(detail), mend: Some(one_line(mend)) }
    }

    pub(super) fn skipped(check: &'static str, why: impl Display) -> Self {
        Self { check, outcome: Outcome::Skipped, detail: one_line(why), mend: None }
    }

    /// What another command says in one line: what is wrong, and behind its last semicolon the mend.
    pub(super) fn failure(check: &'static str, message: &str) -> Self {
        let (detail, mend) = message.rsplit_once("; ").unwrap_or((message, "mend the setting that it names"));
        Self::fail(check, detail, mend)
    }

    pub(super) fn has_passed(&self) -> bool {
        self.outcome == Outcome::Pass
    }
}

/// Everything that was found, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    passed: usize,
    pub(super) failed: usize,
    skipped: usize,
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(findings: Vec<Finding>) -> Self {
        let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
        Self {
            passed: count(Outcome::Pass),
            failed: count(Outcome::Fail),
            skipped: count(Outcome::Skipped),
            findings,
        }
    }
}

/// A report, to be read by a person: with signs, or in ASCII; and in colours.
pub(super) struct Text<'a> {
    pub(super) report: &'a Report,
    pub(super) has_signs: bool,
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mark = |outcome| match (outcome, self.has_signs) {
            (Outcome::Pass, true) => "✓",
            (Outcome::Fail, true) => "✗",
            (Outcome::Skipped, true) => "–",
            (Outcome::Pass, false) => "ok  ",
            (Outcome::Fail, false) => "FAIL",
            (Outcome::Skipped, false) => "skip",
        };
        for Finding { check, outcome, detail, mend } in &self.report.findings {
            let style = match outcome {
                Outcome::Pass => GOOD,
                Outcome::Fail => BAD,
                Outcome::Skipped => NOTE,
            };
            writeln!(f, "{style}{}{style:#} {check:<20} {detail}", mark(*outcome))?;
            if let Some(mend) = mend {
                let width = mark(*outcome).chars().count() + 22;
                writeln!(f, "{:width$}mend: {mend}", "")?;
            }
        }
        let Report { passed, failed, skipped, .. } = self.report;
        writeln!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// By how many whole seconds this machine's clock is ahead of the one that wrote a `Date` (RFC 9110 §6.6.1), which
/// came between two moments of ours; negative where it is behind. A date has whole seconds, so that up to one of
/// them is no difference.
pub(super) fn ahead_secs(headers: &HeaderMap, before_micros: i64, after_micros: i64) -> Option<i64> {
    let date = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
    let micros = date.duration_since(UNIX_EPOCH).ok().map(|since| Duration::as_micros(&since))?;
    let micros = i64::try_from(micros).ok()?;
    let ahead = before_micros.saturating_sub(micros.saturating_add(1_000_000));
    let behind = micros.saturating_sub(after_micros);
    Some(if ahead > 0 { ahead / 1_000_000 } else { -(behind.max(0) / 1_000_000) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_speaks_to_the_terminal() {
        let said = Finding::fail("a", "it says \u{1b}[2J\r\nok", "mend it");
        let report = Report::new(vec![said]);
        let text = Text { report: &report, has_signs: true }.to_string();
        assert!(text.starts_with(&format!("{BAD}✗")), "{text:?}");
        let text = anstream::adapter::strip_str(&text).to_string();
        assert!(text.starts_with("✗ a                    it says  [2J  ok\n"), "{text:?}");
        assert!(text.ends_with("mend: mend it\n0 passed, 1 failed, 0 skipped\n"), "{text:?}");
    }

    #[test]
    fn a_clock_is_off_by_what_cannot_be_explained_otherwise() {
        let headers = |date: &str| HeaderMap::from_iter([(header::DATE, date.parse().unwrap())]);
        // 2023-11-14T22:13:20Z
        let now = 1_700_000_000_000_000;
        let date = headers("Tue, 14 Nov 2023 22:13:20 GMT");
        for (before, after, ahead) in [
            (now, now, 0),
            (now + 999_999, now + 1_500_000, 0),
            (now - 3_000_000, now + 3_000_000, 0),
            (now + 61_000_000, now + 62_000_000, 60),
            (now - 62_000_000, now - 60_000_000, -60),
        ] {
            assert_eq!(ahead_secs(&date, before, after), Some(ahead), "{before} {after}");
        }
        assert_eq!(ahead_secs(&headers("yesterday"), now, now), None);
        assert_eq!(ahead_secs(&HeaderMap::new(), now, now), None);
    }
}
