//! `[edge]`: the caches in front of pinhole that are told when an image is narrowed or gone.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Deserialize;

use super::{Secret, list::list, server};

/// `[edge]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Edge {
    /// Who is told, by names of one's own. Without any nothing is written into the outbox.
    pub targets: Targets,
    /// How it is measured when the edge refuses what it may show no more.
    pub probe: Probe,
    /// Seconds that one request to a target may take.
    pub timeout_secs: u64,
    /// Requests to one target at once.
    pub at_once: usize,
    /// The longest pause, in seconds, before a target that failed is tried again, unless it asks for a longer one.
    pub max_pause_secs: u64,
    /// Milliseconds after which the outbox is looked at, should nobody say that something is in it.
    pub poll_millis: u64,
    /// Seconds after which a purge that was never delivered is given up: it is kept, and sent again by
    /// `pinhole purges retry`.
    pub give_up_secs: u64,
}

/// `[edge.targets]`: targets by name. A name has 1 to 32 characters of `a-z`, `0-9`, `_` and `-`.
pub type Targets = BTreeMap<String, Target>;

impl Default for Edge {
    fn default() -> Self {
        Self {
            targets: Targets::new(),
            probe: Probe::default(),
            timeout_secs: 10,
            at_once: 8,
            max_pause_secs: 60,
            poll_millis: 1000,
            give_up_secs: 3 * 24 * 60 * 60,
        }
    }
}

/// `[edge.targets.NAME]`
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Target {
    /// `kind = "nginx"`
    Nginx(Servers),
    /// `kind = "varnish"`
    Varnish(Servers),
    /// `kind = "fastly"`
    Fastly(Fastly),
    /// `kind = "cloudflare"`
    Cloudflare(Cloudflare),
    /// `kind = "cloudfront"`
    Cloudfront(Cloudfront),
    /// `kind = "webhook"`
    Webhook(Webhook),
}

/// Servers of one's own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Servers {
    /// Where each of them takes purges, without a trailing slash. Each is told for itself.
    #[serde(deserialize_with = "list")]
    pub urls: Vec<String>,
    /// What they know pinhole by: sent as `Authorization: Bearer`.
    pub token: Secret,
}

/// A service at Fastly.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fastly {
    /// Its id.
    pub service_id: String,
    /// An API token that may purge (`purge_select`).
    pub token: Secret,
    /// Where the API is.
    #[serde(default = "fastly")]
    pub api_url: String,
}

/// A zone at Cloudflare.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cloudflare {
    /// Its id.
    pub zone_id: String,
    /// An API token with the permission Cache Purge of that zone.
    pub token: Secret,
    /// Where the API is.
    #[serde(default = "cloudflare")]
    pub api_url: String,
}

/// A distribution at Amazon `CloudFront`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cloudfront {
    /// Its id.
    pub distribution_id: String,
    /// By what images are named.
    #[serde(default)]
    pub by: By,
    /// The access key's public half. Empty, the AWS SDK's own chain is asked, as for the bucket.
    #[serde(default)]
    pub access_key_id: String,
    /// The access key's secret half.
    #[serde(default)]
    pub secret_access_key: Secret,
    /// What a temporary key brings besides.
    #[serde(default)]
    pub session_token: Secret,
    /// Where the API is.
    #[serde(default = "cloudfront")]
    pub api_url: String,
}

/// By what images are named to `CloudFront`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// `/i/ID/*`, which any distribution knows.
    #[default]
    Paths,
    /// `#img-ID`, where the distribution's `CacheTagConfig` names the header `Cache-Tag`.
    Tags,
}

/// Anything else that keeps copies: told by a signed request (Standard Webhooks).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where it is sent.
    pub url: String,
    /// `whsec_` and 24 to 64 bytes in base64, which both sides know.
    pub secret: Secret,
}

/// `[edge.probe]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Probe {
    /// The origin of images as viewers reach it, through the edge. Empty, nothing is measured.
    pub url: String,
    /// What is asked for of an image, as in a link: what viewers ask for most, so that the edge has it.
    pub options: String,
    /// Images that are watched at once; of more, the rest is not measured.
    pub at_once: usize,
    /// Milliseconds between two requests for one of them.
    pub every_millis: u64,
    /// Seconds after which an image that is still shown is watched no longer.
    pub give_up_secs: u64,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            url: String::new(),
            options: "original".to_owned(),
            at_once: 8,
            every_millis: 200,
            give_up_secs: 300,
        }
    }
}

fn fastly() -> String {
    "https://api.fastly.com".to_owned()
}

fn cloudflare() -> String {
    "https://api.cloudflare.com".to_owned()
}

fn cloudfront() -> String {
    "https://cloudfront.amazonaws.com".to_owned()
}

const SAFE: &str = "must be https://, or http:// on loopback, to a private address or to a host without a domain: \
    whoever reads along could purge";
