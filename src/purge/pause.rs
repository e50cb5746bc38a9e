//! How long an edge that failed is left alone.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(250);
/// The longest that an edge may ask for.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// The pause after so many failures in a row: twice as long each time, up to `longest`, and somewhere in its
/// second half by `random`, so that several nodes do not come back at once. An edge that asks for more
/// (`Retry-After`) gets it, up to an hour.
pub fn pause(failures: u32, longest: Duration, asked: Option<Duration>, random: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(longest);
    let half = doubled / 2;
    let own = half + half.mul_f64(f64::from(random) / f64::from(u32::MAX));
    own.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: Duration = Duration::from_mins(1);

    proptest! {
        #[test]
        fn pauses_grow_to_a_bound_and_are_never_nothing(failures in 1u32.., random: u32) {
            let this = pause(failures, LONGEST, None, random);
            prop_assert!(this >= FIRST / 2 && this <= LONGEST);
            // The least of the one after next is the most of this one, or the bound's.
            let later = pause(failures.saturating_add(2), LONGEST, None, 0);
            prop_assert!(later >= this || later >= LONGEST / 2);
        }

        #[test]
        fn who_asks_for_more_gets_it_within_reason(failures in 1u32..50, random: u32, asked in 0u64..10_000) {
            let this = pause(failures, LONGEST, Some(Duration::from_secs(asked)), random);
            prop_assert!(this >= Duration::from_secs(asked.min(3600)) && this <= LONGEST_ASKED);
        }
    }
}
