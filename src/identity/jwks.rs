//! The keys that an issuer of tokens publishes: a JWK Set (RFC 7517).

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use thiserror::Error;

/// The most keys of a set that are looked at.
const MAX_KEYS: usize = 64;

/// Public keys, each with the one algorithm that it is good for.
///
/// What a key is decides how it is used, and never what a token says of itself: so no public key is ever
/// taken for the secret of an HMAC.
#[derive(Default)]
pub struct KeySet {
    keys: Vec<(Option<String>, Algorithm, DecodingKey)>,
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(kid, algorithm, _)| (kid, algorithm))).finish()
    }
}

/// Why a document is no set of keys.
#[derive(Debug, Error)]
pub enum JwksError {
    /// It is not what RFC 7517 describes.
    #[error("it is no JWK Set: {0}")]
    Form(#[from] serde_json::Error),
    /// It has no key that could verify a token.
    #[error("it has no key for RS256, ES256 or EdDSA")]
    NoKey,
}

/// A set, with keys of kinds that are not known here (RFC 7517 §5: they are to be passed over).
#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a document. Keys for something else are passed over, secret ones above all.
    pub fn parse(text: &[u8]) -> Result<KeySet, JwksError> {
        let document: Document = serde_json::from_slice(text)?;
        let keys = document.keys.into_iter().take(MAX_KEYS);
        let keys: Vec<_> = keys.filter_map(|key| key_of(&serde_json::from_value(key).ok()?)).collect();
        Ok(KeySet { keys })
    }

    /// Whether no token can be verified: its issuer has taken all keys back.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that may have signed a token which says so of itself: of that algorithm, and of that name
    /// where it gives one.
    pub(super) fn candidates(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> impl Iterator<Item = &DecodingKey> {
        self.keys.iter().filter_map(move |(name, of, key)| {
            (*of == algorithm && (kid.is_none() || name.as_deref() == kid)).then_some(key)
        })
    }

    /// Whether there is a key of that name.
    pub(super) fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|(name, ..)| name.as_deref() == Some(kid))
    }
}

fn key_of(jwk: &Jwk) -> Option<(Option<String>, Algorithm, DecodingKey)> {
    if jwk.common.public_key_use.as_ref().is_some_and(|of| *of != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|of| of != named) {
        return None;
    }
    Some((jwk.common.key_id.clone(), algorithm, DecodingKey::from_jwk(jwk).ok()?))
}