const ORIGIN: &str = "must be http:// or https:// and a host, without a path or trailing slash";
const EMPTY: &str = "is not set";
const TOKEN: &str = "must be set, to characters of ASCII without spaces";
const NAME: &str = "is no name of a target: 1 to 32 characters of a-z, 0-9, _ and -";

/// What one of several servers of a target is called: `NAME@HOST:PORT`.
pub fn server_name(target: &str, url: &str) -> String {
    format!("{target}@{}", url.split_once("://").map_or(url, |(_, authority)| authority))
}

impl Edge {
    /// What each edge that is told for itself is called.
    pub fn names(&self) -> Vec<String> {
        let of_one = |(name, target): (&String, &Target)| match target {
            Target::Nginx(to) | Target::Varnish(to) => {
                to.urls.iter().map(|url| server_name(name, url)).collect::<Vec<_>>()
            }
            _ => vec![name.clone()],
        };
        self.targets.iter().flat_map(of_one).collect()
    }

    /// Says which setting cannot work, and why.
    pub(super) fn check(&self) -> Result<(), (String, &'static str)> {
        let rules = [
            (self.timeout_secs > 0, "timeout_secs", "must be at least 1"),
            (self.at_once > 0, "at_once", "must be at least 1"),
            (self.max_pause_secs > 0, "max_pause_secs", "must be at least 1"),
            (self.poll_millis > 0, "poll_millis", "must be at least 1"),
            (self.give_up_secs > self.timeout_secs, "give_up_secs", "must exceed edge.timeout_secs"),
            (self.probe.url.is_empty() || server::is_origin(&self.probe.url), "probe.url", ORIGIN),
            (
                self.probe.url.is_empty() || !self.targets.is_empty(),
                "probe.url",
                "is of no use without edge.targets: it measures how soon they have heard",
            ),
            (self.probe.at_once > 0, "probe.at_once", "must be at least 1"),
            (self.probe.every_millis > 0, "probe.every_millis", "must be at least 1"),
        ];
        if let Some((_, setting, rule)) = rules.into_iter().find(|(holds, ..)| !holds) {
            return Err((format!("edge.{setting}"), rule));
        }
        for (name, target) in &self.targets {
            if !is_name(name) {
                return Err((format!("edge.targets.{name}"), NAME));
            }
            target.check().map_err(|(setting, rule)| (format!("edge.targets.{name}.{setting}"), rule))?;
        }
        let mut names = self.names();
        names.sort_unstable();
        if let Some([twice, _]) = names.array_windows().find(|[one, next]| one == next) {
            return Err((format!("edge.targets: {twice}"), "stands there twice"));
        }
        Ok(())
    }
}

impl Target {
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let is_origin = |url: &String| server::is_origin(url);
        let is_set =
            |secret: &Secret| secret.expose().bytes().all(|b| b.is_ascii_graphic()) && !secret.is_empty();
        let rules: &[(bool, &'static str, &'static str)] = match self {
            Self::Nginx(to) | Self::Varnish(to) => &[
                (!to.urls.is_empty(), "urls", EMPTY),
                (to.urls.iter().all(is_origin), "urls", ORIGIN),
                (to.urls.iter().all(|url| is_safe(url)), "urls", SAFE),
                (is_set(&to.token), "token", TOKEN),
            ],
            Self::Fastly(to) => &[
                (is_word(&to.service_id), "service_id", "must be letters and digits"),
                (is_set(&to.token), "token", TOKEN),
                (is_origin(&to.api_url), "api_url", ORIGIN),
                (is_safe(&to.api_url), "api_url", SAFE),
            ],
            Self::Cloudflare(to) => &[
                (is_word(&to.zone_id), "zone_id", "must be letters and digits"),
                (is_set(&to.token), "token", TOKEN),
                (is_origin(&to.api_url), "api_url", ORIGIN),
                (is_safe(&to.api_url), "api_url", SAFE),
            ],
            Self::Cloudfront(to) => &[
                (is_word(&to.distribution_id), "distribution_id", "must be letters and digits"),
                (
                    to.access_key_id.is_empty() == to.secret_access_key.is_empty(),
                    "access_key_id",
                    "and secret_access_key belong together: set both, or neither to use the AWS SDK's own",
                ),
                (is_origin(&to.api_url), "api_url", ORIGIN),
                (is_safe(&to.api_url), "api_url", SAFE),
            ],
            Self::Webhook(to) => &[
                (to.url.parse::<http::Uri>().is_ok_and(|url| url.host().is_some()), "url", "must be a URL"),
                (is_safe(&to.url), "url", SAFE),
                (to.key().is_some(), "secret", "must be whsec_ and 24 to 64 bytes in base64"),
            ],
        };
        match rules.iter().find(|(holds, ..)| !holds) {
            Some((_, setting, rule)) => Err((setting, rule)),
            None => Ok(()),
        }
    }
}

