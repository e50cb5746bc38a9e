//! The sweeper: whatever the ledger says is over is taken out of the ledger and the bucket.
//!
//! Deadlines are indexes, so a sweep is a few range scans. Every step is one conditional update that
//! one node wins; what a crash leaves half done is still due, and done again.

use std::{collections::HashSet, hash::Hash, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use thiserror::Error;

use crate::{
    access::State,
    clock,
    db::{
        Db, DbError,
        blobs::{self, StoredBlob},
        chunks, erasures, idempotency, images, rules,
        uploads::{self, Landing, UploadRow},
        variants,
    },
    id::{BlobKey, ImageId},
    store::{Kind, Named, Object, ObjectName, Store, StoreError},
    variants::Variants,
};

/// How many rows one scan brings.
const BATCH: i64 = 100;
/// How many scans one sweep makes of each kind; what is left waits for the next.
const MAX_BATCHES: usize = 100;
/// How many objects of one kind are removed at once.
const AT_ONCE: usize = 8;
/// How many idempotency keys one transaction takes out.
const KEYS_BATCH: i64 = 1000;
/// How many rows of each kind one sweep passes by, because they could not be removed.
const MAX_PASSED: usize = 1000;
/// How long after a client's last right to write ended the bucket may still be taking his bytes.
const UPLOAD_SLACK_SECS: u64 = 15 * 60;

/// Removes what is over.
#[derive(Clone, Debug)]
pub struct Sweeper {
    pub(super) db: Db,
    store: Store,
    variants: Option<Variants>,
    /// How long an image is kept without a use, in seconds.
    unattached_secs: u64,
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
    /// Variants that were kept for as long as they are, removed with their objects.
    pub removed_variants: u64,
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
    /// Variants that were kept for as long as they are, or were never finished.
    pub variants: i64,
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
    pub fn new(db: Db, store: Store, variants: Option<Variants>, unattached_secs: u64) -> Self {
        Self { db, store, variants, unattached_secs }
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
    /// removed is counted, logged and left for the next sweep; it keeps nothing else from being swept,
    /// unless the bucket is away: then what is in the ledger alone has been swept, and the rest waits.
    pub async fn sweep(&self, now_micros: i64) -> Result<Swept, SweepError> {
        let mut swept = Swept::default();
        self.erase(now_micros, &mut swept).await?;
        self.images(now_micros, &mut swept).await?;
        self.keys(now_micros, &mut swept).await?;
        // Chunks before uploads: an upload is forgotten once it has none.
        self.chunks(now_micros, &mut swept).await?;
        self.uploads(now_micros, &mut swept).await?;
        self.blobs(now_micros, &mut swept).await?;
        // Last: of what went with its blob there is none left, and nobody waits for the rest.
        self.variants(now_micros, &mut swept).await?;
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
            variants: variants::count_due(conn, now_micros).await?,
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
        if !self.sweep_variants_of(&blob).await? {
            return Ok(false);
        }
        let objects = Object::all_of(&blob.key, blob.format.content_type(), &blob.masters);
        for object in &objects {
            self.remove(object, &blob.key).await?;
        }
        let mut tx = self.db.begin().await?;
        if blobs::forget(&mut tx, &blob.key).await? {
            let gone = i64::try_from(objects.len()).unwrap_or(i64::MAX);
            erasures::add_verified(&mut tx, &blob.owner, gone).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Removes the variants of a dying blob, which gets no others. False when there are more of them than
    /// one sweep takes on.
    async fn sweep_variants_of(&self, blob: &StoredBlob) -> Result<bool, SweepError> {
        for _ in 0..MAX_BATCHES {
            let batch = variants::of_blob(&mut self.db.read().await?, &blob.key, BATCH).await?;
            if batch.is_empty() {
                return Ok(true);
            }
            let removing = stream::iter(batch).map(async |variant| {
                self.remove(&variant_object(&variant), &blob.key).await?;
                let mut tx = self.db.begin().await?;
                if variants::forget_with_blob(&mut tx, &variant).await? {
                    erasures::add_verified(&mut tx, &blob.owner, 1).await?;
                }
                tx.commit().await?;
                Ok::<_, SweepError>(())
            });
            removing.buffer_unordered(AT_ONCE).try_for_each(async |()| Ok(())).await?;
        }
        Ok(false)
    }

    /// Deletes an object of a blob. A bucket that says it deleted something is asked whether it did: if
    /// not, the row stays, so that the object is not forgotten.
    async fn remove(&self, object: &impl Named, blob: &BlobKey) -> Result<(), SweepError> {
        self.store.delete(&[object.name()]).await?;
        if self.store.head(object).await?.is_some() {
            return Err(SweepError::StillThere(blob.clone()));
        }
        Ok(())
    }

    async fn variants(&self, now_micros: i64, swept: &mut Swept) -> Result<(), SweepError> {
        let mut passed = Passed::default();
        for _ in 0..MAX_BATCHES {
            let due = variants::due(&mut self.db.read().await?, now_micros, passed.limit()).await?;
            let due = passed.without(due, |variant| variant);
            if due.is_empty() || passed.is_full() {
                break;
            }
            let sweeping = stream::iter(due).map(async |variant| {
                let done = self.sweep_variant(&variant, now_micros).await;
                (variant, done)
            });
            for (variant, done) in sweeping.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
                swept.removed_variants += u64::from(matches!(done, Ok(true)));
                passed.note(variant, done, swept);
            }
            self.go_on(&mut passed).await?;
        }
        Ok(())
    }

    /// Removes one variant that is over. Whoever writes it anew meanwhile may lose it, and nothing else:
    /// the row is his then, and stays.
    async fn sweep_variant(&self, variant: &variants::Name, now_micros: i64) -> Result<bool, SweepError> {
        self.remove(&variant_object(variant), &variant.0).await?;
        let mut tx = self.db.begin().await?;
        let done = variants::forget_due(&mut tx, variant, now_micros).await?;
        tx.commit().await?;
        Ok(done)
    }

    async fn images(&self, now_micros: i64, swept: &mut Swept) -> Result<(), SweepError> {
        // What the app's rules cannot be asked about is not ended below either.
        if self.db.rules().are_the_apps()
            && let Err(error) = self.postpone_used(now_micros).await
        {
            tracing::warn!("images that the app uses keep their deadlines: {error}");
            swept.failed += 1;
        }
        let mut passed = Passed::default();
        for _ in 0..MAX_BATCHES {
            let due = images::due(&mut self.db.read().await?, now_micros, passed.limit()).await?;
            let due = passed.without(due, |(image, _)| image);
            if due.is_empty() || passed.is_full() {
                break;
            }
            for (image, state) in due {
                let done = self.end_image(image, state, now_micros).await;
                let ended = if state == State::Ready {
                    &mut swept.expired_images
                } else {
                    &mut swept.abandoned_uploads
                };
                *ended += u64::from(matches!(done, Ok(true)));
                passed.note(image, done, swept);
            }
        }
        Ok(())
    }

    /// Where the app decides, puts off the deadlines of what it uses.
    async fn postpone_used(&self, now_micros: i64) -> Result<(), DbError> {
        for _ in 0..MAX_BATCHES {
            let mut tx = self.db.begin().await?;
            let may_be_more = rules::postpone(&mut tx, now_micros, self.unattached_secs).await?;
            tx.commit().await?;
            if !may_be_more {
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
        let mut passed = Passed::default();
        for _ in 0..MAX_BATCHES {
            let due = uploads::due(&mut self.db.read().await?, ended, passed.limit()).await?;
            let due = passed.without(due, |upload| &upload.image);
            if due.is_empty() || passed.is_full() {
                break;
            }
            for upload in due {
                let done = self.end_upload(&upload, now_micros).await;
                swept.cleared_uploads += u64::from(done.is_ok());
                passed.note(upload.image, done.map(|()| true), swept);
            }
            self.go_on(&mut passed).await?;
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
                sweeping.buffer_unordered(AT_ONCE).try_for_each(async |_| Ok(())).await?;
            }
        }
        Ok(())
    }

    async fn chunks(&self, now_micros: i64, swept: &mut Swept) -> Result<(), SweepError> {
        let mut passed = Passed::default();
        for _ in 0..MAX_BATCHES {
            let due = chunks::due(&mut self.db.read().await?, now_micros, passed.limit()).await?;
            let due = passed.without(due, |key| key);
            if due.is_empty() || passed.is_full() {
                break;
            }
            for key in due {
                let done = self.sweep_chunk(&key, now_micros).await;
                swept.removed_chunks += u64::from(matches!(done, Ok(true)));
                passed.note(key, done, swept);
            }
            self.go_on(&mut passed).await?;
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
        let mut passed = Passed::default();
        for _ in 0..MAX_BATCHES {
            let due = blobs::due(&mut self.db.read().await?, now_micros, passed.limit()).await?;
            let due = passed.without(due, |key| key);
            if due.is_empty() || passed.is_full() {
                break;
            }
            for key in due {
                let done = self.sweep_blob(&key, now_micros).await;
                swept.removed_blobs += u64::from(matches!(done, Ok(true)));
                passed.note(key, done, swept);
            }
            self.go_on(&mut passed).await?;
        }
        Ok(())
    }

    /// Ends the sweep when nothing of a batch could be removed because the bucket is away: every other
    /// row would have to wait for the same.
    async fn go_on(&self, passed: &mut Passed<impl Eq + Hash>) -> Result<(), StoreError> {
        if std::mem::take(&mut passed.any_done) { Ok(()) } else { self.store.ping().await }
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
    ObjectName::of(Kind::Incoming, key.clone())
}

fn variant_object((blob, name): &variants::Name) -> ObjectName {
    ObjectName::of_variant(blob.clone(), name.clone())
}

/// What one sweep could not remove of one kind: it is still due, and must keep nothing behind it waiting.
struct Passed<T> {
    rows: HashSet<T>,
    /// Whether anything was removed since this was last asked.
    any_done: bool,
}

impl<T> Default for Passed<T> {
    fn default() -> Self {
        Self { rows: HashSet::new(), any_done: false }
    }
}

impl<T: Eq + Hash> Passed<T> {
    /// How many rows to ask for, so that a batch of others is among them.
    fn limit(&self) -> i64 {
        BATCH.saturating_add(i64::try_from(self.rows.len()).unwrap_or(i64::MAX))
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= MAX_PASSED
    }

    fn without<R>(&self, due: Vec<R>, key: impl Fn(&R) -> &T) -> Vec<R> {
        due.into_iter().filter(|row| !self.rows.contains(key(row))).collect()
    }

    /// What came of a row: whether it was removed.
    fn note(&mut self, row: T, done: Result<bool, SweepError>, swept: &mut Swept) {
        match done {
            Ok(true) => self.any_done = true,
            Ok(false) => {
                self.rows.insert(row);
            }
            Err(error) => {
                swept.fail(&error);
                self.rows.insert(row);
            }
        }
    }
}

impl Swept {
    /// One thing could not be removed now.
    pub(super) fn fail(&mut self, error: &SweepError) {
        tracing::warn!("left for the next sweep: {error}");
        self.failed += 1;
    }
}
