//! Every setting, its default and its unit: file and environment read once into checked values.
//!
//! A setting is found, from weak to strong: default, file, environment. The variable of
//! `server.public_url` is `PINHOLE_SERVER__PUBLIC_URL`.

use std::{convert::Infallible, fmt, path::Path, str::FromStr};

use serde::{Deserialize, Deserializer};
use thiserror::Error;

/// All settings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Connections and addresses.
    pub server: Server,
    /// Who is who.
    pub auth: Auth,
    /// Signed links.
    pub links: Links,
    /// Whether users follow by themselves.
    pub follows: Follows,
    /// What may come in.
    pub upload: Upload,
    /// How much one user may have.
    pub quota: Quota,
    /// What may be rendered.
    pub transform: Transform,
    /// What is kept, and for how long.
    pub cache: Cache,
    /// How much work at once.
    pub work: Work,
}

/// `[server]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The origin of all URLs that pinhole gives out, without a trailing slash.
    pub public_url: String,
    /// Connections served at once; more wait to be accepted.
    pub max_connections: usize,
    /// Seconds a client may take for a request's headers, and idle between requests.
    pub header_timeout_secs: u64,
    /// Seconds without a byte after which a request's body is given up.
    pub body_idle_timeout_secs: u64,
    /// Seconds that requests under way get at shutdown.
    pub drain_secs: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            public_url: "http://127.0.0.1:8080".to_owned(),
            max_connections: 10_000,
            header_timeout_secs: 30,
            body_idle_timeout_secs: 30,
            drain_secs: 30,
        }
    }
}

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

/// `[upload]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upload {
    /// The largest file taken, in bytes.
    pub max_bytes: u64,
    /// The most pixels an image may have, width × height.
    pub max_pixels: u64,
    /// The longest animation, in frames times pixels.
    pub max_animation_pixels: u64,
    /// The most frames an animation may have.
    pub max_frames: u32,
    /// Seconds that a ready image without any use is kept.
    pub unattached_secs: u64,
    /// Seconds that an upload may stay unfinished.
    pub reserved_secs: u64,
    /// Seconds that a presigned upload may be sent for.
    pub grant_secs: u64,
    /// Seconds between sweeps.
    pub sweep_secs: u64,
}

impl Default for Upload {
    fn default() -> Self {
        Self {
            max_bytes: 25 << 20,
            max_pixels: 50_000_000,
            max_animation_pixels: 200_000_000,
            max_frames: 2_000,
            unattached_secs: 24 * 60 * 60,
            reserved_secs: 60 * 60,
            grant_secs: 15 * 60,
            sweep_secs: 60,
        }
    }
}

/// `[quota]`: how much one user may have at once; without a number there is no limit.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Images.
    pub images: Option<i64>,
    /// Bytes of uploaded files, counted for each image.
    pub bytes: Option<i64>,
    /// Uploads that were begun and not completed.
    pub open_uploads: Option<i64>,
}

/// `[transform]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Transform {
    /// What a request without a signature may ask for.
    pub unsigned: Unsigned,
    /// The widths, in pixels, of `unsigned = "listed"`.
    #[serde(deserialize_with = "list")]
    pub widths: Vec<u32>,
    /// The longest side, in pixels, that is ever rendered.
    pub max_side: u32,
    /// The most pixels that are ever rendered.
    pub max_pixels: u64,
}

impl Default for Transform {
    fn default() -> Self {
        Self {
            unsigned: Unsigned::Listed,
            widths: vec![64, 128, 256, 320, 400, 640, 800, 960, 1200, 1600, 1920, 2400],
            max_side: 16_384,
            max_pixels: 40_000_000,
        }
    }
}

/// What a request without a signature may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unsigned {
    /// Any options.
    Any,
    /// A listed width, in any format.
    Listed,
    /// The original alone.
    None,
}

/// `[cache]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Bytes of variants and originals kept in memory.
    pub memory_bytes: u64,
    /// Seconds that a browser may show a public image without asking again; for so long it may still
    /// show one that has turned private.
    pub browser_ttl_secs: u64,
    /// Seconds that a CDN may, likewise.
    pub edge_ttl_secs: u64,
    /// Seconds that a cache may show a stale public image while it asks again.
    pub stale_while_revalidate_secs: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            browser_ttl_secs: 60,
            edge_ttl_secs: 60,
            stale_while_revalidate_secs: 10,
        }
    }
}

