//! `[idempotency]`: requests that may be repeated.

use serde::Deserialize;

/// `[idempotency]`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Idempotency {
    /// Seconds that an answer is kept for those who repeat the request.
    pub keep_secs: u64,
    /// Seconds that a key is claimed for once its request has come; nine tenths of them the request may be
    /// worked on, and is then given up. When the program was killed meanwhile, its key can be used again
    /// after so long.
    pub lease_secs: u64,
}

impl Default for Idempotency {
    fn default() -> Self {
        Self { keep_secs: 24 * 60 * 60, lease_secs: 5 * 60 }
    }
}
