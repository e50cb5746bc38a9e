//! What a client declared about a body, held against what arrived.

use base64::{Engine, engine::general_purpose::STANDARD};
use s3s::{
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256},
    dto::Checksum,
};

use super::DiskError;
use crate::id::hex;

/// A client's promises about a body. The ones in `x-amz-content-sha256` and in
/// chunk signatures are checked on the way here, by the signature layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Declared {
    /// `Content-Length` in bytes, or its decoded counterpart.
    pub(crate) length: u64,
    /// `Content-MD5` in base64 (RFC 1864).
    pub(crate) md5: Option<String>,
    /// `x-amz-checksum-…`, the values in base64.
    pub(crate) checksums: Vec<(Algorithm, Promise)>,
}

/// Where the value of a checksum stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Promise {
    /// In the request's head: this base64.
    Value(String),
    /// In the trailer that follows the body.
    Trailer,
}

/// The checksums of S3.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The header, or trailer, that carries it.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    fn start(self, hasher: &mut ChecksumHasher) {
        match self {
            Self::Crc32 => hasher.crc32 = Some(Crc32::new()),
            Self::Crc32c => hasher.crc32c = Some(Crc32c::new()),
            Self::Crc64Nvme => hasher.crc64nvme = Some(Crc64Nvme::new()),
            Self::Sha1 => hasher.sha1 = Some(Sha1::new()),
            Self::Sha256 => hasher.sha256 = Some(Sha256::new()),
        }
    }

    fn found(self, sums: &Checksum) -> Option<&str> {
        match self {
            Self::Crc32 => sums.checksum_crc32.as_deref(),
            Self::Crc32c => sums.checksum_crc32c.as_deref(),
            Self::Crc64Nvme => sums.checksum_crc64nvme.as_deref(),
            Self::Sha1 => sums.checksum_sha1.as_deref(),
            Self::Sha256 => sums.checksum_sha256.as_deref(),
        }
    }
}

/// Measures a body as it goes by.
pub(super) struct Meter {
    declared: Declared,
    length: u64,
    md5: Md5,
    checksums: ChecksumHasher,
}

impl Meter {
    pub(super) fn new(declared: Declared) -> Self {
        let mut checksums = ChecksumHasher::default();
        for (algorithm, _) in &declared.checksums {
            algorithm.start(&mut checksums);
        }
        Self { declared, length: 0, md5: Md5::new(), checksums }
    }

    /// Takes the next piece, unless it is more than was declared.
    pub(super) fn update(&mut self, chunk: &[u8]) -> Result<(), DiskError> {
        self.length += chunk.len() as u64;
        if self.length > self.declared.length {
            return Err(DiskError::BodyLength);
        }
        self.md5.update(chunk);
        self.checksums.update(chunk);
        Ok(())
    }

    /// The body's length and MD5 in hex, once every promise has proved true.
    /// `trailer` looks up a trailing header.
    pub(super) fn finish(self, trailer: impl Fn(&str) -> Option<String>) -> Result<(u64, String), DiskError> {
        if self.length != self.declared.length {
            return Err(DiskError::BodyLength);
        }
        let md5 = self.md5.finalize();
        if (self.declared.md5).is_some_and(|promised| promised != STANDARD.encode(md5)) {
            return Err(DiskError::Digest("Content-MD5"));
        }
        let sums = self.checksums.finalize();
        for (algorithm, promise) in self.declared.checksums {
            let promised = match promise {
                Promise::Value(value) => Some(value),
                Promise::Trailer => trailer(algorithm.header()),
            };
            // A trailer that was announced and never came proves nothing.
            if promised.is_none() || promised.as_deref() != algorithm.found(&sums) {
                return Err(DiskError::Digest(algorithm.header()));
            }
        }
        Ok((self.length, hex(&md5)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of every algorithm for `123456789`, in base64.
    const NINE: [(Algorithm, &str); 5] = [
        (Algorithm::Crc32, "y/Q5Jg=="),
        (Algorithm::Crc32c, "4waSgw=="),
        (Algorithm::Crc64Nvme, "rosUhgp5mIg="),
        (Algorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE="),
        (Algorithm::Sha256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
    ];

    fn measure(declared: Declared, trailer: Option<&str>) -> Result<(u64, String), DiskError> {
        let mut meter = Meter::new(declared);
        meter.update(b"1234")?;
        meter.update(b"56789")?;
        meter.finish(|_| trailer.map(str::to_owned))
    }

    fn checksum(algorithm: Algorithm, promise: Promise) -> Declared {
        Declared { length: 9, md5: None, checksums: vec![(algorithm, promise)] }
    }

    #[test]
    fn true_promises_pass_and_false_ones_do_not() {
        for (algorithm, value) in NINE {
            let head = |v: &str| checksum(algorithm, Promise::Value(v.to_owned()));
            let (length, md5) = measure(head(value), None).unwrap();
            assert_eq!(length, 9);
            assert_eq!(md5, "25f9e794323b453885f5181f1b624d0b");
            assert!(measure(head("AAAA"), None).is_err(), "{algorithm:?}");

            let trailing = || checksum(algorithm, Promise::Trailer);
            assert!(measure(trailing(), Some(value)).is_ok(), "{algorithm:?}");
            assert!(measure(trailing(), Some("AAAA")).is_err(), "{algorithm:?}");
            assert!(measure(trailing(), None).is_err(), "{algorithm:?}");
        }
    }

    #[test]
    fn md5_and_length_are_held_to() {
        let declared =
            |length, md5: Option<&str>| Declared { length, md5: md5.map(str::to_owned), checksums: vec![] };
        assert!(measure(declared(9, Some("JfnnlDI7RTiF9RgfG2JNCw==")), None).is_ok());
        let wrong = measure(declared(9, Some("AAAAAAAAAAAAAAAAAAAAAA==")), None);
        assert!(matches!(wrong, Err(DiskError::Digest("Content-MD5"))));
        for length in [8, 10] {
            let wrong = measure(declared(length, None), None);
            assert!(matches!(wrong, Err(DiskError::BodyLength)), "{length}");
        }
    }
}
