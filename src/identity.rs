//! Who asks: a user by token, a service by key, or nobody.
//!
//! Purposes never mix: a token with a dot is a user's JWT, any other a service key; neither is
//! ever a link, and a link is never either.

use http::{HeaderMap, HeaderName, Method, header};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use thiserror::Error;

use crate::{
    access::Viewer,
    clock,
    config::Config,
    error::Error,
    id::{UserId, hex, unhex},
};

/// The cookie that holds a user's token.
pub const COOKIE: &str = "pinhole_session";
const ON_BEHALF_OF: HeaderName = HeaderName::from_static("on-behalf-of");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The shortest secret that HS256 should have (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular.
    Anonymous,
    /// A user, or a service acting for him with exactly his rights.
    User {
        /// Who.
        id: UserId,
        /// Whether a service speaks for him: the app itself says so.
        by_service: bool,
    },
    /// The app's backend, for itself.
    Service,
}

impl Caller {
    /// The user, if it is one.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::User { id, .. } => Some(id),
            Self::Anonymous | Self::Service => None,
        }
    }

    /// The viewer that an access decision weighs.
    pub fn viewer(&self, follows_owner: bool) -> Viewer<'_> {
        match self {
            Self::Anonymous => Viewer::Anonymous,
            Self::User { id, .. } => Viewer::User { id, follows_owner },
            Self::Service => Viewer::Service,
        }
    }

    /// The user, for what only users do.
    pub fn require_user(self) -> Result<UserId, Error> {
        match self {
            Self::User { id, .. } => Ok(id),
            Self::Anonymous => Err(Error::unauthenticated("Sign in: send Authorization: Bearer <token>.")),
            Self::Service => Err(Error::bad_request(
                "on_behalf_of_required",
                "This is a user's call: a service says for whom with On-Behalf-Of: <user id>.",
            )),
        }
    }

    /// For what an owner may do with his own things and a service with anybody's: whose are meant.
    pub fn require_owner_or_service(self) -> Result<Option<UserId>, Error> {
        match self {
            Self::Service => Ok(None),
            other => other.require_user().map(Some),
        }
    }

    /// For what only a service does, for itself.
    pub fn require_service(&self) -> Result<(), Error> {
        match self {
            Self::Service => Ok(()),
            Self::User { .. } => {
                Err(Error::forbidden("service_only", "Only a service may do this, for itself."))
            }
            Self::Anonymous => {
                Err(Error::unauthenticated("Only a service may do this: send its key as a bearer token."))
            }
        }
    }
}

/// The secrets that identities are checked with.
pub struct Identity {
    encoding: EncodingKey,
    decoding: DecodingKey,
    service_key_hashes: Vec<[u8; 32]>,
    public_origin: String,
    dev: bool,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Why the secrets are unusable.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The secret is too short to sign with.
    #[error("auth.jwt_secret must have at least {MIN_SECRET_BYTES} bytes")]
    ShortSecret,
    /// A hash is not one.
    #[error(
        "auth.service_key_hashes must hold SHA-256 hashes of 64 hexadecimal digits in lower case; \
         make one with: printf %s \"$SERVICE_KEY\" | sha256sum"
    )]
    BadHash,
}

/// What a user's token says (RFC 7519 §4.1).
#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
}

