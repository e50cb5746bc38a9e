//! `[auth]`, `[links]` and `follows`: who is who, and how a right to see travels.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Secret, list::list};

/// `[auth]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The secret that user tokens are signed with (HS256); at least 32 characters.
    pub jwt_secret: Secret,
    /// Secrets that were in use before, whose tokens are still taken.
    #[serde(deserialize_with = "list")]
    pub jwt_old_secrets: Vec<Secret>,
    /// A file with the public keys (JWK Set) that user tokens are signed with: RS256, ES256 or `EdDSA`.
    pub jwks_file: Option<PathBuf>,
    /// The URL of such a document, `https://` or on loopback.
    pub jwks_url: Option<String>,
    /// Seconds after which the document is read again. A token that names an unknown key makes it read at
    /// once, though not more often than every ten seconds.
    pub jwks_refresh_secs: u64,
    /// Of these a token must name one in `aud`; of none, whoever it is for.
    #[serde(deserialize_with = "list")]
    pub audience: Vec<String>,
    /// Who must have issued a token, by its `iss`.
    pub issuer: Option<String>,
    /// Seconds by which clocks may differ.
    pub leeway_secs: u64,
    /// SHA-256 hashes, in hexadecimal, of the keys that services authenticate with.
    #[serde(deserialize_with = "list")]
    pub service_key_hashes: Vec<String>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            jwt_secret: Secret::default(),
            jwt_old_secrets: Vec::new(),
            jwks_file: None,
            jwks_url: None,
            jwks_refresh_secs: 300,
            audience: Vec::new(),
            issuer: None,
            leeway_secs: 0,
            service_key_hashes: Vec::new(),
        }
    }
}

/// `[links]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Links {
    /// Keys as `kid:secret`, newest first; see [`crate::link::LinkKey::parse`].
    #[serde(deserialize_with = "list")]
    pub keys: Vec<Secret>,
    /// A file with further keys, one a line, before those: read again when it changes, and at a SIGHUP.
    pub keys_file: Option<PathBuf>,
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
            keys_file: None,
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
