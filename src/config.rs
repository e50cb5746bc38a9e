//! Every setting, its default and its unit: file and environment read once into checked values.
//!
//! A setting is found, from weak to strong: default, file, environment. The variable of
//! `server.public_url` is `PINHOLE_SERVER__PUBLIC_URL`. Each section has a file of its own.

mod bucket;
mod database;
mod delivery;
pub mod edge;
mod environment;
mod explain;
mod idempotency;
mod list;
mod log;
mod masters;
mod presets;
mod rate;
mod rights;
mod rules;
mod secret;
mod server;
mod sweep;
mod upload;
mod work;

use std::path::Path;

use serde::Deserialize;
use thiserror::Error;

pub use self::{
    bucket::Bucket,
    database::{Database, Place},
    delivery::{Cache, Transform, Unsigned},
    edge::{Edge, Target},
    idempotency::Idempotency,
    log::Log,
    masters::{Made, Masters},
    presets::{Presets, Watermark, Watermarks},
    rate::Rate,
    rights::{Auth, Follows, Links},
    rules::Rules,
    secret::Secret,
    server::{Role, Server, Tls, is_loopback},
    sweep::Sweep,
    upload::{Quota, Upload},
    work::Work,
};

/// What an origin must be.
const ORIGIN: &str = "must be http:// or https:// and a host, without a path or trailing slash";

/// All settings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Connections and addresses.
    pub server: Server,
    /// The ledger.
    pub database: Database,
    /// The private bucket.
    pub bucket: Bucket,
    /// Who is who.
    pub auth: Auth,
    /// Signed links.
    pub links: Links,
    /// Who decides.
    pub rules: Rules,
    /// Whether users follow by themselves.
    pub follows: Follows,
    /// What may come in.
    pub upload: Upload,
    /// How much one user may have.
    pub quota: Quota,
    /// How often one client may ask.
    pub rate: Rate,
    /// What is stored beside originals.
    pub masters: Masters,
    /// What may be rendered.
    pub transform: Transform,
    /// What is kept, and for how long.
    pub cache: Cache,
    /// Who is told when an image is narrowed.
    pub edge: Edge,
    /// How much work at once.
    pub work: Work,
    /// Requests that may be repeated.
    pub idempotency: Idempotency,
    /// What is logged.
    pub log: Log,
    /// What a reconciliation of bucket and ledger may delete.
    pub sweep: Sweep,
}

/// The shortest reservation: whoever holds one must be done, or have failed, before it ends.
const MIN_RESERVED_SECS: u64 = 300;

/// Why the settings are refused; the message names the setting.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file or variable cannot be read, or has a value of the wrong kind; where, and what is expected.
    #[error("configuration: {0}")]
    Read(String),
    /// A value is outside what it may be.
    #[error("configuration: {0} {1}")]
    Value(&'static str, &'static str),
    /// The same, of a setting whose name is the operator's own.
    #[error("configuration: {0} {1}")]
    Edge(String, &'static str),
}

impl From<config::ConfigError> for ConfigError {
    fn from(error: config::ConfigError) -> Self {
        // The error itself holds values, and goes no further.
        Self::Read(explain::explain(&error))
    }
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
        let environment::Variables { settings, ignored } = environment::read(std::env::vars_os())?;
        if !ignored.is_empty() {
            tracing::warn!(
                "ignored, since they name no setting (PINHOLE_SECTION__NAME): {}",
                ignored.join(", ")
            );
        }
        let environment = config::Environment::default().source(Some(settings));
        let config: Self = builder.add_source(environment).build()?.try_deserialize()?;
        config.check()?;
        Ok(config)
    }

    /// Refuses values that cannot work.
    fn check(&self) -> Result<(), ConfigError> {
        const ENDPOINT: &str = "must be http:// or https:// and a host, without user or parameters";
        let Self { server, bucket, auth, links, upload, transform, .. } = self;
        let both_halves = bucket.access_key_id.is_empty() == (bucket.secret_access_key == Secret::default());
        let rules = [
            (bucket::is_endpoint(&bucket.endpoint), "bucket.endpoint", ENDPOINT),
            (bucket::is_endpoint(&bucket.public_endpoint), "bucket.public_endpoint", ENDPOINT),
            (
                both_halves,
                "bucket.access_key_id",
                "and bucket.secret_access_key belong together: set both, or neither to use the AWS SDK's own",
            ),
            (
                bucket.session_token == Secret::default() || !bucket.access_key_id.is_empty(),
                "bucket.session_token",
                "is of no use without bucket.access_key_id",
            ),
            (bucket.operation_timeout_secs > 0, "bucket.operation_timeout_secs", "must be at least 1"),
            (
                bucket.operation_timeout_secs.saturating_mul(2) < upload.reserved_secs,
                "bucket.operation_timeout_secs",
                "must be less than half of upload.reserved_secs, in which an image is written",
            ),
            (
                bucket.cors_origins.iter().all(|origin| server::is_origin(origin)),
                "bucket.cors_origins",
                ORIGIN,
            ),
            (
                self.rules.facts.is_some() || self.rules.allowed.is_none(),
                "rules.allowed",
                "is of no use without rules.facts, which says what is restricted",
            ),
            (links.window_secs > 0, "links.window_secs", "must be at least 1"),
            (links.default_secs > 0, "links.default_secs", "must be at least 1"),
            (
                links.default_secs <= links.max_user_secs,
                "links.default_secs",
                "must not exceed links.max_user_secs",
            ),
            (upload.max_bytes > 0, "upload.max_bytes", "must be at least 1"),
            (
                upload.reserved_secs >= MIN_RESERVED_SECS,
                "upload.reserved_secs",
                "must be at least 300, more than a write to the bucket ever takes",
            ),
            (upload.sweep_secs > 0, "upload.sweep_secs", "must be at least 1"),
            (upload.grant_secs > 0, "upload.grant_secs", "must be at least 1"),
            (
                upload.grant_secs <= upload.reserved_secs,
                "upload.grant_secs",
                "must not exceed upload.reserved_secs",
            ),
            (upload.max_pixels > 0, "upload.max_pixels", "must be at least 1"),
            (self.masters.are_sound(), "masters.sides", masters::RULE),
            (transform.max_pixels > 0, "transform.max_pixels", "must be at least 1"),
            (transform.max_avif_pixels > 0, "transform.max_avif_pixels", "must be at least 1"),
            (transform.max_side > 0, "transform.max_side", "must be at least 1"),
            (
                self.cache.facts_millis <= delivery::MAX_FACTS_MILLIS,
                "cache.facts_millis",
                "must not exceed 1500: who lost his right must be refused within two seconds",
            ),
            (
                self.sweep.grace_secs >= sweep::MIN_GRACE_SECS,
                "sweep.grace_secs",
                "must be at least 3600, more than a write to the bucket ever takes",
            ),
            (
                self.sweep.grace_secs > upload.reserved_secs,
                "sweep.grace_secs",
                "must exceed upload.reserved_secs, for which an upload may go on",
            ),
            (
                self.sweep.max_disagreement_percent <= 100,
                "sweep.max_disagreement_percent",
                "must not exceed 100",
            ),
            (self.rate.clients > 0, "rate.clients", "must be at least 1"),
            (self.idempotency.keep_secs > 0, "idempotency.keep_secs", "must be at least 1"),
            (self.idempotency.lease_secs > 0, "idempotency.lease_secs", "must be at least 1"),
        ];
        match rules_of_server(server)
            .into_iter()
            .chain(rules)
            .chain(rules_of_work(&self.work))
            .chain(rules_of_tokens(auth))
            .find(|(holds, ..)| !holds)
        {
            Some((_, setting, rule)) => Err(ConfigError::Value(setting, rule)),
            None => self.edge.check().map_err(|(setting, rule)| ConfigError::Edge(setting, rule)),
        }
    }
}

