//! Who asks: nobody is a user without a token signed with the secret, or a service without its key.
//!
//! Lines of headers.
#![no_main]

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, Method, header};
use libfuzzer_sys::fuzz_target;
use pinhole_fuzz::{
    identity::{Caller, Claimed, Identity},
    seeds::{self, NOW_MICROS},
    web,
};
use sha2::Sha256;

static IDENTITY: LazyLock<Identity> = LazyLock::new(seeds::identity);

fuzz_target!(|input: &[u8]| {
    let headers = web::headers(input);
    let viewer = IDENTITY.viewer(&headers, NOW_MICROS);
    for method in [Method::GET, Method::POST] {
        let caller = IDENTITY.caller(&method, &headers, NOW_MICROS);
        // Whoever may act may also look, as the same.
        if let Ok(caller) = &caller {
            assert_eq!(viewer.as_ref().ok(), Some(caller));
        }
    }
    match viewer {
        // The ledger knows no keys here.
        Ok(Claimed::Key(_)) => {}
        Ok(Claimed::Caller(Caller::User { by_service: false, id })) => {
            assert!(presented(&headers).iter().any(|token| is_signed(token)), "{id} without a token");
        }
        Ok(Claimed::Caller(Caller::Service | Caller::User { by_service: true, .. })) => {
            assert!(
                presented(&headers).iter().any(|token| token == seeds::SERVICE_KEY),
                "a service without its key"
            );
        }
        Ok(Claimed::Caller(Caller::Anonymous)) | Err(_) => {}
    }
});

/// Every word that stands where a token may.
fn presented(headers: &HeaderMap) -> Vec<String> {
    let values = [header::AUTHORIZATION, header::COOKIE].map(|name| headers.get_all(name).into_iter());
    let words = values.into_iter().flatten().filter_map(|value| value.to_str().ok());
    words.flat_map(|value| value.split([' ', ';', '='])).map(str::to_owned).collect()
}

/// Whether a token is one of HS256 (RFC 7515 §3.1) by the secret, whatever it says of itself.
fn is_signed(token: &str) -> bool {
    let Some((signed, signature)) = token.rsplit_once('.') else { return false };
    let mac = Hmac::<Sha256>::new_from_slice(seeds::JWT_SECRET.as_bytes()).unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    mac.chain_update(signed).verify_slice(&signature).is_ok()
}
