//! The one way in: take bytes, sniff, strip, decode, hash, and only then publish.
//!
//! What is served later is exactly what was decoded here: metadata is stripped first, and the
//! stripped file is the one that is verified and stored under a key that no client can write to.

mod checksum;
mod imported;
mod presigned;
mod reserved;
mod resumable;
mod spool;

pub use checksum::{BadChecksum, Checksum};
pub use imported::Kept;
pub use reserved::Completed;
pub use resumable::Receiving;
pub use spool::{Spool, Spooled, Taken};

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future;
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::{
    access::Contents,
    budget::Budget,
    clock,
    config::{self, Made, Quota, Upload},
    db::{
        Conn, Db, DbError,
        blobs::{self, NewBlob},
        chunks::MAX_CHUNKS,
        images, users,
    },
    gate::{Gate, GateError},
    id::{BlobKey, ImageId, UserId},
    render::{self, Format, Inspected, Limits, Masters, Rejected, Size, cost, is_heic},
    store::{Object, Store, StoreError},
    work::Sweeper,
};

/// Why an upload did not become an image.
#[derive(Debug, Error)]
pub enum IngestError {
    /// The bytes are of no format that is taken.
    #[error("the file is not an image that is taken here; send a {}", Format::NAMES)]
    UnsupportedType,
    /// The bytes are a photo as iPhones write it.
    #[error(
        "this is a HEIC photo, which browsers do not show; export it as JPEG, or on the iPhone choose Settings, Camera, Formats, Most Compatible"
    )]
    Heic,
    /// The file is damaged, cannot be decoded, or is too large in pixels.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// Too much to do, or the decoder panicked.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The bucket failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The bytes are not what the client promised them to be.
    #[error("the uploaded bytes do not have the promised {0}")]
    Promise(Promise),
    /// The bytes of a resumable upload are of no format that is taken.
    #[error("the uploaded bytes are not an image that is taken here; they must be a {}", Format::NAMES)]
    NotAnImage,
    /// Nothing has landed in the bucket yet, or not all.
    #[error("not all bytes were uploaded yet; send them first")]
    Missing,
    /// A resumable upload does not stand where the bytes begin, or is over.
    #[error("the upload does not stand at this offset; ask for it and go on from there")]
    OutOfStep,
    /// More bytes came than a resumable upload has left.
    #[error("more bytes were sent than the upload has left")]
    TooLong,
    /// A resumable upload came in too many pieces.
    #[error(
        "the upload came in {} pieces, and more are not taken; start another and send larger ones",
        MAX_CHUNKS
    )]
    TooManyChunks,
    /// The bytes of a request do not have the promised checksum.
    #[error("the bytes do not have the promised checksum; send them again")]
    ChecksumMismatch,
    /// The owner has as much as one user may.
    #[error("you have as many images as one user may; delete some first")]
    QuotaExceeded,
    /// The owner was erased meanwhile.
    #[error("this account was erased")]
    OwnerGone,
    /// The upload's reservation ran out before it was done.
    #[error("the upload took too long")]
    Expired,
    /// The temporary file failed.
    #[error("temporary file: {0}")]
    Spool(#[from] std::io::Error),
}

/// What a client promises of an upload before he sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The number of bytes.
    Size,
    /// What kind of image they are.
    ContentType,
    /// Their hash.
    Sha256,
}

impl std::fmt::Display for Promise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Size => "size",
            Self::ContentType => "content type",
            Self::Sha256 => "sha256",
        })
    }
}

/// Everything that taking an image in needs; clones share it.
#[derive(Clone, Debug)]
pub struct Ingest {
    db: Db,
    store: Store,
    sweeper: Sweeper,
    gate: Gate,
    memory: Budget,
    /// Uploads whose bytes are read back from the bucket.
    completions: Gate,
    /// Bodies of resumable uploads that are being received, or kept after their clients hung up.
    receives: Gate,
    /// Turns of the chunks on their way to the bucket.
    chunks: Arc<Semaphore>,
    limits: Limits,
    upload: Upload,
    quota: Quota,
    masters: config::Masters,
}

/// What bounds the ways in.
#[derive(Clone, Debug)]
pub struct Gates {
    /// Files decoded, and held in memory, at once.
    pub ingests: Gate,
    /// Uploads read back from the bucket at once, each into a temporary file.
    pub completions: Gate,
    /// Bodies of resumable uploads received at once, each through a temporary file.
    pub receives: Gate,
    /// What files may take in memory while they are decoded.
    pub memory: Budget,
}

/// What may come in.
#[derive(Clone, Debug)]
pub struct Rules {
    /// For how long, and how large.
    pub upload: Upload,
    /// How much one user may have.
    pub quota: Quota,
    /// What is stored beside it.
    pub masters: config::Masters,
}

