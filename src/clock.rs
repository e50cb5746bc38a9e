//! The wall clock, read at the edges and handed to everything pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Microseconds since the Unix epoch.
pub fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Whole seconds since the Unix epoch of a time in microseconds.
pub fn secs(micros: i64) -> u64 {
    u64::try_from(micros / 1_000_000).unwrap_or_default()
}

/// The same, where a second that has begun counts as over: what is counted from here lasts no shorter than it says.
pub fn secs_up(micros: i64) -> u64 {
    secs(micros.saturating_add(999_999))
}

/// The time so many seconds later.
pub fn after(micros: i64, secs: u64) -> i64 {
    micros.saturating_add(i64::try_from(secs).unwrap_or(i64::MAX).saturating_mul(1_000_000))
}

/// The time so many seconds earlier.
pub fn before(micros: i64, secs: u64) -> i64 {
    micros.saturating_sub(i64::try_from(secs).unwrap_or(i64::MAX).saturating_mul(1_000_000))
}

/// A time as RFC 3339 writes it, in UTC.
pub fn rfc3339(micros: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// The last second that [`http_date`] can write, of the year 9999.
const LAST_HTTP_SECS: u64 = 253_402_300_799;

/// A time as HTTP writes it, in whole seconds (IMF-fixdate, RFC 9110 §5.6.7).
pub fn http_date(micros: i64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(secs(micros).min(LAST_HTTP_SECS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000_250_000), "2023-11-14T22:13:20.25Z");
    }

    #[test]
    fn writes_times_as_http_does() {
        assert_eq!(http_date(1_700_000_000_250_000), "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(http_date(i64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn seconds_are_over_or_have_begun() {
        for (micros, over, begun) in
            [(0, 0, 0), (1, 0, 1), (999_999, 0, 1), (1_000_000, 1, 1), (1_000_001, 1, 2)]
        {
            assert_eq!((secs(micros), secs_up(micros)), (over, begun), "{micros}");
        }
    }

    #[test]
    fn times_do_not_wrap() {
        assert_eq!(after(i64::MAX, 1), i64::MAX);
        assert_eq!(after(0, u64::MAX), i64::MAX);
        assert_eq!(secs(-1), 0);
        assert_eq!(secs_up(i64::MAX), secs(i64::MAX));
    }
}
