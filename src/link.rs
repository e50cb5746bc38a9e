//! Signed links: who holds one may see one rendition of one image until it expires.
//!
//! `/i/{id}/{options}?exp=<unix s>&kid=<key id>&ep=<epoch>&sig=<43 chars>`, exactly these parameters
//! in this order, where
//! `sig = base64url_nopad(HMAC-SHA256(key[kid], path + "?exp=…&kid=…&ep=…"))` over the bytes as sent
//! (RFC 2104, RFC 4648 §5). One form only: there is no second spelling of a link for a cache to
//! confuse, and nothing is parsed or looked up before the signature holds. `tests/vectors/links.json`
//! lets a client in any language be checked against this file.

mod keys;
#[cfg(test)]
mod tests;

pub use keys::{KeyRing, KeyRingError, LinkKey};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::Mac as _;
use thiserror::Error;

use crate::{clock, id::ImageId};

/// The length of an HMAC-SHA256 in unpadded base64.
const SIG_CHARS: usize = 43;

/// A link whose signature and expiry held. Only [`verify`] makes one.
#[derive(Debug)]
pub struct Verified {
    epoch: i64,
    exp_secs: u64,
    left_secs: u64,
}

impl Verified {
    /// The image's epoch that the link was signed for.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Seconds until the link expires, when it was verified; at least 1.
    pub fn left_secs(&self) -> u64 {
        self.left_secs
    }

    /// Whole seconds that are left at a later time, in microseconds since the Unix epoch: 0 in the last one; `None` once
    /// it has expired.
    pub fn left_secs_at(&self, now_micros: i64) -> Option<u64> {
        let left_micros = clock::after(0, self.exp_secs).saturating_sub(now_micros);
        (left_micros > 0).then(|| clock::secs(left_micros))
    }
}

/// Why a link is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LinkError {
    /// The query is not of the one form that links have.
    #[error("the query must be exactly ?exp=…&kid=…&ep=…&sig=…, in this order and nothing else: {0}")]
    Malformed(&'static str),
    /// The key id is not one of those that verify.
    #[error("the link was signed with a key that is not in use (kid)")]
    UnknownKey,
    /// The signature does not match the path and the query.
    #[error("the signature (sig) does not match this path and query")]
    BadSignature,
    /// It was good, but its time is over.
    #[error("the link has expired; ask for a new one")]
    Expired,
}

impl LinkError {
    /// Its name, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
        }
    }
}

/// Signs a path: the answer is the path with its query.
pub fn sign(ring: &KeyRing, path: &str, exp_secs: u64, epoch: i64) -> String {
    let key = ring.newest();
    let claim = format!("{path}?exp={exp_secs}&kid={}&ep={epoch}", key.kid());
    let sig = URL_SAFE_NO_PAD.encode(key.mac().chain_update(&claim).finalize().into_bytes());
    format!("{claim}&sig={sig}")
}

/// Verifies the path and the query of a request, as sent.
///
/// Compared in constant time. A link that is both forged and expired is forged.
pub fn verify(ring: &KeyRing, path: &str, query: &str, now_secs: u64) -> Result<Verified, LinkError> {
    let claim = Claim::parse(query).map_err(LinkError::Malformed)?;
    let key = ring.get(claim.kid).ok_or(LinkError::UnknownKey)?;
    let mac = key.mac().chain_update(path).chain_update("?").chain_update(claim.signed);
    mac.verify_slice(&claim.sig).map_err(|_| LinkError::BadSignature)?;
    let left_secs = claim.exp_secs.checked_sub(now_secs).filter(|left| *left > 0);
    let left_secs = left_secs.ok_or(LinkError::Expired)?;
    Ok(Verified { epoch: claim.epoch, exp_secs: claim.exp_secs, left_secs })
}

/// When a link that must live at least `lifetime_secs` expires: rounded up to the next boundary of a
/// window, so that everybody who asks for the same image within a window gets the same URL, and a CDN
/// keeps one copy. The boundaries are shifted per image, so that not all links die in one second.
pub fn windowed_exp(image: ImageId, now_secs: u64, lifetime_secs: u64, window_secs: u64) -> u64 {
    let window = window_secs.max(1);
    // The second half of a UUIDv7 is random: as good a jitter as a hash of the id.
    let (_, random) = image.as_u64_pair();
    let shift = random % window;
    let earliest = now_secs.saturating_add(lifetime_secs);
    let past_boundary = (earliest % window + window - shift) % window;
    if past_boundary == 0 { earliest } else { earliest.saturating_add(window - past_boundary) }
}

/// A query taken apart, not yet believed.
struct Claim<'a> {
    signed: &'a str,
    exp_secs: u64,
    kid: &'a str,
    epoch: i64,
    sig: [u8; 32],
}

impl<'a> Claim<'a> {
    fn parse(query: &'a str) -> Result<Self, &'static str> {
        let (signed, sig) = query.rsplit_once("&sig=").ok_or("sig is missing")?;
        let rest = signed.strip_prefix("exp=").ok_or("exp must come first")?;
        let (exp, rest) = rest.split_once("&kid=").ok_or("kid must come second")?;
        let (kid, epoch) = rest.split_once("&ep=").ok_or("ep must come third")?;
        let exp_secs = plain_number(exp).ok_or("exp must be a number of seconds")?;
        let epoch = plain_number(epoch).and_then(|n| i64::try_from(n).ok()).ok_or("ep must be a number")?;
        if sig.len() != SIG_CHARS {
            return Err("sig must be 43 characters");
        }
        let bytes = URL_SAFE_NO_PAD.decode(sig).map_err(|_| "sig must be base64url")?;
        let sig = bytes.try_into().map_err(|_| "sig must be 43 characters")?;
        Ok(Self { signed, exp_secs, kid, epoch, sig })
    }
}

/// Decimal digits without sign or leading zero: one number, one spelling.
fn plain_number(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}
