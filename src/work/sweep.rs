//! The sweeper: whatever the ledger says is over is taken out of the ledger and the bucket.
//!
//! Deadlines are indexes, so a sweep is a few range scans. Every step is one conditional update that
//! one node wins; what a crash leaves half done is still due, and done again.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use thiserror::Error;

use crate::{
    access::State,
    clock,
    db::{
        Db, DbError, blobs, chunks, erasures, idempotency, images,
        uploads::{self, Landing, UploadRow},
    },
    id::{BlobKey, ImageId},
    store::{Kind, Object, ObjectName, Store, StoreError},
    variants::Variants,
};

/// How many rows one scan brings.
const BATCH: i64 = 100;
/// How many scans one sweep makes of each kind; what is left waits for the next.
const MAX_BATCHES: usize = 100;
/// How many chunks of one upload are removed at once, while a client waits.
const CHUNKS_AT_ONCE: usize = 8;
/// How many idempotency keys one transaction takes out.
const KEYS_BATCH: i64 = 1000;
/// How long after a client's last right to write ended the bucket may still be taking his bytes.
const UPLOAD_SLACK_SECS: u64 = 15 * 60;

/// Removes what is over.
#[derive(Clone, Debug)]
pub struct Sweeper {
    pub(super) db: Db,
    store: Store,
    variants: Option<Variants>,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Swept {
    /// Images that nothing used until their deadline.
    pub expired_images: u64,
    /// Uploads that were never finished.
    pub abandoned_uploads: u64,
    /// Places in the bucket where a client may have written, cleared.
    pub cleared_uploads: u64,
    /// Pieces of resumable uploads that are over, removed with their objects.
    pub removed_chunks: u64,
    /// Blobs that nothing used any more, removed with their objects.
    pub removed_blobs: u64,
    /// Idempotency keys whose answers, or whose abandoned claims, were over.
    pub forgotten_keys: u64,
    /// What could not be removed this time.
    pub failed: u64,
}

/// What the ledger says is over, for who looks and does not sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Due {
    /// Images whose deadline has passed, unused or never finished.
    pub images: i64,
    /// Places in the bucket where a client could write, and cannot any more.
    pub uploads: i64,
    /// Pieces of resumable uploads that are over, or were never finished.
    pub chunks: i64,
    /// Blobs that are to be looked at; those that nothing uses go.
    pub blobs: i64,
    /// Idempotency keys whose answers, or whose abandoned claims, are over.
    pub keys: i64,
    /// Erasures that are not done.
    pub erasures: i64,
}

/// Why a sweep stopped; the next one goes on.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The ledger failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The bucket failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bucket said that it deleted an object, and still has it.
    #[error("the objects of {0} were deleted and are still there")]
    StillThere(BlobKey),
}

impl Sweeper {
    /// A sweeper of this ledger and bucket, and of what this process has in memory, if it serves images.
    pub fn new(db: Db, store: Store, variants: Option<Variants>) -> Self {
        Self { db, store, variants }
    }

