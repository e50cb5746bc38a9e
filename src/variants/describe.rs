//! Finding out what an original is that came in before the ledger was told: it is read through once, and that is
//! written down, so that its `ETag` is the same from then on, whoever asks and wherever it comes from.

use std::{sync::Arc, time::Duration};

use http_body_util::BodyExt as _;
use moka::future::Cache;
use sha2::{Digest as _, Sha256};

use super::{Original, Source, VariantError, Variants, outcome_of};
use crate::{
    access::{Contents, Permit},
    client::Client,
    db::{Db, DbError, blobs},
    gate::GateError,
    id::BlobKey,
    log,
    metrics::{Read, ReadOutcome},
    store::{Object, ObjectBody, StoreError},
};

/// How many originals are remembered until what is remembered of the ledger knows them too, and how long.
const FOUND: u64 = 10_000;
const FOUND_FOR: Duration = Duration::from_mins(1);

/// What was found out lately.
#[derive(Debug)]
pub(super) struct Describer {
    found: Cache<BlobKey, Contents>,
    db: Db,
}

impl Describer {
    pub(super) fn new(db: Db) -> Self {
        Self { found: Cache::builder().max_capacity(FOUND).time_to_live(FOUND_FOR).build(), db }
    }
}

impl Variants {
    /// What the original of the permitted image is, where the permit does not know. All who ask meanwhile wait for
    /// one read, which is finished even if they hang up.
    pub async fn describe(&self, permit: &Permit, client: Client) -> Result<Contents, Arc<VariantError>> {
        let (source, original) = (Arc::clone(&self.source), Original::of(permit));
        let flight = tokio::spawn(log::carry(async move {
            // Boxed: the cache moves it about.
            let finding_out = Box::pin(source.find_out(&original, client));
            source.describer.found.try_get_with_by_ref(&original.blob, finding_out).await
        }));
        flight.await.map_err(|_| Arc::new(GateError::Panicked.into()))?
    }
}

impl Source {
    async fn find_out(&self, original: &Original, client: Client) -> Result<Contents, VariantError> {
        let reading = self.streams.enter_within(self.streams_wait, client).await?;
        let object = Object::original(&original.blob, original.format.content_type());
        let found = async { read_through(self.store.stream(&object, None).await?).await };
        let found = found.await;
        self.metrics.read(Read::Original, found.as_ref().map_or_else(outcome_of, |_| ReadOutcome::Found));
        drop(reading);
        let contents = found?;
        if let Err(error) = self.write_down(&original.blob, &contents).await {
            tracing::warn!("what {} is has to be found out again: {error}", object.key());
        }
        Ok(contents)
    }

    async fn write_down(&self, blob: &BlobKey, contents: &Contents) -> Result<(), DbError> {
        let mut tx = self.describer.db.begin().await?;
        blobs::describe_original(&mut tx, blob, contents).await?;
        tx.commit().await
    }
}

async fn read_through(mut body: ObjectBody) -> Result<Contents, StoreError> {
    let (bytes, mut hash) = (body.remaining(), Sha256::new());
    while let Some(frame) = body.frame().await.transpose()? {
        if let Some(chunk) = frame.data_ref() {
            hash.update(chunk);
        }
    }
    Ok(Contents { bytes, sha256: hash.finalize().into() })
}
