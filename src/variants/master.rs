//! Bringing a master: from the bucket, or made from the original once it turns out to be missing.
//!
//! A master that the ledger names may be absent: it was to be made at its first use, or was lost. Whoever
//! needs it makes all masters of the image and puts them there, under a lease on the blob, so that nothing
//! is written after the blob was deleted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future;
use moka::future::Cache;

use super::{Leave, Original, Source, VariantError};
use crate::{
    clock,
    db::{Db, DbError, blobs},
    id::BlobKey,
    metrics::Read,
    render::{Masters, Rung, cost, master},
    store::{Object, StoreError},
};

/// How many images' masters are remembered for those who need others of them in the same moment, and how
/// long.
const MADE: u64 = 16;
const MADE_FOR: Duration = Duration::from_secs(10);

/// What makes absent masters, once for all who need them.
#[derive(Debug)]
pub(super) struct Maker {
    made: Cache<BlobKey, Arc<Vec<Bytes>>>,
    db: Db,
    lease_secs: u64,
}

impl Maker {
    /// A write to the bucket must be over, one way or the other, `lease_secs` after it began.
    pub(super) fn new(db: Db, lease_secs: u64) -> Self {
        let made = Cache::builder().max_capacity(MADE).time_to_live(MADE_FOR).build();
        Self { made, db, lease_secs }
    }
}

impl Source {
    /// The file of one master of `original`.
    ///
    /// Should it have to be made, that is done by the caller's own leave: it must not be refused for those who
    /// wait for it.
    pub(super) async fn master(
        &self,
        original: &Original,
        rung: Rung,
        leave: &Leave,
    ) -> Result<Bytes, VariantError> {
        let Original { blob, masters, .. } = original;
        let object = Object::master(blob, rung, masters.format());
        let fetching = self.fetches.enter().await?;
        match self.read(Read::Master, &object).await {
            Err(StoreError::Missing { .. }) => drop(fetching),
            found => return Ok(found?),
        }
        // Boxed: the cache moves it about.
        let making = Box::pin(async {
            let files = self.make_masters(original, leave).await?;
            self.keep(blob, masters, &files).await;
            Ok(Arc::new(files))
        });
        let files = self.masters.made.try_get_with(blob.clone(), making).await;
        let files = files.map_err(VariantError::Shared)?;
        // As many were made as the ledger names.
        files.get(rung as usize).cloned().ok_or_else(|| StoreError::Missing { key: object.key() }.into())
    }

    async fn make_masters(&self, original: &Original, leave: &Leave) -> Result<Vec<Bytes>, VariantError> {
        let (format, limits) = (original.format, self.limits);
        let fetching = self.fetches.enter().await?;
        let source = self.original(original).await?;
        let pass = leave.turn().await?;
        drop(fetching);
        let masters = original.masters.clone();
        let (file, longest) = (source.clone(), masters.longest());
        let bytes = pass.run(move || cost::of_original(&file, format, longest, &limits)).await?;
        let make = move || master::make(&source, format, &masters, &limits);
        let files = self.memory.run(&pass, bytes, make).await??;
        Ok(files.into_iter().map(Bytes::from).collect())
    }

    /// Puts masters into the bucket. Where that fails, they are made again by the next who needs one.
    async fn keep(&self, blob: &BlobKey, masters: &Masters, files: &[Bytes]) {
        match self.lease(blob).await {
            Ok(true) => {}
            // Deleted meanwhile.
            Ok(false) => return,
            Err(error) => return tracing::warn!("masters are not kept: {error}"),
        }
        let writes = masters.rungs().zip(files).map(|(rung, file)| {
            let object = Object::master(blob, rung, masters.format());
            async move { self.store.put(&object, file.clone()).await }
        });
        if let Err(error) = future::try_join_all(writes).await {
            tracing::warn!("masters are not kept: {error}");
        }
    }

    async fn lease(&self, blob: &BlobKey) -> Result<bool, DbError> {
        let until = clock::after(clock::now_micros(), self.masters.lease_secs);
        let mut tx = self.masters.db.begin().await?;
        let leased = blobs::lease_live(&mut tx, blob, until).await?;
        tx.commit().await?;
        Ok(leased)
    }
}