    /// Sweeps again and again, for as long as the program runs.
    pub async fn run(&self, every: Duration) {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match self.sweep(clock::now_micros()).await {
                Ok(swept) if swept == Swept::default() => {}
                Ok(swept) => tracing::info!(?swept, "swept"),
                Err(error) => tracing::warn!("the sweep stopped, the next goes on: {error}"),
            }
        }
    }

    /// Sweeps everything that is over at a time, in microseconds since the Unix epoch. What cannot be
    /// removed is counted, logged and left for the next sweep; it keeps nothing else from being swept.
    pub async fn sweep(&self, now_micros: i64) -> Result<Swept, SweepError> {
        let mut swept = Swept::default();
        self.erase(now_micros, &mut swept).await?;
        self.images(now_micros, &mut swept).await?;
        // Chunks before uploads: an upload is forgotten once it has none.
        self.chunks(now_micros, &mut swept).await?;
        self.uploads(now_micros, &mut swept).await?;
        self.blobs(now_micros, &mut swept).await?;
        self.keys(now_micros, &mut swept).await?;
        Ok(swept)
    }

    /// Counts what [`Sweeper::sweep`] would take on, and changes nothing. It may take more: what ends an
    /// image lets go of its blob.
    pub async fn due(&self, now_micros: i64) -> Result<Due, DbError> {
        let conn = &mut self.db.read().await?;
        Ok(Due {
            images: images::count_due(conn, now_micros).await?,
            uploads: uploads::count_due(conn, clock::before(now_micros, UPLOAD_SLACK_SECS)).await?,
            chunks: chunks::count_due(conn, now_micros).await?,
            blobs: blobs::count_due(conn, now_micros).await?,
            keys: idempotency::count_due(conn, now_micros).await?,
            erasures: erasures::count_running(conn).await?,
        })
    }

    /// Removes one blob if nothing uses it: what was let go a moment ago need not wait.
    pub async fn sweep_blob(&self, key: &BlobKey, now_micros: i64) -> Result<bool, SweepError> {
        let mut tx = self.db.begin().await?;
        let dying = blobs::release(&mut tx, key, now_micros).await?;
        tx.commit().await?;
        let Some(blob) = dying else { return Ok(false) };
        let objects = Object::all_of(&blob.key, blob.format.content_type());
        self.store.delete(&objects).await?;
        let mut gone = 0;
        for object in &objects {
            // A bucket that says it deleted something is asked whether it did.
            gone += i64::from(self.store.head(object).await?.is_none());
        }
        if usize::try_from(gone).unwrap_or_default() < objects.len() {
            // The row stays, so that the objects are not forgotten.
            return Err(SweepError::StillThere(blob.key));
        }
        let mut tx = self.db.begin().await?;
        if blobs::forget(&mut tx, &blob.key).await? {
            erasures::add_verified(&mut tx, &blob.owner, gone).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn images(&self, now_micros: i64, swept: &mut Swept) -> Result<(), SweepError> {
        for _ in 0..MAX_BATCHES {
            let due = images::due(&mut self.db.read().await?, now_micros, BATCH).await?;
            let before = swept.expired_images + swept.abandoned_uploads;
            for (image, state) in due {
                match self.end_image(image, state, now_micros).await {
                    Ok(true) if state == State::Ready => swept.expired_images += 1,
                    Ok(ended) => swept.abandoned_uploads += u64::from(ended),
                    Err(error) => swept.fail(&error),
                }
            }
            if swept.expired_images + swept.abandoned_uploads == before {
                break;
            }
        }
        Ok(())
    }

    async fn end_image(&self, image: ImageId, state: State, now_micros: i64) -> Result<bool, SweepError> {
        let mut tx = self.db.begin().await?;
        let ended = if state == State::Ready {
            images::expire(&mut tx, image, now_micros).await?.is_some()
        } else {
            images::abandon(&mut tx, image, now_micros).await?
        };
        tx.commit().await?;
        self.forget(image);
        Ok(ended)
    }

    /// Drops what memory holds of an image that is gone.
    pub(super) fn forget(&self, image: ImageId) {
        if let Some(variants) = &self.variants {
            variants.forget(image);
        }
    }

    async fn uploads(&self, now_micros: i64, swept: &mut Swept) -> Result<(), SweepError> {
        let ended = clock::before(now_micros, UPLOAD_SLACK_SECS);
        for _ in 0..MAX_BATCHES {
            let due = uploads::due(&mut self.db.read().await?, ended, BATCH).await?;
            let before = swept.cleared_uploads;
            for upload in due {
                match self.end_upload(&upload, now_micros).await {
                    Ok(()) => swept.cleared_uploads += 1,
                    Err(error) => swept.fail(&error),
                }
            }
            if swept.cleared_uploads == before {
                break;
            }
        }
        Ok(())
    }

    async fn end_upload(&self, upload: &UploadRow, now_micros: i64) -> Result<(), SweepError> {
        self.clear(upload, now_micros).await?;
        let mut tx = self.db.begin().await?;
        uploads::forget(&mut tx, upload.image).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Removes what has landed of an upload that is over: whatever lies under its incoming key, and the
    /// chunks that were let go.
    pub async fn clear(&self, upload: &UploadRow, now_micros: i64) -> Result<(), SweepError> {
        match &upload.landing {
            Landing::Incoming(incoming) => self.store.delete(&[incoming_object(&incoming.key)]).await?,
            Landing::Chunks { .. } => {
                let due = chunks::due_of(&mut self.db.read().await?, upload.image, now_micros).await?;
                let sweeping = stream::iter(due).map(async |key| self.sweep_chunk(&key, now_micros).await);
                sweeping.buffer_unordered(CHUNKS_AT_ONCE).try_for_each(async |_| Ok(())).await?;
            }
        }
        Ok(())
    }

    async fn chunks(&self, now_micros: i64, swept: &mut Swept) -> Result<(), SweepError> {
        for _ in 0..MAX_BATCHES {
            let due = chunks::due(&mut self.db.read().await?, now_micros, BATCH).await?;
            let before = swept.removed_chunks;
            for key in due {
                match self.sweep_chunk(&key, now_micros).await {
                    Ok(removed) => swept.removed_chunks += u64::from(removed),
                    Err(error) => swept.fail(&error),
                }
            }
            if swept.removed_chunks == before {
                break;
            }
        }
        Ok(())
    }

    /// Removes one chunk of an upload if it was let go, or its write has taken too long.
    pub async fn sweep_chunk(&self, key: &BlobKey, now_micros: i64) -> Result<bool, SweepError> {
        let mut tx = self.db.begin().await?;
        let dying = chunks::release(&mut tx, key, now_micros).await?;
        tx.commit().await?;
        if !dying {
            return Ok(false);
        }
        let object = incoming_object(key);
        self.store.delete(std::slice::from_ref(&object)).await?;
        if self.store.head(&object).await?.is_some() {
            // The row stays, so that the object is not forgotten.
            return Err(SweepError::StillThere(key.clone()));
        }
        let mut tx = self.db.begin().await?;
        if let Some(owner) = chunks::forget(&mut tx, key).await? {
            erasures::add_verified(&mut tx, &owner, 1).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn blobs(&self, now_micros: i64, swept: &mut Swept) -> Result<(), SweepError> {
        for _ in 0..MAX_BATCHES {
            let due = blobs::due(&mut self.db.read().await?, now_micros, BATCH).await?;
            let before = swept.removed_blobs;
            for key in due {
                match self.sweep_blob(&key, now_micros).await {
                    Ok(removed) => swept.removed_blobs += u64::from(removed),
                    Err(error) => swept.fail(&error),
                }
            }
            if swept.removed_blobs == before {
                break;
            }
        }
        Ok(())
    }

    async fn keys(&self, now_micros: i64, swept: &mut Swept) -> Result<(), SweepError> {
        for _ in 0..MAX_BATCHES {
            let mut tx = self.db.begin().await?;
            let forgotten = idempotency::forget_due(&mut tx, now_micros, KEYS_BATCH).await?;
            tx.commit().await?;
            swept.forgotten_keys += forgotten;
            if forgotten == 0 {
                break;
            }
        }
        Ok(())
    }
}

fn incoming_object(key: &BlobKey) -> ObjectName {
    ObjectName { kind: Kind::Incoming, key: key.clone() }
}

impl Swept {
    /// One thing could not be removed now.
    pub(super) fn fail(&mut self, error: &SweepError) {
        tracing::warn!("left for the next sweep: {error}");
        self.failed += 1;
    }
}
