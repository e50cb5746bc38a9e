//! A file that lies somewhere else: what a walk finds, and what comes of reading it.

use std::{io, path::PathBuf};

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::mpsc::Sender;

use crate::{
    ingest::{Spool, Spooled, Taken},
    store::{Listed, StoreError},
};

/// How many of a file's first bytes tell what it is meant to be.
const HEAD: usize = 1024;

/// A file that was found.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path below the source, with slashes.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// What tells whether it is still the same.
    pub version: String,
    /// Where it is read.
    pub(super) place: Place,
}

/// Where a file is read.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Where it lies, and what the walk saw there: device and inode.
    Path(PathBuf, (u64, u64)),
    /// As the bucket listed it.
    Object(Listed),
}

/// What the walk came upon.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// A file, to be brought in.
    File(File),
    /// Something that cannot be, and why.
    Refused {
        /// Its path below the source.
        path: String,
        /// Why.
        why: String,
    },
    /// A hidden file or folder, or a link, which are passed over.
    Passed,
}

/// Whoever took what was found may be gone, which is no error of the walk's.
pub(super) type Finds = Sender<Result<Found, SourceError>>;

/// Why nothing more can be read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The folder is not there, or cannot be read.
    #[error("{0}: {1}")]
    Folder(PathBuf, io::Error),
    /// The bucket does not answer, or not this program.
    #[error("{0}: {1}")]
    Bucket(String, StoreError),
    /// There is no room for the file on its way in.
    #[error("temporary file: {0}")]
    Spool(io::Error),
}

/// A file that was read whole.
#[derive(Debug)]
pub struct Read {
    /// Its bytes.
    pub spooled: Spooled,
    /// The first of them.
    pub head: Vec<u8>,
}

/// What came of reading a file.
#[derive(Debug)]
pub enum ReadError {
    /// This one cannot be had, and others may be.
    Refused(String),
    /// No other could be.
    Stop(SourceError),
}

impl File {
    /// What it is called, without its folders.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// A file on its way into a temporary one.
pub(super) struct Reading {
    spool: Spool,
    head: Vec<u8>,
    max_bytes: u64,
}

impl Reading {
    /// With room for so many bytes.
    pub(super) async fn start(max_bytes: u64) -> Result<Self, ReadError> {
        let spool = Spool::start(max_bytes).await.map_err(spool_failed)?;
        Ok(Self { spool, head: Vec::new(), max_bytes })
    }

    pub(super) async fn take(&mut self, bytes: &Bytes) -> Result<(), ReadError> {
        let room = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        match self.spool.write(bytes).await.map_err(spool_failed)? {
            Taken::Yes => Ok(()),
            Taken::TooLarge => Err(ReadError::Refused(too_large(self.max_bytes))),
        }
    }

    pub(super) async fn finish(self) -> Result<Read, ReadError> {
        Ok(Read { spooled: self.spool.finish().await.map_err(spool_failed)?, head: self.head })
    }
}

/// What to say of a file with more bytes than this.
pub(super) fn too_large(max_bytes: u64) -> String {
    format!("it has more than upload.max_bytes = {max_bytes} bytes")
}

fn spool_failed(error: io::Error) -> ReadError {
    ReadError::Stop(SourceError::Spool(error))
}
