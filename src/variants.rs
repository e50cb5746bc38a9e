//! Renditions of images, each made once: from memory, from the bucket, or rendered from the bucket's
//! original or from a master of it.
//!
//! Every way in takes a [`Permit`], and the permit alone knows where the original lies.

mod background;
mod bucket;
mod describe;
mod master;
mod representation;
mod stream;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use moka::future::Cache;
use thiserror::Error;
use tokio::time::timeout;

pub use self::{
    background::Freshness,
    representation::Representation,
    stream::{File, Streamed},
};

use self::background::Background;
use crate::{
    access::{Contents, Permit},
    budget::Budget,
    client::Client,
    db::Db,
    gate::{Gate, GateError, Pass, Place},
    id::{BlobKey, ImageId},
    log,
    metrics::{Metrics, Read, ReadOutcome},
    render::{self, Format, Limits, Masters, Plan, RenderError, Size, cost},
    store::{Object, Store, StoreError},
    wait::Wait,
};

/// Bytes that a cache entry costs besides its body: key, headers and bookkeeping.
const ENTRY_OVERHEAD_BYTES: usize = 4096;

/// One rendition's bytes with what is said of them.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The body.
    pub bytes: Bytes,
    /// What its headers say.
    pub about: Representation,
    format: Format,
    contents: Contents,
}

impl Variant {
    fn new(bytes: Bytes, format: Format) -> Self {
        let contents = Contents::of(&bytes);
        Self { about: Representation::new(&contents, format), bytes, format, contents }
    }
}

/// Which rendition of an image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// The uploaded picture without its metadata.
    Original,
    /// A rendered one.
    Rendered(Plan),
}

/// Where a rendition came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// It was in memory, or another request was fetching it already.
    Memory,
    /// It was read from the bucket.
    Bucket,
    /// It was rendered for this request, which took this long.
    Render(Duration),
}

impl Tier {
    /// Its name in metrics, headers and the log.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Bucket => "bucket",
            Self::Render(_) => "render",
        }
    }
}

/// Why there is no rendition; all who wait for one share it.
#[derive(Debug, Error)]
pub enum VariantError {
    /// Too many wait already, or the render panicked.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The bucket failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The render failed.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// It takes too much memory to be made while others wait for renders.
    #[error("the rendition takes more than half of the memory for renders")]
    TooDear,
    /// It is not ready after as long as somebody is let wait.
    #[error("the rendition is not ready yet")]
    NotReady,
    /// What others wait for too failed.
    #[error(transparent)]
    Shared(Arc<VariantError>),
}

type Key = (ImageId, What);

/// The cache of renditions and what fills it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Variants {
    cache: Cache<Key, Arc<Variant>, RandomState>,
    source: Arc<Source>,
    background: Background,
}

#[derive(Debug)]
struct Source {
    store: Store,
    renders: Gate,
    fetches: Gate,
    memory: Budget,
    render_timeout: Duration,
    limits: Limits,
    max_source_bytes: u64,
    max_kept_bytes: u64,
    streams: Gate,
    streams_wait: Duration,
    masters: master::Maker,
    describer: describe::Describer,
    tier: bucket::Tier,
    metrics: Metrics,
}

/// What renditions are made from: an image's bytes, as a [`Permit`] knows them.
#[derive(Clone, Debug)]
struct Original {
    blob: BlobKey,
    contents: Option<Contents>,
    format: Format,
    size: Size,
    masters: Masters,
}

/// For whom a rendition is made.
#[derive(Debug)]
enum For {
    /// Somebody who waits for it.
    Client(Client),
    /// Nobody: this is leave to make it behind all who wait.
    Nobody(Pass),
}

/// What a render may work on a core by.
#[derive(Debug)]
enum Leave {
    /// Its place in the queue.
    Place(Place),
    /// It has its turn already.
    Pass(Pass),
}

impl Leave {
    /// Leave to work on a core. Nobody may wait for the bucket with it.
    async fn turn(&self) -> Result<Pass, GateError> {
        match self {
            Self::Place(place) => place.turn().await,
            Self::Pass(pass) => Ok(pass.clone()),
        }
    }
}

impl Original {
    fn of(permit: &Permit) -> Self {
        Self {
            blob: permit.blob().clone(),
            contents: permit.original().copied(),
            format: permit.format(),
            size: permit.size(),
            masters: permit.masters().clone(),
        }
    }
}

