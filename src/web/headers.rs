//! The headers that go out with an image.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    access::{Basis, Permit},
    config::Cache,
    id::ImageId,
    variants::{Freshness, Representation, Tier},
};

const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const EDGE_CACHE_CONTROL: HeaderName = HeaderName::from_static("pinhole-cache-control");
const EDGE_VARY: HeaderName = HeaderName::from_static("pinhole-vary");
const EDGE_RESOURCE_POLICY: HeaderName = HeaderName::from_static("pinhole-resource-policy");
const X_ACCEL_EXPIRES: HeaderName = HeaderName::from_static("x-accel-expires");

/// How far an answer may be kept, by where the right to it came from (RFC 9111 §5.2.2), and no longer
/// than until a better one may be there.
fn cache_control(basis: Basis, freshness: Freshness, cache: &Cache) -> HeaderValue {
    let bound = match freshness {
        Freshness::Settled => u64::MAX,
        Freshness::Interim => cache.interim_ttl_secs,
    };
    let (browser, edge) = (cache.browser_ttl_secs.min(bound), cache.edge_ttl_secs.min(bound));
    match basis {
        Basis::Public => {
            let stale = cache.stale_while_revalidate_secs.min(bound);
            let mut text =
                format!("public, max-age={browser}, s-maxage={edge}, stale-while-revalidate={stale}");
            if cache.stale_if_error_secs > 0 {
                let error = cache.stale_if_error_secs.min(bound);
                // Writing to a String never fails.
                let _ = write!(text, ", stale-if-error={error}");
            }
            ours(text)
        }
        Basis::Link { left_secs } => {
            ours(format!("public, max-age={}, s-maxage={}", left_secs.min(browser), left_secs.min(edge)))
        }
        Basis::Session => HeaderValue::from_static("private, no-cache"),
    }
}

/// What the answer depends on besides its URL.
fn vary(basis: Basis, by_accept: bool) -> Option<&'static str> {
    match (basis, by_accept) {
        (Basis::Session, false) => Some("Cookie, Authorization"),
        (Basis::Session, true) => Some("Accept, Cookie, Authorization"),
        (_, true) => Some("Accept"),
        (_, false) => None,
    }
}

/// The headers of a whole representation, but for where the time went. What is the same whoever asks was put
/// together when it was first served.
pub(super) fn of_whole(
    about: &Representation,
    permit: &Permit,
    by_accept: bool,
    freshness: Freshness,
    cache: &Cache,
) -> HeaderMap {
    let block = about.headers.get_or_init(|| {
        let mut headers = HeaderMap::with_capacity(16);
        // Whatever is set for each answer has its place already, so that the copy need not grow.
        by_right(&mut headers, Basis::Public, false, cache_control(Basis::Public, Freshness::Settled, cache));
        headers.insert(SERVER_TIMING, HeaderValue::from_static(""));
        of_image(&mut headers, permit.image());
        describe(&mut headers, about);
        headers
    });
    let mut headers = block.clone();
    let basis = permit.basis();
    if by_accept || (basis, freshness) != (Basis::Public, Freshness::Settled) {
        by_right(&mut headers, basis, by_accept, cache_control(basis, freshness, cache));
    }
    headers
}

/// The headers of a whole file as it was uploaded, likewise: it is for whoever asked alone, and not to be kept.
pub(super) fn of_raw(about: &Representation, permit: &Permit) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    by_right(&mut headers, Basis::Session, false, HeaderValue::from_static("private, no-store"));
    of_image(&mut headers, permit.image());
    describe(&mut headers, about);
    headers
}

/// What the bytes are.
fn describe(headers: &mut HeaderMap, about: &Representation) {
    headers.insert(header::ETAG, about.etag.clone());
    headers.insert(header::CONTENT_TYPE, about.content_type.clone());
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(about.bytes));
}

/// What every answer about an image carries, a 304 too: its tags, and what a browser may do with it.
fn of_image(headers: &mut HeaderMap, image: ImageId) {
    let tag = ours(format!("img-{image}"));
    headers.insert(CACHE_TAG, tag.clone());
    headers.insert(SURROGATE_KEY, tag);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
}

