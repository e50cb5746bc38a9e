//! `[log]`: what is logged beside errors.

use serde::Deserialize;

/// `[log]`
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Of so many decisions about images one is logged, with image, kind of viewer, verdict and reason; none
    /// when it is 0. All of them are counted in the metrics.
    pub decisions_one_in: u64,
}
