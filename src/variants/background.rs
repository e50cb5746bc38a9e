//! Renditions that take longer than anybody should wait: made behind the requests, a few at a time, and
//! served once they are there.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moka::future::Cache;

use super::{ENTRY_OVERHEAD_BYTES, For, Key, Original, Tier, Variant, VariantError, Variants, What};
use crate::{
    access::Permit,
    client::Client,
    gate::Gate,
    log,
    metrics::{Behind, Metrics},
    render::RenderError,
    store::StoreError,
    wait::Wait,
};

/// How long a rendition is not tried again, be it that it failed or that memory let go of it already.
const REST: Duration = Duration::from_mins(10);
/// How many such renditions are remembered.
const MAX_RESTING: u64 = 10_000;

/// How long it is remembered that the bucket has no better rendition, so that not everybody who gets another
/// one meanwhile asks.
const ABSENT: Duration = Duration::from_secs(10);
/// How many bytes that may take; a rendition that was found is in there for a moment.
const MAX_ABSENT_BYTES: u64 = 16 << 20;

/// Whether an answer is the one that its URL stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It is.
    Settled,
    /// A better one will be there soon.
    Interim,
}

/// What is made in the background; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Background {
    gate: Option<Gate>,
    /// No more than pass the gate.
    under_way: Arc<Mutex<HashSet<Key>>>,
    /// What was made or failed a short while ago.
    resting: Cache<Key, ()>,
    /// What was looked for in the bucket a moment ago, and is not there; or is being looked for.
    absent: Cache<Key, Option<Arc<Variant>>>,
    metrics: Metrics,
}

impl Background {
    /// Without a gate, nothing is ever made.
    pub(super) fn new(gate: Option<Gate>, metrics: Metrics) -> Self {
        let resting = Cache::builder().max_capacity(MAX_RESTING).time_to_live(REST).build();
        let absent = Cache::builder()
            .max_capacity(MAX_ABSENT_BYTES)
            .weigher(|_, found: &Option<Arc<Variant>>| {
                let body = found.as_ref().map_or(0, |variant| variant.bytes.len());
                u32::try_from(body + ENTRY_OVERHEAD_BYTES).unwrap_or(u32::MAX)
            })
            .time_to_live(ABSENT)
            .build();
        Self { gate, under_way: Arc::default(), resting, absent, metrics }
    }

    /// True for the first who says so, until he is done.
    fn begin(&self, key: &Key) -> bool {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone())
    }

    fn done(&self, key: &Key) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl Variants {
    /// The best rendition if it is at hand, in memory or in the bucket; else another one at once, and the
    /// best is made in the background for those who ask later.
    pub async fn get_best(
        &self,
        permit: &Permit,
        best: What,
        interim: What,
        client: Client,
        wait: Wait,
    ) -> Result<(Arc<Variant>, Tier, Freshness), Arc<VariantError>> {
        let key = (permit.image(), best);
        if let Some(variant) = self.cache.get(&key).await {
            return Ok((variant, Tier::Memory, Freshness::Settled));
        }
        // What is read, and what is made behind the answer, is for the workers.
        wait.begin().await;
        if let Some((variant, tier)) = Box::pin(self.stored(permit, &key)).await {
            return Ok((variant, tier, Freshness::Settled));
        }
        let (variant, tier) = self.get(permit, interim, client, wait).await?;
        // Only now, so that it does not compete with this request's own render.
        Ok((variant, tier, self.make_behind(permit, key)))
    }

    /// A rendition out of the bucket, which all who ask meanwhile look for once. Not in its own flight: who
    /// asks for it by name waits there for a render, and not for this to find nothing.
    async fn stored(&self, permit: &Permit, key: &Key) -> Option<(Arc<Variant>, Tier)> {
        let What::Rendered(plan) = &key.1 else { return None };
        let Background { absent, .. } = &self.background;
        // Boxed: the cache moves it about.
        let looking = Box::pin(async {
            let found = self.source.stored(&Original::of(permit), plan).await.map(Arc::new);
            if let Some(variant) = &found {
                self.cache.insert(key.clone(), Arc::clone(variant)).await;
            }
            found
        });
        let entry = absent.entry_by_ref(key).or_insert_with(looking).await;
        let tier = if entry.is_fresh() { Tier::Bucket } else { Tier::Memory };
        let variant = entry.into_value()?;
        if tier == Tier::Memory {
            self.source.metrics.coalesced();
        }
        // From here on memory has it, and alone.
        absent.invalidate(key).await;
        Some((variant, tier))
    }

    /// Sees to it that a rendition is made, unless it has been lately or is being made already.
    fn make_behind(&self, permit: &Permit, key: Key) -> Freshness {
        let Some(gate) = self.background.gate.clone() else { return Freshness::Settled };
        if self.background.resting.contains_key(&key) {
            // It may have been finished just now.
            let is_there = self.cache.contains_key(&key);
            return if is_there { Freshness::Interim } else { Freshness::Settled };
        }
        if self.background.begin(&key) {
            let (variants, original) = (self.clone(), Original::of(permit));
            tokio::spawn(log::carry(async move {
                let outcome = variants.make(&gate, &key, &original).await;
                variants.background.metrics.made_behind(outcome);
                if outcome != Behind::Shed {
                    variants.background.resting.insert(key.clone(), ()).await;
                }
                variants.background.done(&key);
            }));
        }
        Freshness::Interim
    }

    async fn make(&self, gate: &Gate, key: &Key, original: &Original) -> Behind {
        // Outside of the flight: who asks for it by name meanwhile must not wait in this queue.
        let Ok(pass) = gate.enter().await else { return Behind::Shed };
        // Who waits for a render goes first.
        self.source.renders.quiet().await;
        let fill = async {
            let (variant, _) =
                Box::pin(self.source.bring(original, key.1.clone(), For::Nobody(pass))).await?;
            Ok::<_, VariantError>(Arc::new(variant))
        };
        let Err(error) = self.cache.try_get_with(key.clone(), fill).await else { return Behind::Made };
        let image = key.0;
        match &*error {
            // It was deleted meanwhile; it is not to be had at this size, or not in this memory.
            VariantError::Store(StoreError::Missing { .. })
            | VariantError::TooDear
            | VariantError::Render(RenderError::AvifTooLarge { .. }) => {
                tracing::debug!("nothing was rendered in the background of {image}: {error}");
            }
            _ => tracing::warn!("rendering {image} in the background failed: {error}"),
        }
        Behind::Failed
    }
}