/// What depends on where the right came from: who may keep the answer, and what site may embed it.
fn by_right(headers: &mut HeaderMap, basis: Basis, by_accept: bool, cache_control: HeaderValue) {
    headers.insert(header::CACHE_CONTROL, cache_control);
    match vary(basis, by_accept) {
        Some(vary) => headers.insert(header::VARY, HeaderValue::from_static(vary)),
        None => headers.remove(header::VARY),
    };
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static(embeddable_by(basis)));
}

/// What anybody may have, any site may embed; what came by a session, only the app's own sites.
fn embeddable_by(basis: Basis) -> &'static str {
    if basis == Basis::Session { "same-site" } else { "cross-origin" }
}

/// What an edge that asked is to say of a picture itself: the headers of [`by_right`], each under a name that says
/// whom it is for.
pub(super) fn for_edge(headers: &mut HeaderMap, basis: Basis, by_accept: bool, cache: &Cache) {
    headers.insert(EDGE_CACHE_CONTROL, cache_control(basis, Freshness::Settled, cache));
    if let Some(vary) = vary(basis, by_accept) {
        headers.insert(EDGE_VARY, HeaderValue::from_static(vary));
    }
    headers.insert(EDGE_RESOURCE_POLICY, HeaderValue::from_static(embeddable_by(basis)));
}

/// Tells an edge, which keeps what it fetched for as long as it likes, that this is soon to be better.
/// <https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_ignore_headers>
///
/// Only a service for itself is told: to nginx it counts more than `private`.
pub(super) fn interim_for_edge(headers: &mut HeaderMap, cache: &Cache) {
    headers.insert(X_ACCEL_EXPIRES, HeaderValue::from(cache.interim_ttl_secs));
}

/// Where the time went (W3C Server Timing), in milliseconds.
pub(super) fn server_timing(headers: &mut HeaderMap, access: Duration, tier: Tier) {
    let access = Millis(access);
    headers.insert(
        SERVER_TIMING,
        ours(match tier {
            Tier::Memory => format!("access;dur={access}, cache;desc=memory"),
            Tier::Bucket => format!("access;dur={access}, cache;desc=bucket"),
            Tier::Render(took) => {
                format!("access;dur={access}, cache;desc=render, render;dur={}", Millis(took))
            }
        }),
    );
}

/// A duration in milliseconds, to the microsecond. In whole numbers: floating point takes longer to write than
/// all the rest.
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

/// Text that we put together ourselves; visible ASCII, so it is always a valid value.
fn ours(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// Sets a header to text that we put together ourselves; visible ASCII, so it is always a valid value.
pub(super) fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caching_follows_the_right() {
        let cache = Cache {
            browser_ttl_secs: 60,
            edge_ttl_secs: 600,
            stale_while_revalidate_secs: 5,
            ..Cache::default()
        };
        let control = |basis| cache_control(basis, Freshness::Settled, &cache);
        assert_eq!(control(Basis::Public), "public, max-age=60, s-maxage=600, stale-while-revalidate=5");
        assert_eq!(control(Basis::Link { left_secs: 7 }), "public, max-age=7, s-maxage=7");
        assert_eq!(control(Basis::Link { left_secs: 90 }), "public, max-age=60, s-maxage=90");
        assert_eq!(control(Basis::Session), "private, no-cache");
        let cache = Cache { stale_if_error_secs: 300, ..cache };
        let public = cache_control(Basis::Public, Freshness::Settled, &cache);
        assert_eq!(public, "public, max-age=60, s-maxage=600, stale-while-revalidate=5, stale-if-error=300");
        let by_link = cache_control(Basis::Link { left_secs: 7 }, Freshness::Settled, &cache);
        assert_eq!(by_link, "public, max-age=7, s-maxage=7");
    }

    #[test]
    fn what_is_soon_to_be_better_is_kept_shortly() {
        let cache = Cache {
            browser_ttl_secs: 60,
            edge_ttl_secs: 3,
            stale_while_revalidate_secs: 10,
            interim_ttl_secs: 5,
            ..Cache::default()
        };
        let control = |basis| cache_control(basis, Freshness::Interim, &cache);
        assert_eq!(control(Basis::Public), "public, max-age=5, s-maxage=3, stale-while-revalidate=5");
        assert_eq!(control(Basis::Link { left_secs: 4 }), "public, max-age=4, s-maxage=3");
        assert_eq!(control(Basis::Link { left_secs: 90 }), "public, max-age=5, s-maxage=3");
        assert_eq!(control(Basis::Session), "private, no-cache");
    }
}
