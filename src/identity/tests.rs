//! Who is believed to be whom.

use http::HeaderValue;

use super::*;
use crate::config::Secret;

const NOW: i64 = 1_800_000_000_000_000;
const KEY: &str = "a-service-key";

fn identity() -> Identity {
    let mut config = Config::default();
    config.auth.jwt_secret = Secret::new("x".repeat(32));
    config.auth.service_key_hashes = vec![service_key_hash(KEY)];
    config.server.public_url = "https://img.example".to_owned();
    Identity::new(&config, false).unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).unwrap())).collect()
}

fn alice(ttl_secs: u64) -> String {
    identity().issue(&UserId::parse("alice").unwrap(), ttl_secs, NOW).unwrap()
}

/// Who asks; 401 where only the ledger could say.
fn certain(claimed: Result<Claimed, Error>) -> Result<Caller, u16> {
    match claimed {
        Ok(Claimed::Caller(caller)) => Ok(caller),
        Ok(Claimed::Key(_)) => Err(401),
        Err(error) => Err(error.status().as_u16()),
    }
}

fn post(pairs: &[(&'static str, &str)]) -> Result<Caller, u16> {
    certain(identity().caller(&Method::POST, &headers(pairs), NOW))
}

fn user(by_service: bool) -> Result<Caller, u16> {
    UserId::parse("alice").map(|id| Caller::User { id, by_service }).ok_or(0)
}

fn raw_token(header: &str, claims: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as B64};
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let signed = format!("{}.{}", B64.encode(header), B64.encode(claims));
    let mac = Hmac::<Sha256>::new_from_slice(&[b'x'; 32]).unwrap().chain_update(&signed).finalize();
    format!("{signed}.{}", B64.encode(mac.into_bytes()))
}

#[test]
fn a_good_token_is_its_user() {
    assert_eq!(post(&[("authorization", &format!("Bearer {}", alice(60)))]), user(false));
    assert_eq!(post(&[("authorization", &format!("bearer {}", alice(60)))]), user(false));
    assert_eq!(post(&[]), Ok(Caller::Anonymous));
}

#[test]
fn a_bad_token_is_401() {
    let hs256 = r#"{"alg":"HS256","typ":"JWT"}"#;
    let good = r#"{"sub":"alice","exp":1800000060}"#;
    assert_eq!(post(&[("authorization", &format!("Bearer {}", raw_token(hs256, good)))]), user(false));
    let mut tampered = alice(60);
    tampered.pop();
    for token in [
        tampered,
        alice(0),
        raw_token(hs256, r#"{"sub":"alice"}"#),
        raw_token(hs256, r#"{"sub":"alice","exp":1800000060,"nbf":1800000001}"#),
        raw_token(hs256, r#"{"sub":"a/b","exp":1800000060}"#),
        raw_token(r#"{"alg":"none"}"#, good),
        raw_token(r#"{"alg":"HS384"}"#, good),
        "..".to_owned(),
        "not-a-key".to_owned(),
        String::new(),
    ] {
        assert_eq!(post(&[("authorization", &format!("Bearer {token}"))]), Err(401), "{token}");
    }
    assert_eq!(post(&[("authorization", "Basic YTpi")]), Err(401));
}

#[test]
fn on_behalf_of_is_for_services_alone() {
    let key = format!("Bearer {KEY}");
    assert_eq!(post(&[("authorization", &key)]), Ok(Caller::Service));
    assert_eq!(post(&[("authorization", &key), ("on-behalf-of", "alice")]), user(true));
    assert_eq!(post(&[("authorization", &key), ("on-behalf-of", "a b")]), Err(400));
    let token = format!("Bearer {}", alice(60));
    assert_eq!(post(&[("authorization", &token), ("on-behalf-of", "bob")]), user(false));
    assert_eq!(post(&[("on-behalf-of", "bob")]), Ok(Caller::Anonymous));
}

#[test]
fn what_is_said_twice_is_not_believed() {
    let mut twice = headers(&[("authorization", &format!("Bearer {KEY}")), ("on-behalf-of", "alice")]);
    twice.append("on-behalf-of", HeaderValue::from_static("bob"));
    assert!(identity().caller(&Method::GET, &twice, NOW).is_err());
    let mut twice = headers(&[("authorization", &format!("Bearer {}", alice(60)))]);
    twice.append("authorization", HeaderValue::from_static("Bearer a-service-key"));
    assert!(identity().caller(&Method::GET, &twice, NOW).is_err());
}

#[test]
fn a_cookie_acts_only_from_our_own_pages() {
    let cookie = format!("theme=dark; {COOKIE}={}", alice(60));
    let with = |name: &'static str, value: &str| post(&[("cookie", &cookie), (name, value)]);
    assert_eq!(with("origin", "https://img.example"), user(false));
    assert_eq!(with("sec-fetch-site", "same-origin"), user(false));
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "https://img.example.evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "none"),
        ("x-other", "x"),
    ] {
        assert_eq!(with(name, value), Err(403), "{name}: {value}");
    }
    // Where the browser says both, the one that no page can shape decides.
    let both =
        [("cookie", cookie.as_str()), ("origin", "https://img.example"), ("sec-fetch-site", "cross-site")];
    assert_eq!(post(&both), Err(403));
    let get = identity().caller(&Method::GET, &headers(&[("cookie", &cookie)]), NOW);
    assert_eq!(certain(get), user(false));
}

#[test]
fn on_an_image_a_bad_cookie_counts_as_none_and_a_bad_bearer_does_not() {
    let bad_cookie = format!("{COOKIE}=a.b.c");
    let view = |pairs: &[(&'static str, &str)]| certain(identity().viewer(&headers(pairs), NOW));
    assert_eq!(view(&[("cookie", bad_cookie.as_str())]), Ok(Caller::Anonymous));
    assert_eq!(post(&[("cookie", &bad_cookie), ("sec-fetch-site", "same-origin")]), Err(401));
    assert_eq!(view(&[("authorization", "Bearer a.b.c")]), Err(401));
    assert_eq!(
        view(&[("authorization", "Bearer a.b.c"), ("cookie", &format!("{COOKIE}={}", alice(9)))]),
        Err(401)
    );
}

fn with(change: impl FnOnce(&mut crate::config::Auth)) -> Identity {
    let mut config = Config::default();
    config.auth.jwt_secret = Secret::new("x".repeat(32));
    change(&mut config.auth);
    Identity::new(&config, false).unwrap()
}

fn takes(identity: &Identity, token: &str) -> bool {
    let headers = headers(&[("authorization", &format!("Bearer {token}"))]);
    certain(identity.caller(&Method::GET, &headers, NOW)).is_ok()
}

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

#[test]
fn a_secret_is_rotated_by_keeping_the_old_one_for_a_while() {
    let rotated = with(|auth| {
        auth.jwt_secret = Secret::new("y".repeat(32));
        auth.jwt_old_secrets = vec![Secret::new("x".repeat(32))];
    });
    let alice = UserId::parse("alice").unwrap();
    assert!(takes(&rotated, &with(|_| ()).issue(&alice, 60, NOW).unwrap()));
    assert!(takes(&rotated, &rotated.issue(&alice, 60, NOW).unwrap()));
    assert!(!takes(&with(|_| ()), &rotated.issue(&alice, 60, NOW).unwrap()));
    let mut config = Config::default();
    assert!(matches!(Identity::new(&config, false), Err(IdentityError::Tokens(TokenError::Nothing))));
    config.auth.jwt_secret = Secret::new("x".repeat(32));
    config.auth.jwt_old_secrets = vec![Secret::new("x".repeat(31))];
    let error = Identity::new(&config, false).unwrap_err();
    assert!(error.to_string().contains("auth.jwt_old_secrets"), "{error}");
}

#[test]
fn a_token_is_for_us_and_from_whom_it_should_be() {
    let strict = with(|auth| {
        auth.audience = vec!["img.example".to_owned(), "pinhole".to_owned()];
        auth.issuer = Some("https://app.example".to_owned());
    });
    for (claims, is_good) in [
        (r#""aud":"pinhole","iss":"https://app.example""#, true),
        (r#""aud":["other","img.example"],"iss":"https://app.example""#, true),
        (r#""aud":["other"],"iss":"https://app.example""#, false),
        (r#""aud":[],"iss":"https://app.example""#, false),
        (r#""iss":"https://app.example""#, false),
        (r#""aud":"pinhole","iss":"https://app.example/""#, false),
        (r#""aud":"pinhole""#, false),
        (r#""aud":7,"iss":"https://app.example""#, false),
    ] {
        let token = raw_token(HS256, &format!(r#"{{"sub":"alice","exp":1800000060,{claims}}}"#));
        assert_eq!(takes(&strict, &token), is_good, "{claims}");
    }
    assert!(takes(&strict, &strict.issue(&UserId::parse("alice").unwrap(), 60, NOW).unwrap()));
    // Where nothing is configured, whom it is for is nobody's business.
    assert!(takes(
        &with(|_| ()),
        &raw_token(HS256, r#"{"sub":"alice","exp":1800000060,"aud":"x","iss":"y"}"#)
    ));
}

#[test]
fn clocks_may_differ_by_the_leeway_and_no_more() {
    let lenient = with(|auth| auth.leeway_secs = 30);
    for (claims, is_good) in [
        (r#""exp":1799999971"#, true),
        (r#""exp":1799999970"#, false),
        (r#""exp":1800000060,"nbf":1800000030"#, true),
        (r#""exp":1800000060,"nbf":1800000031"#, false),
        (r#""exp":18446744073709551615"#, true),
        (r#""exp":-1"#, false),
    ] {
        let token = raw_token(HS256, &format!(r#"{{"sub":"alice",{claims}}}"#));
        assert_eq!(takes(&lenient, &token), is_good, "{claims}");
    }
    // An extension that must be understood is not.
    let critical = raw_token(r#"{"alg":"HS256","crit":["exp"]}"#, r#"{"sub":"alice","exp":1800000060}"#);
    assert!(!takes(&lenient, &critical));
}