/// What must hold of connections and addresses.
fn rules_of_server(server: &Server) -> [(bool, &'static str, &'static str); 6] {
    [
        (server.public_url.is_empty() || server::is_origin(&server.public_url), "server.public_url", ORIGIN),
        (server.max_connections > 0, "server.max_connections", "must be at least 1"),
        (server.header_timeout_secs > 0, "server.header_timeout_secs", "must be at least 1"),
        (server.write_timeout_secs > 0, "server.write_timeout_secs", "must be at least 1"),
        (server.body_idle_timeout_secs > 0, "server.body_idle_timeout_secs", "must be at least 1"),
        (
            server.tls.certificate.is_some() == server.tls.key.is_some(),
            "server.tls.certificate",
            "and server.tls.key belong together: set both for HTTPS, or neither",
        ),
    ]
}

/// What must hold of the bounds of work.
fn rules_of_work(work: &Work) -> [(bool, &'static str, &'static str); 7] {
    [
        (work.fetches > 0, "work.fetches", "must be at least 1"),
        (work.streams > 0, "work.streams", "must be at least 1"),
        (work.variant_reads > 0, "work.variant_reads", "must be at least 1"),
        (work.writes > 0, "work.writes", "must be at least 1"),
        (work.completions > 0, "work.completions", "must be at least 1"),
        (work.receives > 0, "work.receives", "must be at least 1"),
        (work.keyed > 0, "work.keyed", "must be at least 1"),
    ]
}

/// What must hold of the settings of users' tokens.
fn rules_of_tokens(auth: &Auth) -> [(bool, &'static str, &'static str); 3] {
    let is_safe = |url: &String| url.starts_with("https://") || server::is_loopback(url);
    [
        (
            auth.jwks_url.as_ref().is_none_or(is_safe),
            "auth.jwks_url",
            "must begin with https://: whoever can change what it answers can be anybody",
        ),
        (auth.jwks_refresh_secs > 0, "auth.jwks_refresh_secs", "must be at least 1"),
        (auth.leeway_secs <= 300, "auth.leeway_secs", "must not exceed 300"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.check().err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn defaults_are_valid() {
        assert!(Config::default().check().is_ok());
    }

    #[test]
    fn a_bad_value_is_named() {
        for origin in ["example.org", "http://", "https://a.example/", "https://u@a.example", "ftp://a"] {
            let error = refused(|config| config.server.public_url = origin.to_owned());
            assert!(error.contains("server.public_url"), "{origin:?}: {error}");
            let error = refused(|config| config.bucket.cors_origins = vec![origin.to_owned()]);
            assert!(error.contains("bucket.cors_origins"), "{origin:?}: {error}");
        }
        let error = refused(|config| config.bucket.endpoint = "s3.example".to_owned());
        assert!(error.contains("bucket.endpoint"), "{error}");
    }

    #[test]
    fn half_a_key_is_refused() {
        let error = refused(|config| config.bucket.access_key_id = "AKID".to_owned());
        assert!(error.contains("bucket.secret_access_key"), "{error}");
        let error = refused(|config| config.bucket.secret_access_key = Secret::new("x"));
        assert!(error.contains("bucket.access_key_id"), "{error}");
        let error = refused(|config| config.bucket.session_token = Secret::new("x"));
        assert!(error.contains("bucket.session_token"), "{error}");
    }
}
