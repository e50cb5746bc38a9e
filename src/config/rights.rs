//! `[auth]`, `[links]` and `follows`: who is who, and how a right to see travels.

use serde::Deserialize;

use super::{Secret, list::list};

/// `[auth]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The secret that user tokens are signed with (HS256); at least 32 characters.
    pub jwt_secret: Secret,
    /// SHA-256 hashes, in hexadecimal, of the keys that services authenticate with.
    #[serde(deserialize_with = "list")]
    pub service_key_hashes: Vec<String>,
}

/// `[links]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Links {
    /// Keys as `kid:secret`, newest first; see [`crate::link::LinkKey::parse`].
    #[serde(deserialize_with = "list")]
    pub keys: Vec<Secret>,
    /// Seconds between the moments at which links may expire; all viewers who ask within one window
    /// share one URL.
    pub window_secs: u64,
    /// Seconds that a link lives at least when none are asked for.
    pub default_secs: u64,
    /// The most seconds that a user may ask for.
    pub max_user_secs: u64,
    /// The most seconds that a service may ask for.
    pub max_service_secs: u64,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            window_secs: 15 * 60,
            default_secs: 15 * 60,
            max_user_secs: 60 * 60,
            max_service_secs: 7 * 24 * 60 * 60,
        }
    }
}

/// `follows`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Follows {
    /// A user follows whom he likes.
    Open,
    /// Only a service says who follows whom.
    #[default]
    Service,
}