impl Webhook {
    /// The bytes of the secret.
    /// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
    pub fn key(&self) -> Option<Vec<u8>> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let key = STANDARD.decode(self.secret.expose().strip_prefix("whsec_")?).ok()?;
        (24..=64).contains(&key.len()).then_some(key)
    }
}

fn is_name(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    (1..=32).contains(&name.len()) && name.bytes().all(is_allowed)
}

fn is_word(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Whether a secret may go there: it is https, or stays on the machine or in its own network.
fn is_safe(url: &str) -> bool {
    if url.starts_with("https://") || server::is_loopback(url) {
        return true;
    }
    let uri = url.parse::<http::Uri>();
    let Some(host) = uri.as_ref().ok().and_then(http::Uri::host) else { return false };
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_private() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => address.is_unique_local() || address.is_unicast_link_local(),
        // A container's name, or one that is known inside of a cluster alone.
        Err(_) => !host.contains('.') || host.ends_with(".internal") || host.ends_with(".svc.cluster.local"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(settings: &str) -> Result<Edge, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pinhole.toml");
        std::fs::write(&file, settings).unwrap();
        Config::load(Some(&file), &[]).map(|config| config.edge).map_err(|error| error.to_string())
    }

    const ALL: &str = r#"
        [edge.targets.front]
        kind = "nginx"
        urls = ["http://10.0.0.5:8081", "https://edge-2.example.org"]
        token = "t"
        [edge.targets.varnish]
        kind = "varnish"
        urls = "http://varnish:6081"
        token = "t"
        [edge.targets.fastly]
        kind = "fastly"
        service_id = "SU1Z0isxPaozGVKXdv0eY"
        token = "t"
        [edge.targets.cloudflare]
        kind = "cloudflare"
        zone_id = "023e105f4ecef8ad9ca31a8372d0c353"
        token = "t"
        [edge.targets.cloudfront]
        kind = "cloudfront"
        distribution_id = "EDFDVBD6EXAMPLE"
        by = "tags"
        [edge.targets.others]
        kind = "webhook"
        url = "https://hooks.example.org/purged?a=b"
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    "#;

    #[test]
    fn every_kind_can_be_written() {
        let edge = read(ALL).unwrap();
        assert_eq!(edge.targets.len(), 6);
        let Target::Nginx(front) = &edge.targets["front"] else { panic!("{edge:?}") };
        assert_eq!(front.urls, ["http://10.0.0.5:8081", "https://edge-2.example.org"]);
        let Target::Cloudfront(to) = &edge.targets["cloudfront"] else { panic!("{edge:?}") };
        assert_eq!((to.by, to.api_url.as_str()), (By::Tags, "https://cloudfront.amazonaws.com"));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_is_shown() {
        for (settings, named) in [
            ("[edge.targets.a]\nkind = \"hunter2\"", "edge.targets.a"),
            ("[edge.targets.a]\nkind = \"nginx\"\nurls = [\"https://a\"]", "token"),
            ("[edge.targets.a]\nkind = \"nginx\"\nurls = []\ntoken = \"hunter2\"", "edge.targets.a.urls"),
            (
                "[edge.targets.a]\nkind = \"nginx\"\nurls = [\"https://a/b\"]\ntoken = \"hunter2\"",
                "edge.targets.a.urls",
            ),
            (
                "[edge.targets.a]\nkind = \"nginx\"\nurls = [\"http://edge.example.org\"]\ntoken = \"hunter2\"",
                "edge.targets.a.urls must be https://",
            ),
            (
                "[edge.targets.a]\nkind = \"nginx\"\nurls = [\"https://a\"]\ntoken = \"hunter2 \"",
                "edge.targets.a.token",
            ),
            (
                "[edge.targets.a]\nkind = \"nginx\"\nurls = [\"https://a\"]\ntoken = \"t\"\nsoft = true",
                "soft",
            ),
            ("[edge.targets.A]\nkind = \"fastly\"\nservice_id = \"a\"\ntoken = \"t\"", "edge.targets.A"),
            (
                "[edge.targets.a]\nkind = \"fastly\"\nservice_id = \"../a\"\ntoken = \"t\"",
                "edge.targets.a.service_id",
            ),
            (
                "[edge.targets.a]\nkind = \"webhook\"\nurl = \"https://a\"\nsecret = \"hunter2\"",
                "edge.targets.a.secret",
            ),
            (
                "[edge.targets.a]\nkind = \"cloudfront\"\ndistribution_id = \"A\"\naccess_key_id = \"A\"",
                "secret_access_key",
            ),
            ("[edge.probe]\nurl = \"https://img.example.org/\"", "edge.probe.url"),
            ("[edge.probe]\nurl = \"https://img.example.org\"", "without edge.targets"),
            ("[edge]\nat_once = 0", "edge.at_once"),
        ] {
            let error = read(settings).unwrap_err();
            assert!(error.contains(named) && !error.contains("hunter2"), "{settings}: {error}");
        }
    }
}
