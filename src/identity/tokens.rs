//! Users' tokens: JWTs (RFC 7519), signed with a shared secret or with a key that their issuer publishes.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::KeySet;
use crate::{clock, config::Auth, id::UserId};

/// The shortest secret that HS256 should have (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// How many tokens are remembered to be signed well, and how long. Whether they are in their time is asked
/// every time.
const MAX_SIGNED: u64 = 10_000;
const SIGNED_FOR: Duration = Duration::from_mins(10);

/// Why tokens cannot be checked, or made.
#[derive(Debug, Error)]
pub enum TokenError {
    /// A secret is too short to sign with.
    #[error("{0} must have at least {MIN_SECRET_BYTES} bytes")]
    ShortSecret(&'static str),
    /// There is neither a secret nor a set of public keys.
    #[error(
        "auth.jwt_secret is not set: it is the secret that your app signs its users' tokens with (HS256), at \
         least 32 bytes; or name its public keys by auth.jwks_url or auth.jwks_file"
    )]
    Nothing,
    /// Only a secret makes tokens.
    #[error("auth.jwt_secret is not set, and public keys make no tokens")]
    NoSecret,
    /// It could not be signed.
    #[error("the token cannot be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// What tokens are checked with.
pub(super) struct Tokens {
    /// Of the newest secret.
    encoding: Option<EncodingKey>,
    secrets: Vec<DecodingKey>,
    /// Whether there are public keys at all.
    has_issuer: bool,
    published: RwLock<Arc<KeySet>>,
    /// Steps after every change of the published keys.
    generation: AtomicU64,
    /// What tokens say whose signatures were good, by their hash and the generation of the keys: checking a
    /// signature takes longer than all the rest of a view.
    signed: Cache<([u8; 32], u64), Arc<Claims>>,
    audience: Vec<String>,
    issuer: Option<String>,
    leeway_secs: u64,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("published", &self.published).finish_non_exhaustive()
    }
}

/// What a token's header says of it (RFC 7515 §4.1).
#[derive(Deserialize)]
struct Said {
    alg: Algorithm,
    kid: Option<String>,
    /// What one must understand to take the token; nothing of that kind is understood here.
    crit: Option<serde::de::IgnoredAny>,
}

/// What a token says (RFC 7519 §4.1).
#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since the Unix epoch, as is the next; they need not be whole (RFC 7519 §2, `NumericDate`).
    exp: Number,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<Audience>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Tokens {
    pub(super) fn new(settings: &Auth) -> Result<Self, TokenError> {
        let old = settings.jwt_old_secrets.iter().map(|secret| ("auth.jwt_old_secrets", secret));
        let newest = std::iter::once(("auth.jwt_secret", &settings.jwt_secret));
        let set: Vec<_> = newest.chain(old).filter(|(_, secret)| !secret.expose().is_empty()).collect();
        if let Some((name, _)) = set.iter().find(|(_, secret)| secret.expose().len() < MIN_SECRET_BYTES) {
            return Err(TokenError::ShortSecret(name));
        }
        let has_issuer = settings.jwks_url.is_some() || settings.jwks_file.is_some();
        if set.is_empty() && !has_issuer {
            return Err(TokenError::Nothing);
        }
        let newest = settings.jwt_secret.expose();
        Ok(Self {
            encoding: (!newest.is_empty()).then(|| EncodingKey::from_secret(newest.as_bytes())),
            secrets: set
                .iter()
                .map(|(_, secret)| DecodingKey::from_secret(secret.expose().as_bytes()))
                .collect(),
            has_issuer,
            published: RwLock::default(),
            generation: AtomicU64::new(0),
            signed: Cache::builder().max_capacity(MAX_SIGNED).time_to_live(SIGNED_FOR).build(),
            audience: settings.audience.clone(),
            issuer: settings.issuer.clone(),
            leeway_secs: settings.leeway_secs,
        })
    }

    pub(super) fn issue(&self, user: &UserId, ttl_secs: u64, now_micros: i64) -> Result<String, TokenError> {
        let encoding = self.encoding.as_ref().ok_or(TokenError::NoSecret)?;
        let claims = Claims {
            sub: user.as_str().to_owned(),
            exp: clock::secs(now_micros).saturating_add(ttl_secs).into(),
            nbf: None,
            aud: self.audience.first().cloned().map(Audience::One),
            iss: self.issuer.clone(),
        };
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, encoding)?)
    }

    pub(super) fn publish(&self, keys: KeySet) {
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        // Only now: whoever checks under the new number does so with the new keys.
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    fn published(&self) -> Arc<KeySet> {
        Arc::clone(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn misses_key_of(&self, token: &str) -> bool {
        let is_missing = |kid: String| !self.published().has(&kid);
        self.has_issuer
            && said(token)
                .is_some_and(|said| said.alg != Algorithm::HS256 && said.kid.is_some_and(is_missing))
    }

    /// The user of a good token.
    pub(super) fn user(&self, token: &str, now_micros: i64) -> Option<UserId> {
        let key = (Sha256::digest(token).into(), self.generation.load(Ordering::SeqCst));
        let claims = if let Some(claims) = self.signed.get(&key) {
            claims
        } else {
            let claims = Arc::new(self.signed(token)?);
            self.signed.insert(key, Arc::clone(&claims));
            claims
        };
        self.hold(&claims, now_micros).then(|| UserId::parse(&claims.sub)).flatten()
    }

    /// What a token says, if its signature is good.
    fn signed(&self, token: &str) -> Option<Claims> {
        let said = said(token).filter(|said| said.crit.is_none())?;
        match said.alg {
            Algorithm::HS256 => self.secrets.iter().find_map(|secret| verified(token, secret, said.alg)),
            Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA => {
                let published = self.published();
                let mut candidates = published.candidates(said.alg, said.kid.as_deref());
                candidates.find_map(|key| verified(token, key, said.alg))
            }
            _ => None,
        }
    }

    /// Whether a token is for us, from whom it should be, and in its time.
    fn hold(&self, claims: &Claims, now_micros: i64) -> bool {
        let now_secs = Duration::from_micros(now_micros.unsigned_abs()).as_secs_f64();
        let leeway_secs = Duration::from_secs(self.leeway_secs).as_secs_f64();
        let is_for_us = |name: &String| self.audience.contains(name);
        let audience = self.audience.is_empty()
            || match &claims.aud {
                None => false,
                Some(Audience::One(name)) => is_for_us(name),
                Some(Audience::Several(names)) => names.iter().any(is_for_us),
            };
        audience
            && self.issuer.as_ref().is_none_or(|issuer| claims.iss.as_ref() == Some(issuer))
            && claims.exp.as_f64().is_some_and(|exp| exp + leeway_secs > now_secs)
            && claims
                .nbf
                .as_ref()
                .is_none_or(|nbf| nbf.as_f64().is_some_and(|nbf| nbf <= now_secs + leeway_secs))
    }
}

fn said(token: &str) -> Option<Said> {
    let (header, _) = token.split_once('.')?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()
}

/// What a token says whose signature is good.
fn verified(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Option<Claims> {
    // Times and names are checked elsewhere, against the clock that was passed in.
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    Some(jsonwebtoken::decode::<Claims>(token, key, &validation).ok()?.claims)
}
