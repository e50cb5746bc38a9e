//! Objects that arrive in parts: kept apart from the objects until they are whole.
//!
//! ```text
//! uploads/BUCKET/ID/upload     what is to become of the parts
//! uploads/BUCKET/ID/00001 …    the parts, in the form of objects
//! ```
//! A folder appears here whole, by a rename, and leaves the same way. An upload
//! that nobody ends stays, over restarts too, until somebody aborts it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::PoisonError,
};

use s3s::crypto::{Checksum as _, Md5};
use serde::{Deserialize, Serialize};
use tempfile::{NamedTempFile, TempDir};
use uuid::Uuid;

use super::{
    Attributes, Declared, Disk, DiskError, Overwrite, Record, Stored, Upload, bucket_folder, object_name,
    open_file, sync_folder,
    upload::{Draft, Sealed, now_micros},
};
use crate::id::hex;

/// The file in an upload's folder that says what it is for.
const MANIFEST: &str = "upload";

/// Names an upload. Being a UUID it is a plain file name, and being of version 7
/// it sorts by the time it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UploadId(Uuid);

impl UploadId {
    /// The id that [`UploadId::text`] wrote; anything else names no upload.
    pub(crate) fn parse(text: &str) -> Result<Self, DiskError> {
        let id = Uuid::try_parse(text).map(Self).map_err(|_| DiskError::NoUpload)?;
        if id.text() == text { Ok(id) } else { Err(DiskError::NoUpload) }
    }

    pub(crate) fn text(self) -> String {
        self.0.simple().to_string()
    }
}

/// What an upload is to become.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    key: String,
    attributes: Attributes,
    initiated_micros: u64,
}

/// An upload that has not ended.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) key: String,
    pub(crate) id: UploadId,
    /// Microseconds since 1970.
    pub(crate) initiated_micros: u64,
}

/// A part that is to be in the object: its number and its `ETag`, without quotes.
pub(crate) type Chosen = (u16, String);

