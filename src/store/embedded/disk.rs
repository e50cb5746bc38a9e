//! The embedded server's data folder: one file per object, whole or absent.
//!
//! ```text
//! lock               held while a process uses the folder
//! tmp/               uploads under way; emptied at start
//! buckets/NAME/…     the objects, named by `path`, formed by `record`
//! cors/NAME          the bucket's CORS rules
//! ```
//! The files are the only state: nothing has to be repaired after a crash, and
//! a copy of the folder is a backup. Everything here blocks.

mod cors;
mod integrity;
mod path;
mod record;
#[cfg(test)]
mod tests;
mod upload;

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

pub(crate) use self::{
    cors::CorsRule,
    integrity::{Algorithm, Declared, Promise},
    record::{Attributes, Record},
    upload::{Overwrite, Upload},
};
use self::{
    integrity::Meter,
    path::{bucket_folder, object_name},
};

/// The data folder cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The name breaks S3's rules for buckets.
    #[error("not a bucket name")]
    BucketName,
    /// There is no such bucket.
    #[error("no such bucket")]
    NoBucket,
    /// There is no such object.
    #[error("no such object")]
    NoObject,
    /// A key has 1 to 1024 bytes.
    #[error("a key has 1 to 1024 bytes")]
    KeyLength,
    /// There is an object already, and it was not to be replaced.
    #[error("the object exists")]
    Exists,
    /// The body is shorter or longer than declared.
    #[error("the body does not have the declared length")]
    BodyLength,
    /// The body is not the one that this header promised.
    #[error("the body does not match {0}")]
    Digest(&'static str),
    /// Another process uses the folder.
    #[error("another process uses the data folder {0}; stop it or choose another folder")]
    InUse(PathBuf),
    /// The file under this object's name is torn or holds another object.
    #[error("damaged object file {0}")]
    Damaged(PathBuf),
    /// The file system failed.
    #[error("data folder: {0}")]
    Io(#[from] io::Error),
}

/// An opened data folder, locked against other processes.
#[derive(Debug)]
pub(crate) struct Disk {
    buckets: PathBuf,
    cors: PathBuf,
    tmp: PathBuf,
    /// The lock lasts as long as this handle is open.
    _lock: File,
}

/// An object opened for reading; deleting or replacing it does not disturb it.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) record: Record,
    /// Positioned at the body's start; more than the body follows.
    pub(crate) file: File,
}

/// One page of a listing.
#[derive(Debug)]
pub(crate) struct Page {
    /// In the order of their keys' UTF-8 bytes.
    pub(crate) records: Vec<Record>,
    /// Whether more follow.
    pub(crate) more: bool,
}

impl Disk {
    /// Opens the folder `root`, creating it if need be, and removes what
    /// interrupted uploads left behind.
    pub(crate) fn open(root: &Path) -> Result<Self, DiskError> {
        let [buckets, cors, tmp] = ["buckets", "cors", "tmp"].map(|name| root.join(name));
        for folder in [&buckets, &cors] {
            fs::create_dir_all(folder)?;
        }
        let lock = File::create(root.join("lock"))?;
        lock.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => DiskError::InUse(root.to_owned()),
            TryLockError::Error(e) => DiskError::Io(e),
        })?;
        match fs::remove_dir_all(&tmp) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
            _ => fs::create_dir(&tmp)?,
        }
        sync_folder(root)?;
        Ok(Self { buckets, cors, tmp, _lock: lock })
    }

    /// Creates a bucket; says whether it is new.
    pub(crate) fn create_bucket(&self, bucket: &str) -> Result<bool, DiskError> {
        match fs::create_dir(bucket_folder(&self.buckets, bucket)?) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            created => created?,
        }
        sync_folder(&self.buckets)?;
        Ok(true)
    }

    /// The folder of a bucket that exists.
    fn folder(&self, bucket: &str) -> Result<PathBuf, DiskError> {
        let folder = bucket_folder(&self.buckets, bucket)?;
        if !folder.is_dir() {
            return Err(DiskError::NoBucket);
        }
        Ok(folder)
    }

    /// Fails unless the bucket exists.
    pub(crate) fn check_bucket(&self, bucket: &str) -> Result<(), DiskError> {
        self.folder(bucket).map(drop)
    }

    /// Begins an object whose body will be what `declared` says.
    pub(crate) fn begin(
        &self,
        bucket: &str,
        key: &str,
        attributes: Attributes,
        declared: Declared,
    ) -> Result<Upload, DiskError> {
        let (folder, name) = (self.folder(bucket)?, object_name(key)?);
        let file = NamedTempFile::new_in(&self.tmp)?;
        Ok(Upload { file, folder, name, key: key.to_owned(), attributes, meter: Meter::new(declared) })
    }

    /// Opens an object for reading.
    pub(crate) fn open_object(&self, bucket: &str, key: &str) -> Result<Stored, DiskError> {
        let path = self.folder(bucket)?.join(object_name(key)?);
        let stored = open_file(&path)?.ok_or(DiskError::NoObject)?;
        if stored.record.key != key {
            return Err(DiskError::Damaged(path));
        }
        Ok(stored)
    }

    /// Deletes an object, durably; that it is not there is fine.
    pub(crate) fn remove(&self, bucket: &str, key: &str) -> Result<(), DiskError> {
        let folder = self.folder(bucket)?;
        match fs::remove_file(folder.join(object_name(key)?)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed?,
        }
        sync_folder(&folder)?;
        Ok(())
    }

    /// The first `limit` objects whose keys start with `prefix` and come after
    /// `after`. Reads every record of the bucket but keeps no more than a page
    /// of them: an index would be quicker, and one more thing that can be wrong.
    pub(crate) fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Page, DiskError> {
        let mut found = BTreeMap::new();
        let mut more = false;
        for entry in fs::read_dir(self.folder(bucket)?)? {
            let path = entry?.path();
            let record = match open_file(&path) {
                Ok(Some(stored)) => stored.record,
                // Deleted since the folder was read.
                Ok(None) => continue,
                Err(DiskError::Damaged(path)) => {
                    tracing::warn!(path = %path.display(), "left out of a listing: damaged");
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !record.key.starts_with(prefix) || *record.key <= *after {
                continue;
            }
            found.insert(record.key.clone(), record);
            if found.len() > limit {
                found.pop_last();
                more = true;
            }
        }
        let records = found.into_values().collect();
        Ok(Page { records, more })
    }
}

/// Opens an object's file; `None` if there is none.
fn open_file(path: &Path) -> Result<Option<Stored>, DiskError> {
    let mut file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match record::read(&mut file) {
        Ok(record) => Ok(Some(Stored { record, file })),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(DiskError::Damaged(path.to_owned())),
        Err(e) => Err(e.into()),
    }
}

/// Makes the names in `folder` durable: without it a finished rename, create or
/// delete may be undone by a power cut (fsync(2)).
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
