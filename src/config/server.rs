//! `[server]`: addresses, connections, and which part of the work this process does.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use http::HeaderName;
use serde::{Deserialize, Deserializer};

/// `[server]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where requests are taken; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are; not for the public.
    pub ops_listen: SocketAddr,
    /// Which part of the work this process does.
    pub role: Role,
    /// The origin of all URLs that pinhole gives out, without a trailing slash. Empty, it is the address
    /// that is listened on, if that is a loopback address and the role is `all`.
    pub public_url: String,
    /// The header in which a proxy that every request comes through tells the client's address, such as
    /// `X-Real-IP`; of a list, the last counts. Without one, all who come through a proxy are one client, and
    /// get one client's share of the renders.
    #[serde(deserialize_with = "header_name")]
    pub client_address_header: Option<HeaderName>,
    /// Threads that serve connections and what is in memory; 0 means one for each core. Everything else is done
    /// by others.
    pub threads: usize,
    /// Connections served at once; more wait to be accepted.
    pub max_connections: usize,
    /// Seconds a client may take for a request's headers, or for the TLS handshake, and idle between requests.
    pub header_timeout_secs: u64,
    /// Seconds without a byte after which a request's body is given up.
    pub body_idle_timeout_secs: u64,
    /// Bytes that must come of a request's body each second. Whoever sends fewer uses up
    /// `body_idle_timeout_secs`, and is given up when it is gone; whoever sends more gains it back. 0: no such bound.
    pub body_min_bytes_per_sec: u64,
    /// Seconds that a client may read nothing of an answer; then its connection is closed.
    pub write_timeout_secs: u64,
    /// Seconds that requests under way get at shutdown.
    pub drain_secs: u64,
    /// Seconds that connections without a request stay open at shutdown, if `drain_secs` are not over before: whoever
    /// is just sending one is still answered, and told that the connection ends with it.
    pub linger_secs: u64,
    /// TLS where requests are taken.
    pub tls: Tls,
}

/// `[server.tls]`: with both files HTTPS is spoken at `server.listen`, and with neither HTTP. The files are followed
/// while it runs, at a SIGHUP and every other second.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The certificate, and those between it and its root, in this order (PEM).
    pub certificate: Option<PathBuf>,
    /// Its private key (PEM).
    pub key: Option<PathBuf>,
}

impl Tls {
    /// Certificate and key, if there is to be TLS.
    pub fn files(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.certificate.as_ref().zip(self.key.as_ref())
    }
}

impl Default for Server {
    fn default() -> Self {
        let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            listen: loopback(8080),
            ops_listen: loopback(9090),
            role: Role::All,
            public_url: String::new(),
            client_address_header: None,
            threads: 0,
            max_connections: 10_000,
            header_timeout_secs: 30,
            body_idle_timeout_secs: 30,
            body_min_bytes_per_sec: 512,
            write_timeout_secs: 30,
            drain_secs: 30,
            linger_secs: 1,
            tls: Tls::default(),
        }
    }
}

/// A header's name, or nothing.
fn header_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HeaderName>, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name.is_empty() {
        return Ok(None);
    }
    let name = name.parse().map_err(|_| serde::de::Error::custom(format!("{name:?} is no header's name")));
    name.map(Some)
}

/// Which part of the work a process does, so that uploads and delivery can run apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    #[default]
    All,
    /// The control API and the sweeper; no `/i/…`.
    Upload,
    /// `/i/…` alone: to ledger and bucket it writes the masters and variants that it makes, and what it finds
    /// out about originals of before, and nothing else.
    Deliver,
}

impl Role {
    /// Whether images are delivered.
    pub fn delivers(self) -> bool {
        matches!(self, Self::All | Self::Deliver)
    }

    /// Whether the control API is there, and the sweeper runs.
    pub fn controls(self) -> bool {
        matches!(self, Self::All | Self::Upload)
    }

    /// The spelling in settings and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Upload => "upload",
            Self::Deliver => "deliver",
        }
    }
}

/// The rule of an origin: a scheme and a host, and nothing after them (RFC 6454, section 6.2).
pub(super) fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', ' ', '@']))
}

impl Server {
    /// Whether what goes to `public_url` is safe from whoever is on the way: it is https, or never leaves
    /// the machine.
    pub fn is_public_url_safe(&self) -> bool {
        !self.public_url.starts_with("http://") || is_loopback(&self.public_url)
    }
}

/// Whether a URL leads to the machine itself.
pub fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_safe_on_loopback_alone() {
        for (url, safe) in [
            ("https://img.example", true),
            ("http://127.0.0.1:8080", true),
            ("http://localhost", true),
            ("http://[::1]:8080", true),
            ("http://img.example", false),
            ("http://localhost.example", false),
            ("http://127.0.0.1.example:80", false),
            ("http://10.0.0.1", false),
        ] {
            let server = Server { public_url: url.to_owned(), ..Server::default() };
            assert_eq!(server.is_public_url_safe(), safe, "{url}");
        }
    }
}
