//! How often one client may ask the control API: a bucket of tokens for each, refilled evenly over a minute.

use std::{sync::Arc, time::Duration};

use governor::{
    DefaultDirectRateLimiter, Quota,
    clock::{Clock as _, DefaultClock},
};
use moka::{policy::EvictionPolicy, sync::Cache};

use crate::{client::Client, config};

/// After so long without a request a bucket is full again, as one that was never asked for is.
const FULL_AFTER: Duration = Duration::from_mins(1);

/// Counts requests by client.
#[derive(Debug)]
pub struct Rates {
    quota: Option<Quota>,
    buckets: Cache<Client, Arc<DefaultDirectRateLimiter>>,
}

impl Rates {
    /// Counts, if the settings say how much is too much.
    pub fn new(rate: &config::Rate) -> Self {
        Self {
            quota: rate.requests_per_minute.map(Quota::per_minute),
            buckets: Cache::builder()
                .max_capacity(rate.clients)
                // The usual policy would rather have no newcomers, whom nobody would count then.
                .eviction_policy(EvictionPolicy::lru())
                .time_to_idle(FULL_AFTER)
                .build(),
        }
    }

    /// Whether anybody is counted.
    pub fn are_limited(&self) -> bool {
        self.quota.is_some()
    }

    /// Takes a client's token for one request; without one left, says how long until there is.
    pub fn take(&self, client: Client) -> Result<(), Duration> {
        let Some(quota) = self.quota else { return Ok(()) };
        let bucket = self.buckets.get_with(client, || Arc::new(DefaultDirectRateLimiter::direct(quota)));
        bucket.check().map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn rates(requests_per_minute: u32) -> Rates {
        let requests_per_minute = NonZeroU32::new(requests_per_minute);
        Rates::new(&config::Rate { requests_per_minute, ..config::Rate::default() })
    }

    #[test]
    fn one_clients_haste_is_not_anothers() {
        let rates = rates(3);
        let (hasty, other) = (Client::numbered(1), Client::numbered(2));
        let taken: Vec<bool> = (0..5).map(|_| rates.take(hasty).is_ok()).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        assert!(rates.take(other).is_ok());
        let wait = rates.take(hasty).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(20), "a third of a minute: {wait:?}");
    }

    #[test]
    fn of_too_many_clients_the_newest_are_counted() {
        let settings = config::Rate { requests_per_minute: NonZeroU32::new(1), clients: 2 };
        let rates = Rates::new(&settings);
        for number in 1..=3 {
            // One that asks often, and so would be kept by how often he asks.
            for _ in 0..10 {
                let _ = rates.take(Client::numbered(number));
            }
            rates.buckets.run_pending_tasks();
        }
        assert!(rates.take(Client::numbered(3)).is_err());
        assert!(rates.take(Client::numbered(1)).is_ok(), "the oldest is forgotten");
    }

    #[test]
    fn without_a_limit_there_is_none() {
        let rates = Rates::new(&config::Rate::default());
        assert!(!rates.are_limited());
        assert!((0..10_000).all(|_| rates.take(Client::numbered(1)).is_ok()));
    }
}
