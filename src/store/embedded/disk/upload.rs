//! An object being written: invisible until it is whole, checked and on the disk.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use tempfile::NamedTempFile;

use super::{Attributes, DiskError, Record, integrity::Meter, record::append, sync_folder};

/// A body on its way to the disk. Dropped unpublished, it leaves nothing.
pub(crate) struct Upload {
    /// A file under `tmp/`.
    pub(super) file: NamedTempFile,
    /// The folder it will be in, and its name there.
    pub(super) folder: PathBuf,
    pub(super) name: String,
    pub(super) key: String,
    pub(super) attributes: Attributes,
    pub(super) meter: Meter,
}

/// Whether an object that is already there may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overwrite {
    /// As S3 does it: the last writer wins.
    Allow,
    /// `If-None-Match: *`: the first writer wins, also among simultaneous ones.
    Refuse,
}

impl Upload {
    /// Appends a piece of the body.
    pub(crate) fn write(&mut self, chunk: &[u8]) -> Result<(), DiskError> {
        self.meter.update(chunk)?;
        self.file.write_all(chunk)?;
        Ok(())
    }

    /// Makes the object visible in one step, if the body is what was declared.
    /// Once this returns, the object survives a power cut; if it fails, an
    /// older object under the key stands as it was. (Should the last step, the
    /// folder's own sync, fail, the new one is visible but may not last.)
    pub(crate) fn publish(
        mut self,
        overwrite: Overwrite,
        trailer: impl Fn(&str) -> Option<String>,
    ) -> Result<Record, DiskError> {
        let (size, etag) = self.meter.finish(trailer)?;
        let record =
            Record { key: self.key, attributes: self.attributes, etag, size, modified_micros: now_micros() };
        append(&mut self.file, &record)?;
        // The bytes before the name: a rename may reach the disk first, and
        // after a power cut the name would point at nothing.
        self.file.as_file().sync_all()?;
        let target = self.folder.join(self.name);
        let placed = match overwrite {
            Overwrite::Allow => self.file.persist(target),
            Overwrite::Refuse => self.file.persist_noclobber(target),
        };
        placed.map_err(|e| match e.error.kind() {
            io::ErrorKind::AlreadyExists => DiskError::Exists,
            _ => DiskError::Io(e.error),
        })?;
        sync_folder(&self.folder)?;
        Ok(record)
    }
}

fn now_micros() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX)
}