/// What was presented, and whether the browser may have sent it unasked.
enum Presented<'a> {
    Bearer(&'a str),
    Cookie(&'a str),
    Nothing,
}

impl Identity {
    /// Takes the secrets from the settings.
    pub fn new(config: &Config, dev: bool) -> Result<Self, IdentityError> {
        let secret = config.auth.jwt_secret.expose().as_bytes();
        if secret.len() < MIN_SECRET_BYTES {
            return Err(IdentityError::ShortSecret);
        }
        let hashes = config.auth.service_key_hashes.iter().map(|text| unhex(text));
        Ok(Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            service_key_hashes: hashes.collect::<Option<_>>().ok_or(IdentityError::BadHash)?,
            public_origin: config.server.public_url.clone(),
            dev,
        })
    }

    /// Who asks the control API. What is presented must be good, and a cookie that came along with an
    /// unsafe method must come from our own pages.
    pub fn caller(&self, method: &Method, headers: &HeaderMap, now_micros: i64) -> Result<Caller, Error> {
        match presented(headers)? {
            Presented::Bearer(token) => self.bearer(token, headers, now_micros),
            Presented::Cookie(token) => {
                if !method.is_safe() && !self.is_same_origin(headers) {
                    return Err(Error::forbidden(
                        "cross_site",
                        "A request with the session cookie must come from this site: \
                         its Origin or Sec-Fetch-Site must say same-origin.",
                    ));
                }
                self.user(token, now_micros).ok_or_else(bad_token)
            }
            Presented::Nothing => Ok(Caller::Anonymous),
        }
    }

    /// Who looks at an image. A bad cookie counts as none, since a browser sends it unasked; a bad
    /// bearer token was meant, so it is refused.
    pub fn viewer(&self, headers: &HeaderMap, now_micros: i64) -> Result<Caller, Error> {
        match presented(headers)? {
            Presented::Bearer(token) => self.bearer(token, headers, now_micros),
            Presented::Cookie(token) => Ok(self.user(token, now_micros).unwrap_or(Caller::Anonymous)),
            Presented::Nothing => Ok(Caller::Anonymous),
        }
    }

    /// A token for a user, good for so many seconds.
    pub fn issue(
        &self,
        user: &UserId,
        ttl_secs: u64,
        now_micros: i64,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let exp = clock::secs(now_micros).saturating_add(ttl_secs);
        let claims = Claims { sub: user.as_str().to_owned(), exp, nbf: None };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
    }

    fn bearer(&self, token: &str, headers: &HeaderMap, now_micros: i64) -> Result<Caller, Error> {
        if token.contains('.') {
            return self.user(token, now_micros).ok_or_else(bad_token);
        }
        if !self.is_service_key(token) {
            return Err(bad_token());
        }
        let mut users = headers.get_all(ON_BEHALF_OF).iter();
        let Some(user) = users.next() else { return Ok(Caller::Service) };
        let only = users.next().is_none().then_some(user);
        let id = only.and_then(|user| user.to_str().ok()).and_then(UserId::parse);
        let id = id.ok_or_else(|| {
            Error::invalid_field("On-Behalf-Of", format_args!("must be given once, and be {}", UserId::RULE))
        })?;
        Ok(Caller::User { id, by_service: true })
    }

    /// The user of a good token.
    fn user(&self, token: &str, now_micros: i64) -> Option<Caller> {
        // The algorithm is ours to say, never the token's. Times are checked here, against the clock
        // that was passed in.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation).ok()?.claims;
        let now = clock::secs(now_micros);
        let in_time = claims.exp > now && claims.nbf.is_none_or(|nbf| nbf <= now);
        let id = UserId::parse(&claims.sub).filter(|_| in_time)?;
        Some(Caller::User { id, by_service: false })
    }

    fn is_service_key(&self, key: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let found =
            self.service_key_hashes.iter().fold(Choice::from(0), |found, known| found | hash.ct_eq(known));
        found.into()
    }

    /// Whether the browser says that one of our own pages sent this.
    fn is_same_origin(&self, headers: &HeaderMap) -> bool {
        if let Some(site) = headers.get(SEC_FETCH_SITE) {
            return site == "same-origin";
        }
        let Some(origin) = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()) else {
            return false;
        };
        // In dev a loopback address has several names; the Host was checked to be one of them.
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        origin == self.public_origin || (self.dev && origin.strip_prefix("http://") == Some(host))
    }
}

fn bad_token() -> Error {
    Error::unauthenticated("The token or key is not valid, or has expired; sign in again.")
}

fn presented(headers: &HeaderMap) -> Result<Presented<'_>, Error> {
    let mut credentials = headers.get_all(header::AUTHORIZATION).iter();
    if let Some(value) = credentials.next() {
        // Two would let a proxy judge by one and us by the other.
        let only = credentials.next().is_none().then_some(value);
        let token = only.and_then(|value| value.to_str().ok()).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        return token.map(Presented::Bearer).ok_or_else(|| {
            Error::unauthenticated(
                "The Authorization header must have the form: Bearer <token or service key>.",
            )
        });
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    Ok(pairs
        .find(|(name, _)| *name == COOKIE)
        .map_or(Presented::Nothing, |(_, token)| Presented::Cookie(token)))
}

/// The hash of the service key that was presented, as [`service_key_hash`] has it: what tells services
/// apart. Whether it is a good one is for [`Identity::caller`] to say.
pub fn presented_key_hash(headers: &HeaderMap) -> Option<String> {
    match presented(headers) {
        Ok(Presented::Bearer(token)) if !token.contains('.') => Some(service_key_hash(token)),
        _ => None,
    }
}

/// The hash of a service key, as `auth.service_key_hashes` holds it.
pub fn service_key_hash(key: &str) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}

#[cfg(test)]
mod tests {
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

    fn post(pairs: &[(&'static str, &str)]) -> Result<Caller, u16> {
        identity()
            .caller(&Method::POST, &headers(pairs), NOW)
            .map_err(|e| e.into_response().status().as_u16())
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
        let both = [
            ("cookie", cookie.as_str()),
            ("origin", "https://img.example"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert_eq!(post(&both), Err(403));
        let get = identity().caller(&Method::GET, &headers(&[("cookie", &cookie)]), NOW);
        assert_eq!(get.map_err(|_| 0), user(false));
    }

    #[test]
    fn on_an_image_a_bad_cookie_counts_as_none_and_a_bad_bearer_does_not() {
        let bad_cookie = format!("{COOKIE}=a.b.c");
        let view = |pairs: &[(&'static str, &str)]| {
            identity().viewer(&headers(pairs), NOW).map_err(|e| e.into_response().status().as_u16())
        };
        assert_eq!(view(&[("cookie", bad_cookie.as_str())]), Ok(Caller::Anonymous));
        assert_eq!(post(&[("cookie", &bad_cookie), ("sec-fetch-site", "same-origin")]), Err(401));
        assert_eq!(view(&[("authorization", "Bearer a.b.c")]), Err(401));
        assert_eq!(
            view(&[("authorization", "Bearer a.b.c"), ("cookie", &format!("{COOKIE}={}", alice(9)))]),
            Err(401)
        );
    }
}
