//! How each kind of edge is told that it must forget an image: what is sent, and what an answer means. Pure.
//!
//! Edges know an image by its tag, `img-<id>`, which every answer carries in `Cache-Tag` and `Surrogate-Key`, or
//! by its path, `/i/<id>/…`. A purge is always a hard one: what may not be seen is never shown as stale.

mod cloudflare;
mod cloudfront;
mod fastly;
mod judge;
mod nginx;
mod pause;
#[cfg(test)]
mod tests;
mod varnish;
mod webhook;

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::{Method, Request, Response};
use thiserror::Error;

pub use self::{judge::Verdict, pause::pause};
use crate::{
    config::{
        Secret,
        edge::{self, By, Edge},
    },
    db::outbox::PurgeRow,
    id::ImageId,
};

/// The longest answer that is read, in bytes.
pub const MAX_ANSWER_BYTES: usize = 64 << 10;

/// One edge that is told for itself.
#[derive(Clone, Debug)]
pub struct Target {
    /// As the outbox calls it.
    pub name: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Nginx { url: String, token: Secret },
    Varnish { url: String, token: Secret },
    Fastly(edge::Fastly),
    Cloudflare(edge::Cloudflare),
    Cloudfront(edge::Cloudfront),
    Webhook { url: String, key: Vec<u8> },
}

/// Why a request cannot be made.
#[derive(Debug, Error)]
pub enum RequestError {
    /// A setting cannot stand in a request.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// It cannot be signed.
    #[error("it cannot be signed: {0}")]
    Signing(String),
    /// There is nothing to sign with.
    #[error("there are no credentials to sign with")]
    Unsigned,
}

impl Target {
    /// Every edge of the settings, which have been checked.
    pub fn all(edge: &Edge) -> Vec<Self> {
        let of = |name: &String, kind| vec![Self { name: name.clone(), kind }];
        let servers = |name: &String, to: &edge::Servers, kind: fn(String, Secret) -> Kind| {
            let server = |url: &String| Self {
                name: edge::server_name(name, url),
                kind: kind(url.clone(), to.token.clone()),
            };
            to.urls.iter().map(server).collect()
        };
        let each = |(name, target): (&String, &edge::Target)| match target {
            edge::Target::Nginx(to) => servers(name, to, |url, token| Kind::Nginx { url, token }),
            edge::Target::Varnish(to) => servers(name, to, |url, token| Kind::Varnish { url, token }),
            edge::Target::Fastly(to) => of(name, Kind::Fastly(to.clone())),
            edge::Target::Cloudflare(to) => of(name, Kind::Cloudflare(to.clone())),
            edge::Target::Cloudfront(to) => of(name, Kind::Cloudfront(to.clone())),
            edge::Target::Webhook(to) => {
                of(name, Kind::Webhook { url: to.url.clone(), key: to.key().unwrap_or_default() })
            }
        };
        edge.targets.iter().flat_map(each).collect()
    }

    /// How many images one request may name.
    pub fn images_per_request(&self) -> usize {
        match &self.kind {
            Kind::Nginx { .. } | Kind::Varnish { .. } | Kind::Webhook { .. } => 1,
            Kind::Fastly(_) => fastly::MAX_KEYS,
            Kind::Cloudflare(_) => cloudflare::MAX_TAGS,
            Kind::Cloudfront(to) => match to.by {
                By::Paths => cloudfront::MAX_WILDCARDS,
                By::Tags => cloudfront::MAX_TAGS,
            },
        }
    }

    /// The keys that requests are signed with, where they are AWS's: `None` where they are not. Empty ones are
    /// for the SDK's chain to find.
    pub fn aws_keys(&self) -> Option<&edge::Cloudfront> {
        match &self.kind {
            Kind::Cloudfront(to) => Some(to),
            _ => None,
        }
    }

    /// The request that has these images forgotten; `credentials` are needed where [`Self::aws_keys`] says so.
    pub fn request(
        &self,
        purges: &[PurgeRow],
        now_micros: i64,
        credentials: Option<Credentials>,
    ) -> Result<Request<Bytes>, RequestError> {
        match &self.kind {
            Kind::Nginx { url, token } => nginx::request(url, token, purges),
            Kind::Varnish { url, token } => varnish::request(url, token, purges),
            Kind::Fastly(to) => fastly::request(to, purges),
            Kind::Cloudflare(to) => cloudflare::request(to, purges),
            Kind::Cloudfront(to) => {
                cloudfront::request(to, purges, now_micros, credentials.ok_or(RequestError::Unsigned)?)
            }
            Kind::Webhook { url, key } => webhook::request(url, key, purges, now_micros),
        }
    }

    /// What an answer means.
    pub fn judge(&self, answer: &Response<Bytes>) -> Verdict {
        match &self.kind {
            Kind::Cloudflare(_) => cloudflare::judge(answer),
            _ => judge::by_status(answer),
        }
    }
}

/// The method that caches agree upon for purges.
fn purge_method() -> Result<Method, http::Error> {
    Ok(Method::from_bytes(b"PURGE")?)
}

/// What every answer of an image is tagged with.
fn tag(image: ImageId) -> String {
    format!("img-{image}")
}

/// Each image once, in one order.
fn images(purges: &[PurgeRow]) -> Vec<ImageId> {
    let mut images: Vec<ImageId> = purges.iter().map(|purge| purge.image).collect();
    images.sort_unstable();
    images.dedup();
    images
}

fn tags(purges: &[PurgeRow]) -> Vec<String> {
    images(purges).into_iter().map(tag).collect()
}

fn bearer(token: &Secret) -> String {
    format!("Bearer {}", token.expose())
}