/// A file whose structure is sound.
struct Stripped {
    uploaded: Bytes,
    original: Bytes,
    format: Format,
}

/// A file that was verified, with what its stripped form is.
struct Checked {
    uploaded: Bytes,
    original: Bytes,
    /// What the stripped file is.
    contents: Contents,
    format: Format,
    inspected: Inspected,
    masters: Masters,
    /// The files of the masters, or of the first of them.
    made: Vec<Bytes>,
}

impl Ingest {
    /// Puts the parts together.
    pub fn new(db: Db, store: Store, sweeper: Sweeper, gates: Gates, limits: Limits, rules: Rules) -> Self {
        let Gates { ingests: gate, completions, receives, memory } = gates;
        let Rules { upload, quota, masters } = rules;
        let chunks = Arc::new(Semaphore::new(resumable::CHUNKS_AT_ONCE));
        Self {
            db,
            store,
            sweeper,
            gate,
            memory,
            completions,
            receives,
            chunks,
            limits,
            upload,
            quota,
            masters,
        }
    }

    /// Verifies a file and puts its bytes into the bucket, as a blob that nothing uses yet.
    ///
    /// When this returns, the bytes survive a crash; [`Prepared::admit`] makes them an image. A blob
    /// that nobody admits, for an error or a crash, is swept when its time runs out.
    ///
    /// A `promised` format is one that the file must have, or nothing is stored.
    pub async fn prepare(
        &self,
        owner: &UserId,
        spooled: Spooled,
        filename: Option<String>,
        promised: Option<Format>,
    ) -> Result<Prepared, IngestError> {
        let pass = self.gate.enter().await?;
        let limits = self.limits;
        let sha256 = spooled.sha256_hex();
        let masters = self.masters.clone();
        let longest = masters.sides.first().copied().unwrap_or(0);
        let (stripped, bytes) = pass.run(move || strip(spooled, longest, &limits)).await??;
        let checked = self.memory.run(&pass, bytes, move || check(stripped, &limits, &masters)).await??;

        if promised.is_some_and(|promised| promised != checked.format) {
            return Err(IngestError::Promise(Promise::ContentType));
        }
        let now = clock::now_micros();
        let deadline = clock::after(now, self.upload.reserved_secs);
        let mut tx = self.db.begin().await?;
        if !users::lock_alive(&mut tx, owner).await? {
            return Err(IngestError::OwnerGone);
        }
        // The same bytes of the same owner are stored once; they were verified all the same.
        if let Some(blob) = blobs::lease(&mut tx, owner, &sha256, deadline).await? {
            tx.commit().await?;
            return Ok(Prepared { owner: owner.clone(), blob, filename, quota: self.quota });
        }
        let blob = NewBlob {
            key: BlobKey::random(),
            owner: owner.clone(),
            sha256,
            original: checked.contents,
            format: checked.format,
            bytes: checked.uploaded.len() as u64,
            width: checked.inspected.width,
            height: checked.inspected.height,
            frames: checked.inspected.frames,
            placeholder: checked.inspected.placeholder,
            masters: checked.masters,
        };
        blobs::announce(&mut tx, &blob, now, deadline).await?;
        tx.commit().await?;

        let objects = Object::all_of(&blob.key, blob.format.content_type(), &blob.masters);
        let files = [checked.uploaded, checked.original].into_iter().chain(checked.made);
        let puts = objects.iter().zip(files).map(|(object, file)| self.store.put(object, file));
        if let Err(error) = future::try_join_all(puts).await {
            self.abandon([&blob.key]).await;
            return Err(error.into());
        }
        Ok(Prepared { owner: owner.clone(), blob: blob.key, filename, quota: self.quota })
    }

    /// Lets prepared files go that will not be admitted, so that the next sweep takes them.
    pub async fn abandon(&self, blobs: impl IntoIterator<Item = &BlobKey>) {
        let letting_go = async {
            let mut tx = self.db.begin().await?;
            for blob in blobs {
                blobs::let_go(&mut tx, blob, clock::now_micros()).await?;
            }
            tx.commit().await
        };
        if let Err(error) = letting_go.await {
            tracing::warn!("prepared files are left until their time runs out: {error}");
        }
    }

    /// [`Ingest::prepare`] and [`Prepared::admit`] in one: a file becomes an image of its own.
    pub async fn publish(
        &self,
        owner: &UserId,
        spooled: Spooled,
        filename: Option<String>,
    ) -> Result<ImageId, IngestError> {
        let prepared = self.prepare(owner, spooled, filename, None).await?;
        let admitting = async {
            let mut tx = self.db.begin().await?;
            let image = prepared.admit(&mut tx, self.upload.unattached_secs).await?;
            tx.commit().await?;
            Ok(image)
        };
        let admitted = admitting.await;
        if admitted.is_err() {
            self.abandon([&prepared.blob]).await;
        }
        admitted
    }
}

