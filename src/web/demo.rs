//! What only `pinhole dev` has: a page to try things on, a picture to upload, demo users without
//! passwords. It answers on loopback alone, and only for loopback hosts.

mod photo;

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::{Answer, Body, Context, api, full, headers, sent::Sent};
use crate::{error::Error, id::UserId, identity};

/// Who can sign in.
pub const USERS: [&str; 3] = ["alice", "bob", "carol"];
/// The key of the demo's service.
pub const SERVICE_KEY: &str = "dev-service-key";
/// How long a demo sign-in lasts.
const SESSION_SECS: u64 = 12 * 60 * 60;

/// Refuses a request that was led here under another name: a page on the open web must not reach a
/// developer's machine by DNS rebinding.
pub(super) fn require_loopback_host(headers: &HeaderMap) -> Result<(), Error> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = name.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_loopback && hosts.next().is_none() { Ok(()) } else { Err(Error::misdirected()) }
}

/// The page's files, by their names under `/demo/`. They come with the program, so that the page works without a
/// network.
const FILES: &[(&str, &str, &[u8])] = &[
    ("base.css", CSS, include_bytes!("demo/base.css")),
    ("style.css", CSS, include_bytes!("demo/style.css")),
    ("icon.svg", SVG, include_bytes!("demo/icon.svg")),
    ("app.js", JS, include_bytes!("demo/app.js")),
    ("docs.css", CSS, include_bytes!("demo/docs.css")),
    ("docs.js", JS, include_bytes!("demo/docs.js")),
    ("dom.js", JS, include_bytes!("demo/dom.js")),
    ("gallery.js", JS, include_bytes!("demo/gallery.js")),
    ("inspector.js", JS, include_bytes!("demo/inspector.js")),
    ("limit.js", JS, include_bytes!("demo/limit.js")),
    ("link.js", JS, include_bytes!("demo/link.js")),
    ("log.js", JS, include_bytes!("demo/log.js")),
    ("options.js", JS, include_bytes!("demo/options.js")),
    ("people.js", JS, include_bytes!("demo/people.js")),
    ("picture.js", JS, include_bytes!("demo/picture.js")),
    ("pinhole.js", JS, include_bytes!("page/pinhole.js")),
    ("post.js", JS, include_bytes!("demo/post.js")),
    ("session.js", JS, include_bytes!("demo/session.js")),
    ("shown.js", JS, include_bytes!("demo/shown.js")),
    ("thumbhash.js", JS, include_bytes!("demo/thumbhash.js")),
    ("tile.js", JS, include_bytes!("demo/tile.js")),
    ("upload.js", JS, include_bytes!("demo/upload.js")),
    ("ways.js", JS, include_bytes!("demo/ways.js")),
    ("wire.js", JS, include_bytes!("demo/wire.js")),
];
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// `GET /`
pub(super) fn page(cx: &Context<'_>) -> Response<Body> {
    let page = Bytes::from_static(include_bytes!("demo/page.html"));
    let mut response = file_response("text/html; charset=utf-8", page);
    // Nothing but the page's own files and blobs, and of other origins the bucket alone, where uploads go.
    // Links are to the public URL, though the page may have been opened as `localhost`.
    let links = &cx.app.config.server.public_url;
    let bucket = cx.app.store.client_endpoint().unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' {links} blob:; \
         connect-src 'self' {bucket}; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    );
    headers::insert(response.headers_mut(), header::CONTENT_SECURITY_POLICY, &policy);
    response
}

/// `GET /docs`: the description of the API, to be read.
pub(super) fn docs() -> Response<Body> {
    let page = Bytes::from_static(include_bytes!("demo/docs.html"));
    let mut response = file_response("text/html; charset=utf-8", page);
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                  form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

/// `GET /demo/{name}`
pub(super) fn file(name: &str) -> Answer {
    static PHOTO: LazyLock<Option<Bytes>> = LazyLock::new(|| photo::draw().map(Bytes::from));
    if name == "photo.jpg" {
        let photo = PHOTO.clone().ok_or_else(|| Error::internal(&"the demo picture cannot be drawn"))?;
        return Ok(file_response("image/jpeg", photo));
    }
    let (_, content_type, bytes) =
        FILES.iter().find(|(known, ..)| *known == name).ok_or_else(Error::not_found)?;
    Ok(file_response(content_type, Bytes::from_static(bytes)))
}

fn file_response(content_type: &'static str, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Whoever works on the page sees what he has just built.
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    out.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    out.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    user: String,
}

#[derive(Serialize)]
struct Session {
    user: UserId,
    token: String,
}

/// `POST /dev/session`
pub(super) async fn sign_in(cx: &Context<'_>, body: Sent<'_>) -> Answer {
    let SignIn { user } = cx.json(body).await?;
    let user = UserId::parse(&user)
        .filter(|user| USERS.contains(&user.as_str()))
        .ok_or_else(|| Error::invalid_field("user", format_args!("must be one of {}", USERS.join(", "))))?;
    let token = cx.app.identity.issue(&user, SESSION_SECS, cx.now_micros).map_err(|e| Error::internal(&e))?;
    let cookie = cookie(&token, SESSION_SECS);
    let mut response = api::json(StatusCode::OK, &Session { user, token })?;
    headers::insert(response.headers_mut(), header::SET_COOKIE, &cookie);
    Ok(response)
}

/// `DELETE /dev/session`: the browser is nobody's again.
pub(super) fn sign_out() -> Response<Body> {
    let mut response = api::no_content();
    headers::insert(response.headers_mut(), header::SET_COOKIE, &cookie("", 0));
    response
}

fn cookie(token: &str, max_age_secs: u64) -> String {
    format!("{}={token}; Path=/; Max-Age={max_age_secs}; HttpOnly; SameSite=Lax", identity::COOKIE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_are_answered() {
        let allowed = |host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            require_loopback_host(&headers).is_ok()
        };
        for host in ["127.0.0.1:8080", "127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:8080", "[::1]"] {
            assert!(allowed(host), "{host}");
        }
        for host in [
            "",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "0.0.0.0:8080",
            "10.0.0.1",
        ] {
            assert!(!allowed(host), "{host}");
        }
        assert!(require_loopback_host(&HeaderMap::new()).is_err());
    }
}
