//! Where an object lies: the law that maps a bucket and a key to a file.
//!
//! **The law.** An object's file is `<bucket folder>/<SHA-256 of the key, in
//! lowercase hex>`, and the key itself stands in the file. Therefore:
//! - no key escapes its bucket: a name is always 64 characters of `0-9a-f`,
//!   whatever `..`, `/` or NUL the key holds;
//! - keys collide only if SHA-256 does: `a`, `A`, `a/` and `a/b` live side by
//!   side, on a case-insensitive disk too;
//! - the longest key that S3 knows (1024 bytes) fits any file system.

use std::path::{Path, PathBuf};

use s3s::path::check_bucket_name;
use sha2::{Digest, Sha256};

use super::DiskError;
use crate::id::hex;

/// The longest key in bytes.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
const MAX_KEY_BYTES: usize = 1024;

/// The folder of `bucket` inside `buckets`. The name rules of S3 allow neither
/// a separator nor `..` nor upper case.
pub(super) fn bucket_folder(buckets: &Path, bucket: &str) -> Result<PathBuf, DiskError> {
    if !check_bucket_name(bucket) {
        return Err(DiskError::BucketName);
    }
    Ok(buckets.join(bucket))
}

/// The file name of the object `key`.
pub(super) fn object_name(key: &str) -> Result<String, DiskError> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(DiskError::KeyLength);
    }
    Ok(hex(&Sha256::digest(key)))
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    /// Keys made of the pieces that break path mappings, and arbitrary ones.
    fn keys() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just(".."),
            Just("."),
            Just("/"),
            Just("\\"),
            Just("\0"),
            Just("a"),
            Just("A"),
            Just("%2e"),
            Just("ü"),
            Just("u\u{308}"),
            Just("C:"),
        ];
        let hostile = prop::collection::vec(piece, 1..12).prop_map(|p| p.concat());
        prop_oneof![hostile, "\\PC{1,200}"]
    }

    proptest! {
        #[test]
        fn stays_one_plain_component_inside(key in keys()) {
            let path = Path::new("/data/b").join(object_name(&key).unwrap());
            let parts: Vec<_> = path.strip_prefix("/data/b").unwrap().components().collect();
            prop_assert!(matches!(parts[..], [Component::Normal(_)]), "{parts:?}");
        }

        #[test]
        fn is_injective_even_where_case_is_ignored(a in keys(), b in keys()) {
            let (x, y) = (object_name(&a).unwrap(), object_name(&b).unwrap());
            prop_assert_eq!(a == b, x.eq_ignore_ascii_case(&y));
        }

        #[test]
        fn bucket_folders_stay_inside(name in keys()) {
            if let Ok(folder) = bucket_folder(Path::new("/data"), &name) {
                prop_assert_eq!(folder.parent(), Some(Path::new("/data")));
                prop_assert_eq!(folder.file_name().unwrap().to_str(), Some(&*name));
            }
        }
    }

    #[test]
    fn key_length_is_bounded() {
        assert!(object_name(&"k".repeat(1024)).is_ok());
        for bad in [String::new(), "k".repeat(1025)] {
            assert!(matches!(object_name(&bad), Err(DiskError::KeyLength)));
        }
        for bad in ["..", "ab", "a/b/c", "Abc", "/abc", ""] {
            let folder = bucket_folder(Path::new("/data"), bad);
            assert!(matches!(folder, Err(DiskError::BucketName)), "{bad}");
        }
    }
}