/// What bounds the making of renditions.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Renders that somebody waits for.
    pub renders: Gate,
    /// Renders that nobody waits for; none are made without it.
    pub background: Option<Gate>,
    /// Sources read from the bucket at once.
    pub fetches: Gate,
    /// What they may hold in memory while they are rendered.
    pub memory: Budget,
    /// How long a render may take, and somebody may wait for one.
    pub render_timeout: Duration,
    /// What one picture may cost.
    pub limits: Limits,
    /// The largest source, in bytes.
    pub max_source_bytes: u64,
    /// The largest original that is kept in memory, in bytes; others are streamed.
    pub max_kept_bytes: u64,
    /// Files streamed from the bucket to clients at once.
    pub streams: Gate,
    /// How long somebody may wait for that.
    pub streams_wait: Duration,
    /// How much of what was made is kept in memory, in bytes.
    pub memory_bytes: u64,
    /// Seconds after which a write to the bucket is over, one way or the other.
    pub write_secs: u64,
    /// Renditions written into the bucket at once.
    pub writes: Gate,
    /// Renditions read from there at once.
    pub reads: Gate,
    /// Seconds that they are kept there; 0: they are neither written nor looked for.
    pub bucket_ttl_secs: u64,
}

impl Variants {
    /// An empty cache, and what fills it.
    pub fn new(db: Db, store: Store, bounds: Bounds, metrics: Metrics) -> Self {
        let Bounds { renders, background, fetches, memory, render_timeout, limits, .. } = bounds;
        let Bounds { max_source_bytes, max_kept_bytes, streams, streams_wait, .. } = bounds;
        let Bounds { memory_bytes, write_secs, writes, reads, bucket_ttl_secs, .. } = bounds;
        let cache = Cache::builder()
            .max_capacity(memory_bytes)
            .weigher(|_, variant: &Arc<Variant>| {
                u32::try_from(variant.bytes.len() + ENTRY_OVERHEAD_BYTES).unwrap_or(u32::MAX)
            })
            .support_invalidation_closures()
            .build_with_hasher(RandomState::default());
        let background = Background::new(background, metrics.clone());
        let source = Source {
            store,
            renders,
            fetches,
            memory,
            render_timeout,
            limits,
            max_source_bytes,
            max_kept_bytes,
            streams,
            streams_wait,
            masters: master::Maker::new(db.clone(), write_secs),
            describer: describe::Describer::new(db.clone()),
            tier: bucket::Tier::new(db, bucket_ttl_secs, write_secs, writes, reads),
            metrics,
        };
        Self { cache, source: Arc::new(source), background }
    }

    /// One rendition of the permitted image. Requests for the same one that come meanwhile share the work,
    /// which goes on, and is kept, when nobody waits for it any more.
    pub async fn get(
        &self,
        permit: &Permit,
        what: What,
        client: Client,
        wait: Wait,
    ) -> Result<(Arc<Variant>, Tier), Arc<VariantError>> {
        let key = (permit.image(), what);
        if let Some(variant) = self.cache.get(&key).await {
            return Ok((variant, Tier::Memory));
        }
        wait.begin().await;
        // Boxed, so that whoever finds it in memory does not carry this about.
        Box::pin(self.find(permit, key, client)).await
    }

    async fn find(
        &self,
        permit: &Permit,
        key: Key,
        client: Client,
    ) -> Result<(Arc<Variant>, Tier), Arc<VariantError>> {
        let what = key.1.clone();
        let (cache, source) = (self.cache.clone(), Arc::clone(&self.source));
        let original = Original::of(permit);
        // A task of its own: what was begun is finished and kept, even when all who asked have hung up.
        let flight = tokio::spawn(log::carry(async move {
            let (mut tier, mut joined) = (Tier::Memory, true);
            let fill = async {
                joined = false;
                let (variant, came_from) =
                    Box::pin(source.bring(&original, what, For::Client(client))).await?;
                tier = came_from;
                Ok::<_, VariantError>(Arc::new(variant))
            };
            let found = cache.try_get_with(key, fill).await;
            if joined {
                source.metrics.coalesced();
            }
            Ok((found?, tier))
        }));
        let landed = timeout(self.source.render_timeout, flight).await;
        let landed = landed.map_err(|_| Arc::new(VariantError::NotReady))?;
        landed.map_err(|_| Arc::new(GateError::Panicked.into()))?
    }

    /// Waits until what was rendered is in the bucket, as far as it will be.
    pub async fn written(&self) {
        self.source.tier.written().await;
    }

    /// Drops what memory holds of an image that is gone.
    pub fn forget(&self, image: ImageId) {
        // The only error is a cache built without closures, which this one is not.
        drop(self.cache.invalidate_entries_if(move |(id, _), _| *id == image));
    }
}