/// `[work]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Work {
    /// Renders at once; 0 means one for each core.
    pub renders: usize,
    /// Renders that may wait; more are shed with 503.
    pub renders_waiting: usize,
    /// Uploads verified at once; 0 means one for each core.
    pub ingests: usize,
    /// Uploads that may wait for that.
    pub ingests_waiting: usize,
    /// Originals read from the bucket at once.
    pub fetches: usize,
    /// Originals that may wait for that.
    pub fetches_waiting: usize,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            renders: 0,
            renders_waiting: 64,
            ingests: 0,
            ingests_waiting: 64,
            fetches: 16,
            fetches_waiting: 256,
        }
    }
}

/// The shortest reservation: whoever holds one must be done, or have failed, before it ends.
const MIN_RESERVED_SECS: u64 = 300;

/// Why the settings are refused; the message names the setting.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file or variable cannot be read, or has a value of the wrong kind.
    #[error("configuration: {0}")]
    Read(#[from] config::ConfigError),
    /// A value is outside what it may be.
    #[error("configuration: {0} {1}")]
    Value(&'static str, &'static str),
}

impl Config {
    /// Reads the settings: the file, if there is one, then the environment. `defaults` replace the
    /// general ones, as pairs of a setting and its value.
    pub fn load(file: Option<&Path>, defaults: &[(&str, &str)]) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder();
        for (setting, value) in defaults {
            builder = builder.set_default(*setting, *value)?;
        }
        if let Some(path) = file {
            builder = builder.add_source(config::File::from(path).format(config::FileFormat::Toml));
        }
        // Variables stay text until the setting's own type reads them: a secret of digits is no number.
        let environment = config::Environment::with_prefix("PINHOLE").prefix_separator("_").separator("__");
        let config: Self = builder.add_source(environment).build()?.try_deserialize()?;
        config.check()?;
        Ok(config)
    }

    /// Refuses values that cannot work.
    fn check(&self) -> Result<(), ConfigError> {
        let origin = self.server.public_url.as_str();
        let is_origin = origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"))
            .is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', ' ', '@']));
        let rules = [
            (
                is_origin,
                "server.public_url",
                "must be http:// or https:// and a host, without a path or trailing slash",
            ),
            (self.server.max_connections > 0, "server.max_connections", "must be at least 1"),
            (self.server.header_timeout_secs > 0, "server.header_timeout_secs", "must be at least 1"),
            (self.server.body_idle_timeout_secs > 0, "server.body_idle_timeout_secs", "must be at least 1"),
            (self.links.window_secs > 0, "links.window_secs", "must be at least 1"),
            (self.links.default_secs > 0, "links.default_secs", "must be at least 1"),
            (
                self.links.default_secs <= self.links.max_user_secs,
                "links.default_secs",
                "must not exceed links.max_user_secs",
            ),
            (self.upload.max_bytes > 0, "upload.max_bytes", "must be at least 1"),
            (
                self.upload.reserved_secs >= MIN_RESERVED_SECS,
                "upload.reserved_secs",
                "must be at least 300, more than a write to the bucket ever takes",
            ),
            (self.upload.sweep_secs > 0, "upload.sweep_secs", "must be at least 1"),
            (self.upload.grant_secs > 0, "upload.grant_secs", "must be at least 1"),
            (
                self.upload.grant_secs <= self.upload.reserved_secs,
                "upload.grant_secs",
                "must not exceed upload.reserved_secs",
            ),
            (self.upload.max_pixels > 0, "upload.max_pixels", "must be at least 1"),
            (self.transform.max_pixels > 0, "transform.max_pixels", "must be at least 1"),
            (self.transform.max_side > 0, "transform.max_side", "must be at least 1"),
            (self.work.fetches > 0, "work.fetches", "must be at least 1"),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, setting, rule)) => Err(ConfigError::Value(setting, rule)),
            None => Ok(()),
        }
    }
}

/// A list as a file writes it, or as comma-separated text of an environment variable.
fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + FromStr<Err: fmt::Display>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written<T> {
        Text(String),
        List(Vec<T>),
    }
    match Written::deserialize(deserializer)? {
        Written::List(list) => Ok(list),
        Written::Text(text) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(|item| item.parse().map_err(serde::de::Error::custom)).collect()
        }
    }
}

/// Text that never shows in logs or error messages.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself; every use of this is worth a look.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(empty)" } else { "Secret(…)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert!(Config::default().check().is_ok());
    }

    #[test]
    fn a_bad_value_is_named() {
        for origin in ["", "example.org", "http://", "https://a.example/", "https://u@a.example", "ftp://a"] {
            let mut config = Config::default();
            config.server.public_url = origin.to_owned();
            let error = config.check().err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains("server.public_url"), "{origin:?}: {error}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let shown = format!("{:?}", Secret::new("hunter2"));
        assert!(!shown.contains("hunter2"));
    }
}
