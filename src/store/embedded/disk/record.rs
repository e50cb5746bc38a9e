//! The form of an object's file: the body, then a record of what it is.
//!
//! ```text
//! body │ record as JSON │ its length, 4 bytes big-endian │ magic, 8 bytes
//! ```
//! The record comes last because what it says (the digest, in time the length)
//! is known only once the body has gone by; so a file is written in one pass
//! without knowing its length beforehand. As a bonus the file starts with the
//! picture, and an image viewer opens it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
};

use serde::{Deserialize, Serialize};

/// Ends every file of this version; a file without it is not ours, or torn.
const MAGIC: &[u8; 8] = b"pinhole1";
/// Bytes after the record: its length and the magic.
const FOOTER_BYTES: usize = 4 + MAGIC.len();
/// The longest record. A key has at most 1 KiB, headers at most a few; JSON
/// escapes a byte with six at worst.
const MAX_RECORD_BYTES: u32 = 64 * 1024;

/// What a client says about an object, and reads back with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attributes {
    pub(crate) content_type: Option<String>,
    pub(crate) cache_control: Option<String>,
    /// `x-amz-meta-…`, without that prefix.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// All that is known about an object besides its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) key: String,
    #[serde(flatten)]
    pub(crate) attributes: Attributes,
    /// The body's MD5 in lowercase hex, as S3 defines the `ETag` of a plain
    /// upload; without quotes.
    pub(crate) etag: String,
    /// The body's length in bytes.
    pub(crate) size: u64,
    /// When the object was complete: microseconds since 1970.
    pub(crate) modified_micros: u64,
}

/// Appends `record` to a file that holds the body.
pub(super) fn append(file: &mut impl Write, record: &Record) -> io::Result<()> {
    let json = serde_json::to_vec(record)?;
    let length = u32::try_from(json.len())
        .ok()
        .filter(|&n| n <= MAX_RECORD_BYTES)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the record is too long"))?;
    file.write_all(&json)?;
    file.write_all(&length.to_be_bytes())?;
    file.write_all(MAGIC)
}

/// Reads the record of an object's file and leaves the file at the body's start.
/// A file that is not whole is [`io::ErrorKind::InvalidData`].
pub(super) fn read(file: &mut File) -> io::Result<Record> {
    let torn = || io::Error::new(io::ErrorKind::InvalidData, "not a whole object file");
    let file_length = file.metadata()?.len();
    let body_and_json = file_length.checked_sub(FOOTER_BYTES as u64).ok_or_else(torn)?;
    file.seek(SeekFrom::Start(body_and_json))?;
    let mut footer = [0; FOOTER_BYTES];
    file.read_exact(&mut footer)?;
    let [a, b, c, d, magic @ ..] = footer;
    let length = u32::from_be_bytes([a, b, c, d]);
    if magic != *MAGIC || length > MAX_RECORD_BYTES {
        return Err(torn());
    }
    let size = body_and_json.checked_sub(u64::from(length)).ok_or_else(torn)?;
    file.seek(SeekFrom::Start(size))?;
    let mut json = vec![0; length as usize];
    file.read_exact(&mut json)?;
    let record: Record = serde_json::from_slice(&json).map_err(|_| torn())?;
    if record.size != size {
        return Err(torn());
    }
    file.rewind()?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(body: &[u8], text: &str) -> Record {
        Record {
            key: text.to_owned(),
            attributes: Attributes {
                content_type: Some("image/png".into()),
                cache_control: None,
                metadata: BTreeMap::from([("name".into(), text.to_owned())]),
            },
            etag: "e".repeat(32),
            size: body.len() as u64,
            modified_micros: 1,
        }
    }

    fn written(body: &[u8], record: &Record) -> Vec<u8> {
        let mut bytes = body.to_vec();
        append(&mut bytes, record).unwrap();
        bytes
    }

    fn read_bytes(bytes: &[u8]) -> io::Result<Record> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let record = read(&mut file)?;
        assert_eq!(file.stream_position().unwrap(), 0);
        Ok(record)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn reads_what_was_written(body: Vec<u8>, text: String) {
            let record = record(&body, &text);
            prop_assert_eq!(read_bytes(&written(&body, &record)).unwrap(), record);
        }
    }

    #[test]
    fn every_torn_file_is_recognised() {
        let whole = written(b"body", &record(b"body", "key"));
        assert!(read_bytes(&whole).is_ok());
        for end in 0..whole.len() {
            let error = read_bytes(&whole[..end]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{end}");
        }
        let mut other_version = whole.clone();
        *other_version.last_mut().unwrap() = b'2';
        let error = read_bytes(&other_version).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        // A byte lost from the front leaves a footer that no longer fits.
        let error = read_bytes(&whole[1..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_record_is_bounded() {
        let long = record(b"", &"k".repeat(MAX_RECORD_BYTES as usize));
        assert!(append(&mut Vec::new(), &long).is_err());
    }
}