impl Disk {
    /// Begins an upload in parts.
    pub(crate) fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        attributes: Attributes,
    ) -> Result<UploadId, DiskError> {
        self.check_bucket(bucket)?;
        object_name(key)?;
        let uploads = bucket_folder(&self.uploads, bucket)?;
        fs::create_dir_all(&uploads)?;
        sync_folder(&self.uploads)?;

        let draft = TempDir::new_in(&self.tmp)?;
        let folder = draft.path().join("new");
        fs::create_dir(&folder)?;
        let mut manifest = fs::File::create(folder.join(MANIFEST))?;
        let said = Manifest { key: key.to_owned(), attributes, initiated_micros: now_micros() };
        manifest.write_all(&serde_json::to_vec(&said).map_err(io::Error::from)?)?;
        manifest.sync_all()?;
        sync_folder(&folder)?;
        let id = UploadId(Uuid::now_v7());
        fs::rename(folder, uploads.join(id.text()))?;
        sync_folder(&uploads)?;
        Ok(id)
    }

    /// Begins a part; published, it replaces an older one of its number.
    pub(crate) fn begin_part(
        &self,
        bucket: &str,
        key: &str,
        id: UploadId,
        number: u16,
        declared: Declared,
    ) -> Result<Upload, DiskError> {
        let (folder, _) = self.upload(bucket, key, id)?;
        let draft = Draft {
            file: NamedTempFile::new_in(&self.tmp)?,
            folder,
            name: part_name(number),
            key: key.to_owned(),
            attributes: Attributes::default(),
        };
        Ok(Upload::new(draft, declared))
    }

    /// Makes an object of parts, which all but the last must have `min_bytes`.
    /// The object appears in one step, and the upload ends after it: whoever is
    /// interrupted in between can do the same again.
    pub(crate) fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        id: UploadId,
        parts: &[Chosen],
        min_bytes: u64,
        overwrite: Overwrite,
    ) -> Result<Record, DiskError> {
        let (folder, manifest) = self.upload(bucket, key, id)?;
        let whole = self.assemble(bucket, &folder, manifest, parts, min_bytes)?;
        // Whoever aborts an upload must not see its object appear afterwards.
        let _one_end = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        if !folder.is_dir() {
            return Err(DiskError::NoUpload);
        }
        let record = whole.place(overwrite)?;
        if let Err(error) = self.discard(&folder) {
            // The object is there, which is what was asked for.
            tracing::warn!(%error, folder = %folder.display(), "a completed upload stays listed");
        }
        Ok(record)
    }

    /// Drops an upload and its parts in one step.
    pub(crate) fn abort_upload(&self, bucket: &str, key: &str, id: UploadId) -> Result<(), DiskError> {
        let _one_end = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        let (folder, _) = self.upload(bucket, key, id)?;
        self.discard(&folder)
    }

    /// The first `limit` uploads of keys that start with `prefix` which come
    /// after `after`, and whether more follow. Keeps no more than a page of them.
    pub(crate) fn list_uploads(
        &self,
        bucket: &str,
        prefix: &str,
        after: &(String, Option<UploadId>),
        limit: usize,
    ) -> Result<(Vec<Open>, bool), DiskError> {
        self.check_bucket(bucket)?;
        let (mut found, mut more) = (BTreeMap::new(), false);
        let entries = match fs::read_dir(bucket_folder(&self.uploads, bucket)?) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((vec![], false)),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let id = path.file_name().and_then(|n| n.to_str()).map(UploadId::parse);
            // Ended since the folder was read, or not of our making.
            let (Some(Ok(id)), Some(manifest)) = (id, manifest(&path)?) else { continue };
            let (key, last) = after;
            // Without an id, the marker stands after all uploads of its key.
            let is_after =
                manifest.key > *key || (manifest.key == *key && last.is_some_and(|last| id > last));
            if !manifest.key.starts_with(prefix) || !is_after {
                continue;
            }
            found.insert((manifest.key, id), manifest.initiated_micros);
            if found.len() > limit {
                found.pop_last();
                more = true;
            }
        }
        let open = |((key, id), initiated_micros)| Open { key, id, initiated_micros };
        Ok((found.into_iter().map(open).collect(), more))
    }

    /// The folder and the purpose of an upload that has not ended.
    fn upload(&self, bucket: &str, key: &str, id: UploadId) -> Result<(PathBuf, Manifest), DiskError> {
        self.check_bucket(bucket)?;
        let folder = bucket_folder(&self.uploads, bucket)?.join(id.text());
        let manifest = manifest(&folder)?.filter(|manifest| manifest.key == key);
        Ok((folder, manifest.ok_or(DiskError::NoUpload)?))
    }

    /// Copies the parts together, checked and on the disk, but not yet visible.
    fn assemble(
        &self,
        bucket: &str,
        folder: &Path,
        manifest: Manifest,
        parts: &[Chosen],
        min_bytes: u64,
    ) -> Result<Sealed, DiskError> {
        if !parts.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(DiskError::PartOrder);
        }
        let mut draft = self.draft(bucket, &manifest.key, manifest.attributes)?;
        let (mut size, mut md5s) = (0, Md5::new());
        for (index, (number, etag)) in parts.iter().enumerate() {
            let path = folder.join(part_name(*number));
            let Some(Stored { record, file }) = open_file(&path)? else { return Err(DiskError::NoPart) };
            if record.etag != *etag {
                return Err(DiskError::NoPart);
            }
            if record.size < min_bytes && index + 1 < parts.len() {
                return Err(DiskError::PartTooSmall);
            }
            if draft.append(&mut file.take(record.size))? != record.size {
                return Err(DiskError::Damaged(path));
            }
            size += record.size;
            md5s.update(&unhex(etag).ok_or(DiskError::Damaged(path))?);
        }
        // Not the body's MD5, but that of its parts'. S3 does not document it, and everybody does it.
        draft.seal(size, format!("{}-{}", hex(&md5s.finalize()), parts.len()))
    }

    /// Removes an upload's folder: from sight in one step, then from the disk.
    fn discard(&self, folder: &Path) -> Result<(), DiskError> {
        let bin = TempDir::new_in(&self.tmp)?;
        fs::rename(folder, bin.path().join("gone"))?;
        if let Some(uploads) = folder.parent() {
            sync_folder(uploads)?;
        }
        // Should this fail, the next start does it.
        drop(bin);
        Ok(())
    }
}

/// What the upload in `folder` is for; `None` if there is none.
fn manifest(folder: &Path) -> Result<Option<Manifest>, DiskError> {
    let path = folder.join(MANIFEST);
    match fs::read(&path) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e.into()),
        Ok(json) => serde_json::from_slice(&json).map(Some).map_err(|_| DiskError::Damaged(path)),
    }
}

fn part_name(number: u16) -> String {
    format!("{number:05}")
}

/// The bytes of lowercase hexadecimal.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    rest.is_empty().then(|| bytes.collect()).flatten()
}

#[cfg(test)]
mod tests;
