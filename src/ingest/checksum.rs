//! A client's promise about the bytes of one request, held against what arrives.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// A hash that grows with the bytes, and what it is to become.
#[derive(Debug)]
pub struct Checksum {
    hash: Hash,
    promised: Vec<u8>,
}

#[derive(Debug)]
enum Hash {
    Sha1(Sha1),
    Sha256(Sha256),
}

/// Why a promise cannot be checked. Each text says what to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadChecksum {
    /// No algorithm that is known here.
    #[error("the algorithm must be one of {}", Checksum::ALGORITHMS)]
    Algorithm,
    /// The value is no hash of that algorithm.
    #[error("must be an algorithm, a space, and the hash in base64")]
    Value,
}

impl Checksum {
    /// The algorithms, as tus's `Tus-Checksum-Algorithm` lists them.
    pub const ALGORITHMS: &'static str = "sha1,sha256";

    /// Reads what tus's `Upload-Checksum` says: `sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=`.
    pub fn parse(text: &str) -> Result<Self, BadChecksum> {
        let (algorithm, value) = text.split_once(' ').unwrap_or((text, ""));
        let (hash, length) = match algorithm {
            "sha1" => (Hash::Sha1(Sha1::new()), 20),
            "sha256" => (Hash::Sha256(Sha256::new()), 32),
            _ => return Err(BadChecksum::Algorithm),
        };
        let promised = STANDARD.decode(value).ok().filter(|promised| promised.len() == length);
        Ok(Self { hash, promised: promised.ok_or(BadChecksum::Value)? })
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match &mut self.hash {
            Hash::Sha1(hash) => hash.update(bytes),
            Hash::Sha256(hash) => hash.update(bytes),
        }
    }

    /// Whether these were the promised bytes.
    pub(super) fn holds(self) -> bool {
        match self.hash {
            Hash::Sha1(hash) => hash.finalize()[..] == self.promised[..],
            Hash::Sha256(hash) => hash.finalize()[..] == self.promised[..],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes of `hello world`; the first is the protocol's own example.
    const HELLO: [&str; 2] =
        ["sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek="];

    fn holds(promise: &str, pieces: &[&str]) -> bool {
        let mut checksum = Checksum::parse(promise).unwrap();
        for piece in pieces {
            checksum.update(piece.as_bytes());
        }
        checksum.holds()
    }

    #[test]
    fn a_promise_is_kept_by_those_bytes_alone() {
        for promise in HELLO {
            assert!(holds(promise, &["hello", " ", "world"]), "{promise}");
            assert!(!holds(promise, &["hello world", "!"]), "{promise}");
            assert!(!holds(promise, &[]), "{promise}");
        }
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        for (text, why) in [
            ("", BadChecksum::Algorithm),
            ("md5 1B2M2Y8AsgTpgAmY7PhCfg==", BadChecksum::Algorithm),
            ("SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", BadChecksum::Algorithm),
            ("sha1", BadChecksum::Value),
            ("sha1  Kq5sNclPz7QV2+lfQIuc6R7oRu0=", BadChecksum::Value),
            ("sha1 Kq5sNclPz7QV2", BadChecksum::Value),
            ("sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", BadChecksum::Value),
        ] {
            assert_eq!(Checksum::parse(text).err(), Some(why), "{text:?}");
        }
    }
}
