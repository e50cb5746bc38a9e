//! A folder's files: those that are not hidden, in the order of their names. Symbolic links are not followed, so that
//! nothing comes in that does not lie in the folder.

use std::{
    fs::{self, DirEntry, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use tokio::io::AsyncReadExt as _;

use super::file::{File, Finds, Found, Place, Read, ReadError, Reading, SourceError};

/// How much of a file is read at once, in bytes.
const PIECE: usize = 64 << 10;

/// A folder that is brought in.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Without links or dots, so that one folder has one name.
    root: PathBuf,
    name: String,
    /// What is passed over in it.
    without: Vec<PathBuf>,
}

impl Folder {
    /// The folder at a path, without what lies at those other paths.
    pub fn open(path: &Path, without: &[PathBuf]) -> Result<Self, SourceError> {
        let failed = |error| SourceError::Folder(path.to_owned(), error);
        let root = path.canonicalize().map_err(failed)?;
        if !root.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        let without = without.iter().filter_map(|path| without_links(path)).collect();
        let name =
            root.to_str().ok_or_else(|| failed(io::Error::other("its name must be UTF-8")))?.to_owned();
        Ok(Self { root, name, without })
    }

    /// What the ledger calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it lies in this other folder, or is it.
    pub fn lies_in(&self, other: &Path) -> bool {
        other.canonicalize().is_ok_and(|other| self.root.starts_with(other))
    }

    /// Walks it; blocking.
    pub(super) fn walk(&self, found: &Finds) {
        // The last of each folder first, since it is taken from the end.
        let mut left = match sorted(&self.root) {
            Ok(entries) => entries,
            Err(error) => {
                let _ = found.blocking_send(Err(SourceError::Folder(self.root.clone(), error)));
                return;
            }
        };
        while let Some(entry) = left.pop() {
            let (path, below) = (entry.path(), self.below(&entry.path()));
            let seen = match self.look(&entry) {
                Ok(Seen::Folder) => match sorted(&path) {
                    Ok(entries) => {
                        left.extend(entries);
                        continue;
                    }
                    Err(error) => refused(below, &error),
                },
                Ok(Seen::File(metadata)) => match path.to_str() {
                    Some(_) => Found::File(file(path, below, &metadata)),
                    None => {
                        Found::Refused { path: below, why: "its name is not UTF-8; rename it".to_owned() }
                    }
                },
                Ok(Seen::Nothing) => Found::Passed,
                Err(error) => refused(below, &error),
            };
            if found.blocking_send(Ok(seen)).is_err() {
                return;
            }
        }
    }

    fn look(&self, entry: &DirEntry) -> io::Result<Seen> {
        let (kind, path) = (entry.file_type()?, entry.path());
        if entry.file_name().as_encoded_bytes().starts_with(b".") || self.without.contains(&path) {
            return Ok(Seen::Nothing);
        }
        Ok(match () {
            () if kind.is_dir() => Seen::Folder,
            () if kind.is_file() => Seen::File(entry.metadata()?),
            () => Seen::Nothing,
        })
    }

    fn below(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}

enum Seen {
    Folder,
    File(Metadata),
    /// Hidden, a link, or no file.
    Nothing,
}

fn refused(path: String, error: &io::Error) -> Found {
    Found::Refused { path, why: format!("it cannot be read: {error}") }
}

fn file(place: PathBuf, path: String, metadata: &Metadata) -> File {
    let place = Place::Path(place, identity_of(metadata));
    File { path, bytes: metadata.len(), version: version_of(metadata), place }
}

/// Reads a file of a folder, if it is still the one that the walk saw.
pub(super) async fn read(
    path: &Path,
    seen: (u64, u64),
    version: &str,
    mut reading: Reading,
) -> Result<Read, ReadError> {
    let refused = |error: io::Error| ReadError::Refused(format!("it cannot be read: {error}"));
    // Whoever may write to the folder may have put a link there meanwhile, or a pipe that nobody writes to.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut open =
        tokio::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).await.map_err(refused)?;
    if identity_of(&open.metadata().await.map_err(refused)?) != seen {
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
    if now != version {
        return Err(ReadError::Refused("it was written to while it was read".to_owned()));
    }
    reading.finish().await
}

/// A path without links or dots; what lies there may not be there yet.
fn without_links(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Some(folder.unwrap_or(Path::new(".")).canonicalize().ok()?.join(path.file_name()?))
    })
}

/// A folder's entries, the last first.
fn sorted(folder: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
    Ok(entries)
}

/// What tells whether a file is still the same: its length, and when it was last written, in nanoseconds.
fn version_of(metadata: &Metadata) -> String {
    format!("{} {}.{:09}", metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

/// What tells a file from every other one that there is: device and inode.
fn identity_of(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
