//! The tier in the bucket: renditions that were made before, by this process or another.
//!
//! It is asked on a miss in memory, inside the one flight, and never makes anybody worse off than a render
//! would: what does not come in time, or is not what the ledger says, is rendered. What was rendered is
//! written behind the answer, a few at a time.
//!
//! The ledger's row is looked at first. Most misses are of what nobody ever asked for, and a look at a
//! primary key is cheaper than a GET that finds nothing; and the row tells length and hash, without which
//! nobody could say whether the bytes are those that were written.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use thiserror::Error;
use tokio::time::timeout;

use super::{Original, Source, Variant, outcome_of};
use crate::{
    clock,
    db::{
        Db, DbError,
        variants::{self, Known},
    },
    gate::{Gate, GateError},
    id::{VariantName, hex},
    log,
    metrics::{Read, ReadOutcome, Written},
    render::{self, Plan},
    store::{Object, StoreError},
};

/// How long a rendition is waited for before it is rendered instead.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest rendition that is kept in the bucket, in bytes: as much is held by each that waits to be
/// written.
const MAX_BYTES: usize = 8 << 20;

/// What reads and writes renditions in the bucket.
#[derive(Debug)]
pub(super) struct Tier {
    db: Db,
    /// Seconds that a rendition is kept for; 0: the tier is off.
    ttl_secs: u64,
    /// Seconds after which a write is over, one way or the other.
    write_secs: u64,
    writes: Gate,
    /// What finds no place is rendered. It is not the gate of the sources: those wait for a core while they are held, and what was rendered before must not
    /// wait for renders.
    reads: Gate,
}

/// Why a rendition could not be read.
#[derive(Debug, Error)]
enum ReadError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error("it is not what was written there")]
    Foreign,
}

/// Why a rendition could not be written.
#[derive(Debug, Error)]
enum WriteError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Tier {
    pub(super) fn new(db: Db, ttl_secs: u64, write_secs: u64, writes: Gate, reads: Gate) -> Self {
        Self { db, ttl_secs, write_secs, writes, reads }
    }

    pub(super) fn is_on(&self) -> bool {
        self.ttl_secs > 0
    }

    /// Waits until nothing is being written.
    pub(super) async fn written(&self) {
        self.writes.empty().await;
    }
}

/// How a rendition is made, for its name: another version of the renderer makes other ones.
fn name(plan: &Plan) -> VariantName {
    VariantName::of(&format!("{} {plan}", render::VERSION))
}

impl Source {
    /// A rendition out of the bucket, if it is there whole and comes soon.
    pub(super) async fn stored(&self, original: &Original, plan: &Plan) -> Option<Variant> {
        if !self.tier.is_on() {
            return None;
        }
        let name = name(plan);
        let object = |known: &Known| Object::variant(&original.blob, &name, known.format);
        let Ok(place) = self.tier.reads.queue() else { return None };
        let reading = async {
            let reading = place.turn().await?;
            let now = clock::now_micros();
            let known = variants::get(&mut self.tier.db.read().await?, &original.blob, &name, now).await?;
            let Some(known) = known else { return Ok(None) };
            let bytes = self.store.get(&object(&known), known.bytes).await?;
            drop(reading);
            // Longer is refused already, and a hash tells the rest.
            let variant = Variant::new(bytes, known.format);
            if variant.sha256() == known.sha256 { Ok(Some(variant)) } else { Err(ReadError::Foreign) }
        };
        let outcome = match timeout(READ_TIMEOUT, reading).await {
            Ok(Ok(None)) => return None,
            Ok(Ok(Some(variant))) => {
                self.metrics.read(Read::Variant, ReadOutcome::Found);
                return Some(variant);
            }
            Ok(Err(error)) => {
                let outcome = match &error {
                    ReadError::Store(error) => outcome_of(error),
                    ReadError::Foreign => ReadOutcome::Foreign,
                    // The bucket was not asked.
                    ReadError::Db(_) | ReadError::Gate(_) => {
                        tracing::debug!("variants/{}/{name} is rendered again: {error}", original.blob);
                        return None;
                    }
                };
                if outcome != ReadOutcome::Missing {
                    tracing::warn!("variants/{}/{name} is rendered again: {error}", original.blob);
                }
                outcome
            }
            Err(_) => ReadOutcome::TookTooLong,
        };
        self.metrics.read(Read::Variant, outcome);
        None
    }

    /// Sees to it that a rendition is written into the bucket. Nobody waits for that, and when too many are
    /// being written already it is not kept there: it can be made again.
    pub(super) fn keep_behind(self: &Arc<Self>, original: &Original, plan: &Plan, variant: &Variant) {
        if !self.tier.is_on() {
            return;
        }
        if variant.bytes.len() > MAX_BYTES {
            return self.metrics.written(Written::TooLarge);
        }
        let writing = {
            let (source, original, name) = (Arc::clone(self), original.clone(), name(plan));
            let known =
                Known { format: variant.format, bytes: variant.bytes.len() as u64, sha256: variant.sha256() };
            let bytes = variant.bytes.clone();
            async move {
                let Ok(_pass) = source.tier.writes.enter().await else {
                    return source.metrics.written(Written::Dropped);
                };
                let written = source.put_variant(&original, &name, &known, bytes).await;
                source.metrics.written(match written {
                    Ok(true) => Written::Written,
                    Ok(false) => Written::NotWanted,
                    Err(error) => {
                        tracing::warn!("variants/{}/{name} is not kept: {error}", original.blob);
                        Written::Failed
                    }
                });
            }
        };
        tokio::spawn(log::carry(writing));
    }

    /// Puts a rendition into the bucket. False when the image was deleted meanwhile, or somebody else is
    /// about it.
    async fn put_variant(
        &self,
        original: &Original,
        name: &VariantName,
        known: &Known,
        bytes: Bytes,
    ) -> Result<bool, WriteError> {
        let Tier { db, ttl_secs, write_secs, .. } = &self.tier;
        let now = clock::now_micros();
        let until = clock::after(now, *write_secs);
        let mut tx = db.begin().await?;
        let may = variants::announce(&mut tx, &original.blob, name, known, now, until).await?;
        tx.commit().await?;
        // The ledger may have kept us so long that the write could outlast its time; then its row dies alone.
        if !may || clock::now_micros() > clock::after(now, write_secs / 2) {
            return Ok(false);
        }
        // If it fails it may be there or not: the row stays as long as that is open, and then the sweeper
        // removes both.
        self.store.put(&Object::variant(&original.blob, name, known.format), bytes).await?;
        let mut tx = db.begin().await?;
        variants::land(&mut tx, &original.blob, name, until, clock::after(now, *ttl_secs)).await?;
        tx.commit().await?;
        Ok(true)
    }
}

impl Variant {
    /// As the ledger has it.
    fn sha256(&self) -> String {
        hex(&self.contents.sha256)
    }
}
