//! Seeds without pictures: links, tokens, heads of requests, and forms.

use jsonwebtoken::{Algorithm, EncodingKey, Header};

use super::{JWT_SECRET, NOW_MICROS, SERVICE_KEY, identity};
use crate::{clock, id::UserId};

fn bytes<const N: usize>(texts: [String; N]) -> Vec<Vec<u8>> {
    texts.map(String::into_bytes).to_vec()
}

pub(super) fn links() -> Vec<Vec<u8>> {
    let path = "/i/0197a7a0-7f1e-7aaa-8888-0123456789ab/width=400";
    bytes([
        format!("{path}\n1800000900\n3\n1800000000\n\0\0A"),
        format!("{path}\n1800000000\n0\n1800000000\n\0\x2EA\0\x30x"),
        format!("{path}\n9\n1\n5\n?exp=9&kid=k1&ep=1&sig={}", "A".repeat(43)),
        format!("{path}\n9\n1\n5\n?exp=9&ep=1&kid=k3&sig="),
    ])
}

pub(super) fn identities() -> Vec<Vec<u8>> {
    let alice = UserId::parse("alice").unwrap();
    let good = identity().issue(&alice, 3600, NOW_MICROS).unwrap();
    let old = identity().issue(&alice, 0, NOW_MICROS).unwrap();
    let signed = |algorithm, claims| {
        let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
        jsonwebtoken::encode::<serde_json::Value>(&Header::new(algorithm), &claims, &key).unwrap()
    };
    let exp = clock::secs(NOW_MICROS) + 60;
    let claims = serde_json::json!({"sub": "bob", "exp": exp, "nbf": exp - 100, "aud": ["x"]});
    let other = signed(Algorithm::HS384, claims.clone());
    let early = signed(Algorithm::HS256, serde_json::json!({"sub": "bob", "exp": exp, "nbf": exp}));
    let service = format!("Authorization: Bearer {SERVICE_KEY}");
    bytes([
        format!("Authorization: Bearer {good}"),
        format!("Cookie: a=b; pinhole_session={good}\nSec-Fetch-Site: same-origin"),
        format!("Cookie: pinhole_session={good}\nOrigin: http://127.0.0.1:1\nHost: 127.0.0.1:1"),
        format!("Cookie: pinhole_session={old}; x\nOrigin: https://img.example"),
        format!("Authorization: bearer {other}"),
        format!("Authorization: Bearer {early}"),
        format!("Authorization: Bearer {}", signed(Algorithm::HS256, claims)),
        service.clone(),
        format!("{service}\nOn-Behalf-Of: alice"),
        "Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIiwiZXhwIjoxOTAwMDAwMDAwfQ.".to_owned(),
    ])
}

pub(super) fn requests() -> Vec<Vec<u8>> {
    let image = "/i/0197a7a0-7f1e-7aaa-8888-0123456789ab/width=400";
    bytes([
        format!("GET {image}\nIf-None-Match: W/\"x\", \"abc\"\nRange: bytes=0-3\nIf-Range: \"abc\""),
        format!("GET {image}\nRange: bytes=-5"),
        format!("HEAD {image}\nRange: bytes=4-,9-10"),
        "POST /v1/tus\nTus-Resumable: 1.0.0\nUpload-Length: 70\nUpload-Metadata: filename w6QuanBn,is_confidential".to_owned(),
        "PATCH /v1/tus/x\nTus-Resumable: 1.0.0\nUpload-Offset: 10\nUpload-Checksum: sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=".to_owned(),
        "POST /v1/tus/x\nX-HTTP-Method-Override: PATCH\nUpload-Defer-Length: 1\nUpload-Concat: partial".to_owned(),
        "POST /v1/posts\nContent-Type: application/json\n\n{\"text\":[\"a\",\"\\u00e4\"],\"x\":null}".to_owned(),
        "PUT /v1/profile\nContent-Type: application/json; charset=utf-8\n\n{\"a\":[1]}".to_owned(),
        "DELETE /v1/images/x/hold\n".to_owned(),
        "GET /demo/photo.jpg\n".to_owned(),
    ])
}

pub(super) fn forms() -> Vec<Vec<u8>> {
    let form = "multipart/form-data; boundary=XX";
    let part =
        |head: &str, body: &str| format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n");
    let text = part("name=\"text\"", "Evening") + &part("name=visibility", "private");
    let file = part("name=\"images\"; filename=\"a.jpg\"\r\nContent-Type: image/jpeg", "\r\n--X\r\n--XY");
    let named = part("name=\"images\"; filename*=UTF-8''%c3%a4.png", "");
    let empty = part("name=\"images\"; filename=\"\"", "");
    bytes([
        format!("\x03\x01\x07\x14{form}\n{text}{file}{empty}--XX--\r\n"),
        format!("\x00{form}\n{file}{named}{file}--XX--"),
        format!("\x02\x01\x01Multipart/Form-Data; boundary=\"XX\"\npreamble\r\n{text}--XX--\r\nepilogue"),
        format!("\x01\x05{form}\n{text}{text}--XX--\r\n"),
        format!("\x01\x20{form}\n--XX\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nx\r\n--XX"),
        "\x04\x01\x02\x03\x04image/png\nany bytes at all".to_owned(),
        "\x00text/plain\nx".to_owned(),
    ])
}
