//! What is brought in: the files of a folder, or the objects of somebody else's bucket, as they lie there.

use std::{
    fs::Metadata,
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use rustix::fs::OFlags;
use thiserror::Error;
use tokio::{
    io::AsyncReadExt as _,
    sync::mpsc::{self, Receiver, Sender},
};

use super::{
    bucket,
    folder::{self, version_of},
};
use crate::{
    ingest::{Spool, Spooled, Taken},
    store::{Listed, Store, StoreError},
};

/// How many files are found ahead of those that are taken in.
const FOUND_AHEAD: usize = 1000;
/// How much of a folder's file is read at once, in bytes.
const PIECE: usize = 64 << 10;
/// How many of a file's first bytes tell what it is meant to be.
const HEAD: usize = 1024;

/// Where files are brought in from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A folder on this machine.
    Folder(folder::Folder),
    /// A bucket.
    Bucket(bucket::Prefix),
}

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
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    /// Where it lies, and what the walk saw there: device and inode.
    Path(PathBuf, (u64, u64)),
    Object(Listed),
}

/// What the walk came upon.
#[derive(Clone, Debug)]
pub enum Found {
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
    /// A file of a folder.
    pub(super) fn at(place: PathBuf, path: String, metadata: &Metadata) -> Self {
        let (bytes, version) = (metadata.len(), version_of(metadata));
        Self { path, bytes, version, place: Place::Path(place, folder::identity_of(metadata)) }
    }

    /// An object of a bucket.
    pub(super) fn object(listed: Listed, path: String) -> Self {
        let Listed { bytes, modified_secs, etag, .. } = &listed;
        let version =
            if etag.is_empty() { format!("{bytes} {modified_secs}") } else { format!("{bytes} {etag}") };
        Self { path, bytes: listed.bytes, version, place: Place::Object(listed) }
    }

    /// What it is called, without its folders.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

impl Source {
    /// What the ledger calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Folder(folder) => folder.name(),
            Self::Bucket(prefix) => prefix.name(),
        }
    }

    /// Walks it, in an order that is the same as long as it is. The walk ends when nobody takes what it finds.
    pub fn walk(&self) -> Receiver<Result<Found, SourceError>> {
        let (found, finding) = mpsc::channel(FOUND_AHEAD);
        match self.clone() {
            Self::Folder(folder) => drop(tokio::task::spawn_blocking(move || folder.walk(&found))),
            Self::Bucket(prefix) => drop(tokio::spawn(async move { prefix.walk(&found).await })),
        }
        finding
    }

    /// Reads a file to a temporary one, with room for so many bytes.
    pub async fn read(&self, file: &File, max_bytes: u64) -> Result<Read, ReadError> {
        let spool = Spool::start(max_bytes).await.map_err(spool_failed)?;
        let reading = Reading { spool, head: Vec::new(), max_bytes };
        match (&file.place, self) {
            (Place::Path(path, seen), _) => read_path(path, *seen, file, reading).await,
            (Place::Object(listed), Self::Bucket(prefix)) => {
                read_object(prefix.store(), listed, self.name(), reading).await
            }
            (Place::Object(_), Self::Folder(_)) => Err(ReadError::Refused("it lies elsewhere".to_owned())),
        }
    }
}

struct Reading {
    spool: Spool,
    head: Vec<u8>,
    max_bytes: u64,
}

impl Reading {
    async fn take(&mut self, bytes: &Bytes) -> Result<(), ReadError> {
        let room = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        match self.spool.write(bytes).await.map_err(spool_failed)? {
            Taken::Yes => Ok(()),
            Taken::TooLarge => Err(ReadError::Refused(too_large(self.max_bytes))),
        }
    }

    async fn finish(self) -> Result<Read, ReadError> {
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

async fn read_path(
    path: &Path,
    seen: (u64, u64),
    file: &File,
    mut reading: Reading,
) -> Result<Read, ReadError> {
    let refused = |error: io::Error| ReadError::Refused(format!("it cannot be read: {error}"));
    // Whoever may write to the folder may have put a link there meanwhile, or a pipe that nobody writes to.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut open =
        tokio::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).await.map_err(refused)?;
    if folder::identity_of(&open.metadata().await.map_err(refused)?) != seen {
        return Err(ReadError::Refused("another file has taken its place".to_owned()));
    }
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        if open.read_buf(&mut piece).await.map_err(refused)? == 0 {
            break;
        }
        reading.take(&piece.into()).await?;
    }
    let now = version_of(&open.metadata().await.map_err(refused)?);
    if now != file.version {
        return Err(ReadError::Refused("it was written to while it was read".to_owned()));
    }
    reading.finish().await
}

async fn read_object(
    store: &Store,
    listed: &Listed,
    source: &str,
    mut reading: Reading,
) -> Result<Read, ReadError> {
    let failed = |error: StoreError| match error {
        StoreError::Unavailable(_)
        | StoreError::Credentials(_)
        | StoreError::NoBucket
        | StoreError::Region => ReadError::Stop(SourceError::Bucket(source.to_owned(), error)),
        StoreError::Changed { .. } => ReadError::Refused("it was written to while it was read".to_owned()),
        StoreError::Missing { .. } => ReadError::Refused("it was deleted meanwhile".to_owned()),
        error => ReadError::Refused(format!("it cannot be read: {error}")),
    };
    let mut body = store.stream_listed(listed).await.map_err(failed)?;
    while let Some(frame) = body.frame().await.transpose().map_err(failed)? {
        if let Ok(bytes) = frame.into_data() {
            reading.take(&bytes).await?;
        }
    }
    reading.finish().await
}

/// Whoever took what was found may be gone, which is no error of the walk's.
pub(super) type Finds = Sender<Result<Found, SourceError>>;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[tokio::test]
    async fn what_was_put_in_a_files_place_is_not_read() {
        let (ours, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["linked.jpg", "swapped.jpg", "below/a.jpg", "left.jpg"] {
            for folder in [&ours, &others] {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, b"twelve bytes").unwrap();
            }
        }
        let source = Source::Folder(folder::Folder::open(ours.path(), &[]).unwrap());
        let mut files = Vec::new();
        let mut walk = source.walk();
        while let Some(found) = walk.recv().await {
            let Found::File(file) = found.unwrap() else { panic!("a file") };
            files.push(file);
        }
        let (at, there) = (|name| ours.path().join(name), |name| others.path().join(name));
        fs::remove_file(at("linked.jpg")).unwrap();
        symlink(there("linked.jpg"), at("linked.jpg")).unwrap();
        fs::rename(there("swapped.jpg"), at("swapped.jpg")).unwrap();
        fs::rename(at("below"), at("was-below")).unwrap();
        symlink(there("below"), at("below")).unwrap();

        assert_eq!(files.len(), 4);
        for file in files {
            let read = source.read(&file, 1000).await;
            assert_eq!(read.is_ok(), file.path == "left.jpg", "{}", file.path);
        }
    }
}
