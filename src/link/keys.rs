//! The keys that sign and verify links.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _};
use sha2::Sha256;
use thiserror::Error;

/// One key: a public name and 32 secret bytes, kept as an HMAC that has already taken them in.
#[derive(Clone)]
pub struct LinkKey {
    kid: String,
    mac: Hmac<Sha256>,
}

impl LinkKey {
    /// A key from its written form `kid:secret`, the secret being 32 bytes in unpadded base64url.
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        let (kid, secret) = text.trim().split_once(':').ok_or(KeyRingError::Form)?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if kid.is_empty() || kid.len() > 32 || !kid.bytes().all(allowed) {
            return Err(KeyRingError::Kid);
        }
        let secret = URL_SAFE_NO_PAD.decode(secret).ok().filter(|bytes| bytes.len() == 32);
        let mac = secret.and_then(|bytes| Hmac::new_from_slice(&bytes).ok());
        Ok(Self { kid: kid.to_owned(), mac: mac.ok_or_else(|| KeyRingError::Secret(kid.to_owned()))? })
    }

    /// The name that stands in links.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub(super) fn mac(&self) -> Hmac<Sha256> {
        self.mac.clone()
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkKey({}, …)", self.kid)
    }
}

/// The keys in use: the newest signs, all verify.
#[derive(Clone, Debug)]
pub struct KeyRing {
    newest: LinkKey,
    older: Vec<LinkKey>,
}

/// Why keys are refused.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum KeyRingError {
    /// There is no key.
    #[error("there is no link key; name at least one")]
    Empty,
    /// A key is not of the form `kid:secret`.
    #[error("a link key must have the form kid:secret")]
    Form,
    /// A name is too long or has other characters.
    #[error("a link key's kid must be 1 to 32 characters of A-Z a-z 0-9 _ -")]
    Kid,
    /// A secret is not 32 bytes.
    #[error("the secret of link key {0} must be 32 bytes in unpadded base64url (43 characters)")]
    Secret(String),
    /// Two keys share a name.
    #[error("two link keys are called {0}")]
    Twice(String),
}

impl KeyRing {
    /// A ring from written keys, newest first.
    pub fn parse<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Self, KeyRingError> {
        let mut keys = keys.into_iter().map(LinkKey::parse);
        let newest = keys.next().ok_or(KeyRingError::Empty)??;
        let mut ring = Self { newest, older: Vec::new() };
        for key in keys {
            let key = key?;
            if ring.get(key.kid()).is_some() {
                return Err(KeyRingError::Twice(key.kid));
            }
            ring.older.push(key);
        }
        Ok(ring)
    }

    /// The key that signs.
    pub fn newest(&self) -> &LinkKey {
        &self.newest
    }

    /// The names of all keys, the newest first.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.newest).chain(&self.older).map(LinkKey::kid)
    }

    /// The key of that name, if it still verifies.
    pub fn get(&self, kid: &str) -> Option<&LinkKey> {
        std::iter::once(&self.newest).chain(&self.older).find(|key| key.kid == kid)
    }
}
