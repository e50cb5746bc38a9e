//! An upload's bytes on their way in: to a temporary file, counted and hashed as they come.

use std::io::{Read as _, Seek as _, SeekFrom};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use crate::id::hex;

/// A file being received. It has no name, so nothing is left of it whatever happens.
#[derive(Debug)]
pub struct Spool {
    file: tokio::fs::File,
    hash: Sha256,
    bytes: u64,
    max_bytes: u64,
}

/// A file received whole.
#[derive(Debug)]
pub struct Spooled {
    file: std::fs::File,
    sha256: [u8; 32],
    bytes: u64,
    /// How many of them were read back piece by piece.
    read: u64,
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was written.
    Yes,
    /// It would exceed the limit; the upload is over.
    TooLarge,
}

impl Spool {
    /// Starts receiving a file of at most `max_bytes`.
    pub async fn start(max_bytes: u64) -> std::io::Result<Self> {
        let file = tokio::task::spawn_blocking(tempfile::tempfile).await??;
        Ok(Self { file: tokio::fs::File::from_std(file), hash: Sha256::new(), bytes: 0, max_bytes })
    }

    /// Takes the next bytes in.
    pub async fn write(&mut self, chunk: &Bytes) -> std::io::Result<Taken> {
        self.bytes += chunk.len() as u64;
        if self.bytes > self.max_bytes {
            return Ok(Taken::TooLarge);
        }
        self.hash.update(chunk);
        self.file.write_all(chunk).await?;
        Ok(Taken::Yes)
    }

    /// How many bytes have come.
    pub fn received(&self) -> u64 {
        self.bytes
    }

    /// The file is complete.
    pub async fn finish(mut self) -> std::io::Result<Spooled> {
        self.file.flush().await?;
        let file = self.file.into_std().await;
        Ok(Spooled { file, sha256: self.hash.finalize().into(), bytes: self.bytes, read: 0 })
    }
}

impl Spooled {
    /// Whether nothing came.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// SHA-256 of the file, in hexadecimal.
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }

    /// Reads the next piece back, of at most `max_bytes`; empty at the end.
    pub async fn next_piece(mut self, max_bytes: u64) -> std::io::Result<(Self, Bytes)> {
        let length = max_bytes.min(self.bytes - self.read);
        // Not by the thread that reads: an allocator keeps for each thread what was freed, and those are many.
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        let reading = move || {
            self.file.seek(SeekFrom::Start(self.read))?;
            (&self.file).take(length).read_to_end(&mut bytes)?;
            self.read += length;
            Ok((self, bytes.into()))
        };
        tokio::task::spawn_blocking(reading).await?
    }

    /// Reads the file back, blocking.
    pub fn into_bytes(mut self) -> std::io::Result<Bytes> {
        self.file.rewind()?;
        let mut bytes = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or_default());
        self.file.take(self.bytes).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}
