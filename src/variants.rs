//! Renditions of images, each made once: from memory, or rendered from the bucket's original or from a
//! master of it.
//!
//! Every way in takes a [`Permit`], and the permit alone knows where the original lies.

mod background;
mod master;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::HeaderValue;
use moka::future::Cache;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub use self::background::Freshness;

use self::background::Background;
use crate::{
    access::Permit,
    db::Db,
    gate::{Gate, GateError, Pass},
    id::{BlobKey, ImageId},
    metrics::Metrics,
    render::{self, Format, Limits, Masters, Plan, RenderError, Size},
    store::{Object, Store, StoreError},
};

/// Bytes that a cache entry costs besides its body: key, headers and bookkeeping.
const ENTRY_OVERHEAD_BYTES: usize = 512;

/// One rendition's bytes with the headers that describe them.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The body.
    pub bytes: Bytes,
    /// Its media type.
    pub content_type: HeaderValue,
    /// Its strong validator (RFC 9110 §8.8.3): a hash of these bytes.
    pub etag: HeaderValue,
}

impl Variant {
    fn new(bytes: Bytes, format: Format) -> Self {
        let tag = URL_SAFE_NO_PAD.encode(&Sha256::digest(&bytes)[..16]);
        let etag = HeaderValue::try_from(format!("\"{tag}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { bytes, content_type: HeaderValue::from_static(format.content_type()), etag }
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
    /// What others wait for too failed.
    #[error(transparent)]
    Shared(Arc<VariantError>),
}

type Key = (ImageId, What);

/// The cache of renditions and what fills it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Variants {
    cache: Cache<Key, Arc<Variant>>,
    source: Arc<Source>,
    background: Background,
}

#[derive(Debug)]
struct Source {
    store: Store,
    renders: Gate,
    fetches: Gate,
    limits: Limits,
    max_original_bytes: u64,
    masters: master::Maker,
    metrics: Metrics,
}

/// What renditions are made from: an image's bytes, as a [`Permit`] knows them.
#[derive(Clone, Debug)]
struct Original {
    blob: BlobKey,
    format: Format,
    size: Size,
    masters: Masters,
}

impl Original {
    fn of(permit: &Permit) -> Self {
        Self {
            blob: permit.blob().clone(),
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
    /// What one picture may cost.
    pub limits: Limits,
    /// The largest source, in bytes.
    pub max_original_bytes: u64,
    /// How much is kept in memory, in bytes.
    pub memory_bytes: u64,
    /// Seconds after which a write to the bucket is over, one way or the other.
    pub write_secs: u64,
}

impl Variants {
    /// An empty cache, and what fills it.
    pub fn new(db: Db, store: Store, bounds: Bounds, metrics: Metrics) -> Self {
        let Bounds { renders, background, fetches, limits, max_original_bytes, memory_bytes, write_secs } =
            bounds;
        let cache = Cache::builder()
            .max_capacity(memory_bytes)
            .weigher(|_, variant: &Arc<Variant>| {
                u32::try_from(variant.bytes.len() + ENTRY_OVERHEAD_BYTES).unwrap_or(u32::MAX)
            })
            .support_invalidation_closures()
            .build();
        let background = Background::new(background, metrics.clone());
        let source = Source {
            store,
            renders,
            fetches,
            limits,
            max_original_bytes,
            masters: master::Maker::new(db, write_secs),
            metrics,
        };
        Self { cache, source: Arc::new(source), background }
    }

    /// One rendition of the permitted image. Requests for the same one that come meanwhile share the work.
    pub async fn get(&self, permit: &Permit, what: What) -> Result<(Arc<Variant>, Tier), Arc<VariantError>> {
        let key = (permit.image(), what.clone());
        if let Some(variant) = self.cache.get(&key).await {
            return Ok((variant, Tier::Memory));
        }
        let (cache, source) = (self.cache.clone(), Arc::clone(&self.source));
        let original = Original::of(permit);
        // A task of its own: what was begun is finished and kept, even when all who asked have hung up.
        let flight = tokio::spawn(async move {
            let mut tier = Tier::Memory;
            let fill = async {
                let (variant, made_by) = Box::pin(source.make(&original, what, None)).await?;
                tier = made_by;
                Ok::<_, VariantError>(Arc::new(variant))
            };
            let variant = cache.try_get_with(key, fill).await?;
            Ok((variant, tier))
        });
        flight.await.map_err(|_| Arc::new(GateError::Panicked.into()))?
    }

    /// Drops what memory holds of an image that is gone.
    pub fn forget(&self, image: ImageId) {
        // The only error is a cache built without closures, which this one is not.
        drop(self.cache.invalidate_entries_if(move |(id, _), _| *id == image));
    }
}

impl Source {
    /// Fetches and renders. `background` is the pass of a render that nobody waits for: it takes no
    /// other place.
    async fn make(
        &self,
        original: &Original,
        what: What,
        background: Option<Pass>,
    ) -> Result<(Variant, Tier), VariantError> {
        let What::Rendered(plan) = what else {
            let fetching = self.fetches.enter().await?;
            let bytes = self.original(original).await?;
            drop(fetching);
            return Ok((Variant::new(bytes, original.format), Tier::Bucket));
        };
        let limits = self.limits;
        let is_awaited = background.is_none();
        let (rendered, took) = if let Some(rung) = original.masters.fit_for(original.size, &plan) {
            let (format, size) = (original.masters.format(), original.size);
            // Boxed, since what makes an absent master is a large future, and seldom needed.
            let master = Box::pin(self.master(original, rung)).await?;
            let pass = match background {
                None => self.renders.enter().await?,
                Some(pass) => pass,
            };
            let started = Instant::now();
            let render = move || render::render_from_master(&master, format, size, &plan, &limits);
            (pass.run(render).await??, started.elapsed())
        } else {
            let format = original.format;
            let (source, pass) = match background {
                None => self.original_with_a_turn(original).await?,
                Some(pass) => (self.original(original).await?, pass),
            };
            let started = Instant::now();
            (pass.run(move || render::render(&source, format, &plan, &limits)).await??, started.elapsed())
        };
        if is_awaited {
            self.metrics.rendered(took);
        }
        Ok((Variant::new(rendered.bytes.into(), rendered.format), Tier::Render(took)))
    }

    async fn original(&self, original: &Original) -> Result<Bytes, StoreError> {
        let object = Object::original(&original.blob, original.format.content_type());
        self.store.get(&object, self.max_original_bytes).await
    }

    /// An original, and a core to work on it. No core waits for the bucket; and no more originals wait
    /// for a core than may be fetched.
    async fn original_with_a_turn(&self, original: &Original) -> Result<(Bytes, Pass), VariantError> {
        let fetching = self.fetches.enter().await?;
        let source = self.original(original).await?;
        let pass = self.renders.enter().await?;
        drop(fetching);
        Ok((source, pass))
    }
}