impl Source {
    /// Brings a rendition: from the bucket, or made.
    async fn bring(
        self: &Arc<Self>,
        original: &Original,
        what: What,
        whom: For,
    ) -> Result<(Variant, Tier), VariantError> {
        let What::Rendered(plan) = what else {
            let fetching = self.fetches.enter().await?;
            let whole = self.whole(original).await?;
            drop(fetching);
            return Ok((whole, Tier::Bucket));
        };
        // Boxed, and the other one too, so that this future is as small as may be.
        if let Some(stored) = Box::pin(self.stored(original, &plan)).await {
            return Ok((stored, Tier::Bucket));
        }
        let (variant, took) = Box::pin(self.make(original, plan.clone(), whom)).await?;
        self.keep_behind(original, &plan, &variant);
        Ok((variant, Tier::Render(took)))
    }

    /// Fetches and renders; how long that took.
    async fn make(
        &self,
        original: &Original,
        plan: Plan,
        whom: For,
    ) -> Result<(Variant, Duration), VariantError> {
        let (limits, allowed) = (self.limits, self.render_timeout);
        let is_awaited = matches!(whom, For::Client(_));
        let leave = match whom {
            // Before anything is read: what is shed costs nothing.
            For::Client(client) => Leave::Place(self.renders.queue_for(client)?),
            For::Nobody(pass) => Leave::Pass(pass),
        };
        let (source, pass, format, size) = if let Some(rung) = original.masters.fit_for(original.size, &plan)
        {
            // Boxed, since what makes an absent master is a large future, and seldom needed.
            let master = Box::pin(self.master(original, rung, &leave)).await?;
            (master, leave.turn().await?, original.masters.format(), Some(original.size))
        } else {
            let fetching = self.fetches.enter().await?;
            let source = self.original(original).await?;
            let pass = leave.turn().await?;
            // Not before: no more originals wait for a core than may be fetched.
            drop(fetching);
            (source, pass, original.format, None)
        };
        let (file, wanted) = (source.clone(), plan.clone());
        let bytes = pass.run(move || cost::of_variant(&file, format, size, &wanted, &limits)).await?;
        // It would keep those who wait waiting until all is free, and then as long as it takes.
        if !is_awaited && !self.memory.has_twice(bytes) {
            return Err(VariantError::TooDear);
        }
        let render = move || {
            let started = Instant::now();
            let keep_going = || started.elapsed() < allowed;
            let rendered = render::render_while(&source, format, size, &plan, &limits, &keep_going);
            rendered.map(|rendered| (rendered, started.elapsed()))
        };
        let (rendered, took) = self.memory.run(&pass, bytes, render).await??;
        if is_awaited {
            self.metrics.rendered(took);
        }
        Ok((Variant::new(rendered.bytes.into(), rendered.format), took))
    }

    /// An original as it is served: the very bytes that the ledger says it has.
    async fn whole(&self, original: &Original) -> Result<Variant, StoreError> {
        let object = Object::original(&original.blob, original.format.content_type());
        let most = original.contents.map_or(self.max_source_bytes, |contents| contents.bytes);
        let read = match self.store.get(&object, most).await {
            Err(StoreError::TooLarge { key, .. }) => Err(StoreError::Damaged { key }),
            read => read.map(|bytes| Variant::new(bytes, original.format)),
        };
        let is_right = |whole: &Variant| original.contents.is_none_or(|contents| contents == whole.contents);
        let read = read.and_then(|whole| {
            if is_right(&whole) { Ok(whole) } else { Err(StoreError::Damaged { key: object.key() }) }
        });
        self.metrics.read(Read::Original, read.as_ref().map_or_else(outcome_of, |_| ReadOutcome::Found));
        read
    }

    /// An original to make something from.
    async fn original(&self, original: &Original) -> Result<Bytes, StoreError> {
        let object = Object::original(&original.blob, original.format.content_type());
        self.read(Read::Original, &object).await
    }

    /// Reads what renditions are made from.
    async fn read(&self, what: Read, object: &Object) -> Result<Bytes, StoreError> {
        let found = self.store.get(object, self.max_source_bytes).await;
        self.metrics.read(what, found.as_ref().map_or_else(outcome_of, |_| ReadOutcome::Found));
        found
    }
}

/// What a failed read is counted as.
fn outcome_of(error: &StoreError) -> ReadOutcome {
    match error {
        StoreError::Missing { .. } => ReadOutcome::Missing,
        StoreError::TooLarge { .. } | StoreError::Damaged { .. } => ReadOutcome::Foreign,
        _ => ReadOutcome::Failed,
    }
}