/// A verified file whose bytes are in the bucket, and which is no image yet.
#[derive(Debug)]
pub struct Prepared {
    owner: UserId,
    blob: BlobKey,
    filename: Option<String>,
    quota: Quota,
}

impl Prepared {
    /// Names the bytes in the bucket.
    pub fn blob(&self) -> &BlobKey {
        &self.blob
    }

    /// Makes the file a ready image, in a transaction that may go on to use it: all or nothing.
    pub async fn admit(&self, conn: &mut Conn, unattached_secs: u64) -> Result<ImageId, IngestError> {
        let blob = self.put_into_use(conn).await?;
        self.admit_with(conn, &blob, unattached_secs).await
    }

    /// The same with the blob that was put into use.
    async fn admit_with(
        &self,
        conn: &mut Conn,
        blob: &BlobKey,
        unattached_secs: u64,
    ) -> Result<ImageId, IngestError> {
        let now = clock::now_micros();
        let (image, deadline) = (ImageId::new(), clock::after(now, unattached_secs));
        let filename = self.filename.as_deref();
        images::insert_ready(conn, image, &self.owner, blob, filename, now, deadline).await?;
        self.require_quota(conn).await?;
        Ok(image)
    }

    /// Makes the file the bytes of an image that was reserved for it. False when the image is not
    /// waiting for them any more.
    pub async fn admit_as(
        &self,
        conn: &mut Conn,
        image: ImageId,
        unattached_secs: u64,
    ) -> Result<bool, IngestError> {
        let blob = self.put_into_use(conn).await?;
        let deadline = clock::after(clock::now_micros(), unattached_secs);
        let ready = images::set_ready(conn, image, &blob, deadline).await?;
        self.require_quota(conn).await?;
        Ok(ready)
    }

    /// Counts what the owner has now that this file is among it. His row is locked, so that no two
    /// files are both the last that fits.
    async fn require_quota(&self, conn: &mut Conn) -> Result<(), IngestError> {
        if self.quota.images.is_none() && self.quota.bytes.is_none() {
            return Ok(());
        }
        let (images, bytes) = images::usage(conn, &self.owner).await?;
        if !self.quota.is_exceeded(images, bytes) {
            return Ok(());
        }
        Err(IngestError::QuotaExceeded)
    }

    async fn put_into_use(&self, conn: &mut Conn) -> Result<BlobKey, IngestError> {
        if !users::lock_alive(conn, &self.owner).await? {
            return Err(IngestError::OwnerGone);
        }
        let used = blobs::put_into_use(conn, &self.blob).await?.ok_or(IngestError::Expired)?;
        if used != self.blob {
            blobs::let_go(conn, &self.blob, clock::now_micros()).await?;
        }
        Ok(used)
    }
}

/// What a file is without its metadata, and how many bytes of memory it takes to decode it and to make
/// masters with sides up to `longest`. The declared content type plays no part: the bytes decide.
fn strip(spooled: Spooled, longest: u32, limits: &Limits) -> Result<(Stripped, u64), IngestError> {
    let uploaded = spooled.into_bytes()?;
    let unknown = || if is_heic(&uploaded) { IngestError::Heic } else { IngestError::UnsupportedType };
    let format = Format::sniff(&uploaded).ok_or_else(unknown)?;
    let original = render::strip(&uploaded, format).map_err(|fault| Rejected::by_structure(fault, format))?;
    let cost = cost::of_original(&original, format, longest, limits);
    Ok((Stripped { uploaded, original, format }, cost))
}

/// The whole check, on the bytes alone.
fn check(file: Stripped, limits: &Limits, settings: &config::Masters) -> Result<Checked, IngestError> {
    let Stripped { uploaded, original, format } = file;
    let (inspected, picture) = render::inspect_picture(&original, format, limits)?;
    let (mut masters, mut made) = (Masters::NONE, Vec::new());
    if let Some(picture) = picture {
        let size = Size { width: inspected.width, height: inspected.height };
        masters = Masters::plan(format, size, inspected.has_alpha, &settings.sides);
        if settings.made == Made::AtIngest {
            made = picture.masters(&masters).unwrap_or_else(|error| {
                tracing::warn!("variants of an image will be made from its original: {error}");
                masters = Masters::NONE;
                Vec::new()
            });
        }
    }
    let made = made.into_iter().map(Bytes::from).collect();
    let contents = Contents::of(&original);
    Ok(Checked { uploaded, original, contents, format, inspected, masters, made })
}
