//! The names of things: image, post and user ids as types that cannot be mixed up.

use std::fmt;

use rand::{Rng as _, rand_core::UnwrapErr, rngs::SysRng};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh id (UUIDv7, RFC 9562 §5.7), so ids sort by the time they were made.
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id that nothing ever has (RFC 9562 §5.9).
            pub fn nil() -> Self {
                Self(Uuid::nil())
            }

            /// Reads the one spelling that pinhole writes: 36 characters, lower case, hyphenated.
            ///
            /// Other spellings of the same UUID are refused, so that one image has one URL.
            pub fn parse(text: &str) -> Option<Self> {
                let spelled_as_we_do = text.len() == 36
                    && !text.bytes().any(|b| b.is_ascii_uppercase());
                spelled_as_we_do.then(|| Uuid::try_parse(text).ok().map(Self)).flatten()
            }

            /// The two halves of the id: when it was made, and what is random about it.
            pub fn as_u64_pair(&self) -> (u64, u64) {
                self.0.as_u64_pair()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| de::Error::custom("expected an id (a UUID in lower case)"))
            }
        }
    };
}

uuid_id!(
    /// An image's id, as it stands in `/i/{id}/…`.
    ImageId
);
uuid_id!(
    /// A post's id.
    PostId
);
uuid_id!(
    /// The id of the erasure of a user.
    ErasureId
);
uuid_id!(
    /// The id of a service key.
    KeyId
);
uuid_id!(
    /// Who is at work on a request with an idempotency key: one attempt, told apart from the next by
    /// the 74 random bits of its id.
    ClaimId
);

/// A user's id: the `sub` of his token, 1–64 characters of `A-Z a-z 0-9 . _ - @`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct UserId(String);

impl UserId {
    /// What a user id may be, for error messages.
    pub const RULE: &'static str = "1 to 64 characters of A-Z a-z 0-9 . _ - @";

    /// Accepts exactly what [`UserId::RULE`] says.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
        ((1..=64).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Random bytes in a [`BlobKey`]: 160 bits, so that guessing is hopeless and
/// a collision will not happen in the lifetime of any bucket.
const BLOB_KEY_BYTES: usize = 20;

/// The random half of an object's key: unguessable, and never used twice.
///
/// Its text is lowercase hexadecimal, which needs no escaping in a URL, a file
/// name or an S3 signature, and survives a case-insensitive disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BlobKey(String);

impl BlobKey {
    /// A new key from the operating system's random number generator.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: a predictable key
    /// would be worse than no answer.
    pub fn random() -> Self {
        let mut bytes = [0; BLOB_KEY_BYTES];
        UnwrapErr(SysRng).fill_bytes(&mut bytes);
        Self(hex(&bytes))
    }

    /// The key that [`BlobKey::as_str`] wrote, or `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        is_hex(text, BLOB_KEY_BYTES).then(|| Self(text.to_owned()))
    }

    /// The key as text: 40 characters of `0-9a-f`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobKey({})", self.0)
    }
}

/// Bytes of the hash in a [`VariantName`]: no two renditions of one image will ever share it.
const VARIANT_NAME_BYTES: usize = 16;

/// Which rendition of a blob: a hash of how it is made, the same everywhere and always.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VariantName(String);

impl VariantName {
    /// The name of what is made in this way.
    pub fn of(way: &str) -> Self {
        Self(hex(&Sha256::digest(way)[..VARIANT_NAME_BYTES]))
    }

    /// The name that [`VariantName::as_str`] wrote, or `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        is_hex(text, VARIANT_NAME_BYTES).then(|| Self(text.to_owned()))
    }

    /// The name as text: 32 characters of `0-9a-f`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VariantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is what [`hex`] writes of so many bytes.
fn is_hex(text: &str, bytes: usize) -> bool {
    text.len() == 2 * bytes && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Lowercase hexadecimal, the one text form of bytes in keys, names and `ETag`s.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).collect()
}

/// The 32 bytes that [`hex`] wrote as 64 digits.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn one_image_has_one_spelling() {
        let id = ImageId::new();
        assert_eq!(ImageId::parse(&id.to_string()), Some(id));
        assert_eq!(ImageId::parse(&id.to_string().to_uppercase()), None);
        assert_eq!(ImageId::parse(&id.to_string().replace('-', "")), None);
        assert_eq!(ImageId::parse(&format!("{{{id}}}")), None);
    }

    #[test]
    fn user_ids_keep_to_their_alphabet() {
        for good in ["a", "alice", "bob.smith_1-2@example.org", &"x".repeat(64)] {
            assert!(UserId::parse(good).is_some(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
            assert!(UserId::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn random_keys_differ_and_read_back() {
        let keys: HashSet<BlobKey> = (0..1000).map(|_| BlobKey::random()).collect();
        assert_eq!(keys.len(), 1000);
        for key in keys {
            assert_eq!(BlobKey::parse(key.as_str()), Some(key));
        }
    }

    #[test]
    fn what_is_made_in_one_way_has_one_name() {
        let name = VariantName::of("width=1");
        assert_eq!(name, VariantName::of("width=1"));
        assert_ne!(name, VariantName::of("width=2"));
        assert_eq!(VariantName::parse(name.as_str()), Some(name.clone()));
        for bad in ["", &name.as_str()[1..], &format!("{name}0"), &name.as_str().replace(|_| true, "G")] {
            assert_eq!(VariantName::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn every_bit_of_a_key_varies() {
        let (mut ones, mut zeros) = ([0u8; 40], [0u8; 40]);
        for _ in 0..200 {
            for (i, c) in BlobKey::random().as_str().chars().enumerate() {
                let nibble = u8::try_from(c.to_digit(16).unwrap()).unwrap();
                ones[i] |= nibble;
                zeros[i] |= !nibble & 15;
            }
        }
        assert_eq!((ones, zeros), ([15; 40], [15; 40]));
    }

    #[test]
    fn parse_takes_nothing_else() {
        let good = "0123456789abcdef0123456789abcdef01234567";
        assert!(BlobKey::parse(good).is_some());
        for bad in ["", &good[1..], &format!("{good}0"), &good.to_uppercase(), &good.replace('0', "/")] {
            assert_eq!(BlobKey::parse(bad), None, "{bad:?}");
        }
    }
}
