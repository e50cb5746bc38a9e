//! `[log]`: what is logged beside errors, and how.

use serde::Deserialize;

/// `[log]`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What a line looks like.
    pub format: Format,
    /// Which requests get a line.
    pub requests: Requests,
    /// Of so many of them one is logged, but for those that failed here (5xx), which all are.
    pub requests_one_in: u64,
    /// Of so many decisions about images one is logged, with image, kind of viewer, verdict and reason; none
    /// when it is 0. All of them are counted in the metrics.
    pub decisions_one_in: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: Format::default(),
            requests: Requests::default(),
            requests_one_in: 1,
            decisions_one_in: 0,
        }
    }
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Words, in colours on a terminal.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Which requests get a line of their own, by how they were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Requests {
    /// Those that failed here: 5xx, but for what was shed.
    #[default]
    Failures,
    /// Those that were refused (4xx) or shed, too.
    Errors,
    /// All.
    All,
}
