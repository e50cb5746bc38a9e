//! `[rate]`: how often one client may ask.

use std::num::NonZeroU32;

use serde::Deserialize;

/// `[rate]`: a client is a user, or else an address, as `server.client_address_header` tells it. Services asking
/// for themselves are not counted.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rate {
    /// Requests to `/v1` that one client may make in a minute, all at once if he likes; without a number there is
    /// no limit. Each process counts for itself.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Clients whose requests are counted at once; of more, those that asked longest ago are forgotten.
    pub clients: u64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { requests_per_minute: None, clients: 100_000 }
    }
}
