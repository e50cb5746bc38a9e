//! What only `pinhole dev` has: a page to try things on, a picture to upload, demo users without
//! passwords. It answers on loopback alone, and only for loopback hosts.

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

/// `GET /`
pub(super) fn page() -> Response<Body> {
    let mut response = Response::new(full(Bytes::from_static(include_bytes!("demo/page.html"))));
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    out.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    out.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
             img-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
    );
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
pub(super) async fn session(cx: &Context<'_>, body: Sent<'_>) -> Answer {
    let SignIn { user } = cx.json(body).await?;
    let user = UserId::parse(&user)
        .filter(|user| USERS.contains(&user.as_str()))
        .ok_or_else(|| Error::invalid_field("user", format_args!("must be one of {}", USERS.join(", "))))?;
    let token = cx.app.identity.issue(&user, SESSION_SECS, cx.now_micros).map_err(|e| Error::internal(&e))?;
    let cookie =
        format!("{}={token}; Path=/; Max-Age={SESSION_SECS}; HttpOnly; SameSite=Lax", identity::COOKIE);
    let mut response = api::json(StatusCode::OK, &Session { user, token })?;
    headers::insert(response.headers_mut(), header::SET_COOKIE, &cookie);
    Ok(response)
}

/// `GET /demo/photo.jpg`: something to upload, with a place and a camera in its metadata, as a phone
/// would write them.
pub(super) fn photo() -> Answer {
    static PHOTO: LazyLock<Option<Bytes>> = LazyLock::new(|| draw_photo().map(Bytes::from));
    let photo = PHOTO.clone().ok_or_else(|| Error::internal(&"the demo picture cannot be drawn"))?;
    let mut response = Response::new(full(photo));
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

const PHOTO_WIDTH: u16 = 1600;
const PHOTO_HEIGHT: u16 = 1200;

/// An evening over hills.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "colours are clamped to 0–255")]
fn draw_photo() -> Option<Vec<u8>> {
    let (width, height) = (f32::from(PHOTO_WIDTH), f32::from(PHOTO_HEIGHT));
    let mix =
        |a: [f32; 3], b: [f32; 3], t: f32| std::array::from_fn(|i| a[i] + (b[i] - a[i]) * t.clamp(0.0, 1.0));
    let mut pixels = Vec::with_capacity(usize::from(PHOTO_WIDTH) * usize::from(PHOTO_HEIGHT) * 3);
    for y in 0..PHOTO_HEIGHT {
        for x in 0..PHOTO_WIDTH {
            let (x, y) = (f32::from(x) / width, f32::from(y) / height);
            let sun = ((x - 0.68).powi(2) * 1.78 + (y - 0.46).powi(2)).sqrt();
            let mut colour: [f32; 3] = mix([52.0, 72.0, 130.0], [255.0, 178.0, 110.0], y / 0.62);
            colour = mix([255.0, 244.0, 214.0], colour, (sun - 0.045) / 0.22 + 0.35);
            if sun < 0.045 {
                colour = [255.0, 250.0, 232.0];
            }
            for hill in 0_u8..4 {
                let h = f32::from(hill);
                let ridge = 0.56
                    + h * 0.1
                    + 0.035 * (x * (5.0 + h * 2.3) + h * 1.9).sin()
                    + 0.016 * (x * (17.0 - h * 2.0) + h * 4.1).sin();
                if y > ridge {
                    colour = mix([150.0, 104.0, 110.0], [20.0, 34.0, 40.0], (h + (y - ridge) * 1.5) / 3.2);
                }
            }
            pixels.extend(colour.map(|c| c.clamp(0.0, 255.0) as u8));
        }
    }
    let mut jpeg = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, 90);
    encoder.add_app_segment(1, EXIF.to_vec()).ok()?;
    encoder.encode(&pixels, PHOTO_WIDTH, PHOTO_HEIGHT, jpeg_encoder::ColorType::Rgb).ok()?;
    Some(jpeg)
}

/// EXIF (CIPA DC-008) with a camera's name and a place: 59°54′36″ N.
const EXIF: &[u8] = b"Exif\0\0II*\0\x08\0\0\0\
    \x02\0\
    \x10\x01\x02\0\x0f\0\0\0\x26\0\0\0\
    \x25\x88\x04\0\x01\0\0\0\x36\0\0\0\
    \0\0\0\0\
    Pinhole Camera\0\0\
    \x02\0\
    \x01\0\x02\0\x02\0\0\0N\0\0\0\
    \x02\0\x05\0\x03\0\0\0\x54\0\0\0\
    \0\0\0\0\
    \x3b\0\0\0\x01\0\0\0\x36\0\0\0\x01\0\0\0\x24\0\0\0\x01\0\0\0";

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
