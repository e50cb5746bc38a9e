//! The headers that go out with an image.

use std::{fmt::Write as _, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    access::Basis,
    config::Cache,
    id::ImageId,
    variants::{Freshness, Tier},
};

const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// How far an answer may be kept, by where the right to it came from (RFC 9111 §5.2.2), and no longer
/// than until a better one may be there.
pub(super) fn cache_control(basis: Basis, freshness: Freshness, cache: &Cache) -> String {
    let bound = match freshness {
        Freshness::Settled => u64::MAX,
        Freshness::Interim => cache.interim_ttl_secs,
    };
    let (browser, edge) = (cache.browser_ttl_secs.min(bound), cache.edge_ttl_secs.min(bound));
    match basis {
        Basis::Public => {
            let stale = cache.stale_while_revalidate_secs.min(bound);
            format!("public, max-age={browser}, s-maxage={edge}, stale-while-revalidate={stale}")
        }
        Basis::Link { left_secs } => {
            format!("public, max-age={}, s-maxage={}", left_secs.min(browser), left_secs.min(edge))
        }
        Basis::Session => "private, no-cache".to_owned(),
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

/// What every answer about an image carries, a 304 too: how to cache it and what a browser may do with it.
pub(super) fn common(
    headers: &mut HeaderMap,
    image: ImageId,
    basis: Basis,
    by_accept: bool,
    cache_control: &str,
) {
    insert(headers, header::CACHE_CONTROL, cache_control);
    if let Some(vary) = vary(basis, by_accept) {
        headers.insert(header::VARY, HeaderValue::from_static(vary));
    }
    let tag = format!("img-{image}");
    insert(headers, CACHE_TAG, &tag);
    insert(headers, SURROGATE_KEY, &tag);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    // What anybody may have, any site may embed; what came by a session, only the app's own sites.
    let embeddable_by = if basis == Basis::Session { "same-site" } else { "cross-origin" };
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static(embeddable_by));
}

/// Where the time went (W3C Server Timing), in milliseconds.
pub(super) fn server_timing(headers: &mut HeaderMap, access: Duration, tier: Tier) {
    let mut timing = format!("access;dur={:.3}", millis(access));
    // Writing to a String cannot fail.
    let _ = match tier {
        Tier::Memory => timing.write_str(", cache;desc=memory"),
        Tier::Bucket => timing.write_str(", cache;desc=bucket"),
        Tier::Render(took) => write!(timing, ", cache;desc=render, render;dur={:.1}", millis(took)),
    };
    insert(headers, SERVER_TIMING, &timing);
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
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
