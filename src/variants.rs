//! Renditions of images, each made once: from memory, or rendered from the bucket's original.
//!
//! Every way in takes a [`Permit`], and the permit alone knows where the original lies.

mod background;

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
    gate::{Gate, GateError, Pass},
    id::{BlobKey, ImageId},
    metrics::Metrics,
    render::{self, Format, Limits, Plan, RenderError},
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
}

type Key = (ImageId, What);

/// The cache of renditions and what fills it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Variants {
    cache: Cache<Key, Arc<Variant>>,
    source: Arc<Source>,
    background: Background,
}

/// What bounds the work of [`Variants`].
#[derive(Clone, Debug)]
pub struct Gates {
    /// Renders that somebody waits for.
    pub renders: Gate,
    /// Renders that nobody waits for; none are made without it.
    pub background: Option<Gate>,
    /// Originals read from the bucket.
    pub fetches: Gate,
}

#[derive(Debug)]
struct Source {
    store: Store,
    renders: Gate,
    fetches: Gate,
    limits: Limits,
    max_original_bytes: u64,
    metrics: Metrics,
}

impl Variants {
    /// A cache of at most `memory_bytes`; `gates` bound what fills it.
    pub fn new(
        store: Store,
        gates: Gates,
        limits: Limits,
        max_original_bytes: u64,
        memory_bytes: u64,
        metrics: Metrics,
    ) -> Self {
        let cache = Cache::builder()
            .max_capacity(memory_bytes)
            .weigher(|_, variant: &Arc<Variant>| {
                u32::try_from(variant.bytes.len() + ENTRY_OVERHEAD_BYTES).unwrap_or(u32::MAX)
            })
            .support_invalidation_closures()
            .build();
        let Gates { renders, background, fetches } = gates;
        let background = Background::new(background, metrics.clone());
        let source = Source { store, renders, fetches, limits, max_original_bytes, metrics };
        Self { cache, source: Arc::new(source), background }
    }

    /// One rendition of the permitted image. Requests for the same one that come meanwhile share the work.
    pub async fn get(&self, permit: &Permit, what: What) -> Result<(Arc<Variant>, Tier), Arc<VariantError>> {
        let key = (permit.image(), what.clone());
        if let Some(variant) = self.cache.get(&key).await {
            return Ok((variant, Tier::Memory));
        }
        let (cache, source) = (self.cache.clone(), Arc::clone(&self.source));
        let (blob, format) = (permit.blob().clone(), permit.format());
        // A task of its own: what was begun is finished and kept, even when all who asked have hung up.
        let flight = tokio::spawn(async move {
            let mut tier = Tier::Memory;
            let fill = async {
                let (variant, made_by) = source.make(&blob, format, what, None).await?;
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
        blob: &BlobKey,
        format: Format,
        what: What,
        background: Option<Pass>,
    ) -> Result<(Variant, Tier), VariantError> {
        let fetching = match &background {
            None => Some(self.fetches.enter().await?),
            Some(_) => None,
        };
        let object = Object::original(blob, format.content_type());
        let original = self.store.get(&object, self.max_original_bytes).await?;
        let What::Rendered(plan) = what else {
            return Ok((Variant::new(original, format), Tier::Bucket));
        };
        // No core waits for the bucket; and no more originals wait for a core than may be fetched.
        let is_awaited = background.is_none();
        let pass = match background {
            None => self.renders.enter().await?,
            Some(pass) => pass,
        };
        drop(fetching);
        let limits = self.limits;
        let started = Instant::now();
        let rendered = pass.run(move || render::render(&original, format, &plan, &limits)).await??;
        let took = started.elapsed();
        if is_awaited {
            self.metrics.rendered(took);
        }
        Ok((Variant::new(rendered.bytes.into(), rendered.format), Tier::Render(took)))
    }
}
