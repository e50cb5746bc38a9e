//! Everything shared, built once and passed explicitly.

pub mod catalogue;
pub mod decisions;
pub mod keys;
pub mod queues;
pub mod requests;

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

use crate::{
    budget::Budget,
    client::Clients,
    clock,
    config::Config,
    db::{Db, DbError},
    fetch::{FetchError, Fetcher},
    gate::Gate,
    identity::{Identity, IdentityError},
    ingest::{self, Ingest},
    issuer::{Issuer, IssuerError},
    link,
    metrics::Metrics,
    openapi,
    rate::Rates,
    render::{Catalogue, Limits, Rendition},
    rights::Rights,
    store::{Store, StoreError},
    variants::{self, Variants},
    work::{Probe, Purger, Sweeper},
};

/// The running program's parts.
#[derive(Debug)]
pub struct App {
    /// The settings, checked.
    pub config: Config,
    /// The ledger.
    pub db: Db,
    /// What decisions rest on.
    pub rights: Rights,
    /// The private bucket.
    pub store: Store,
    /// The way in.
    pub ingest: Ingest,
    /// The way out.
    pub variants: Variants,
    /// The presets and watermarks that options may name.
    pub catalogue: Catalogue,
    /// What takes out what is over.
    pub sweeper: Sweeper,
    /// What tells edges, if there are any.
    pub purger: Option<Arc<Purger>>,
    /// The keys of signed links.
    pub links: Arc<keys::LinkKeys>,
    /// Which client is which.
    pub clients: Clients,
    /// Who asks too often.
    pub rates: Rates,
    /// Who is who.
    pub identity: Identity,
    /// Where the keys of users' tokens are published, if they are.
    pub issuer: Issuer,
    /// The description of all that can be asked for.
    pub description: openapi::Document,
    /// What was decided.
    pub decisions: decisions::Decisions,
    /// What was asked.
    pub requests: requests::RequestLog,
    /// What an operator can measure.
    pub metrics: Metrics,
    /// Room for requests with an idempotency key, which go on when their clients hang up.
    pub keyed: Gate,
    /// The queues for work.
    pub queues: queues::Queues,
    /// Where everything is done that is not answered from memory.
    pub workers: Handle,
    /// Whether this is `pinhole dev`: demo page, demo users, loopback hosts alone.
    pub dev: bool,
    draining: AtomicBool,
}

/// Why the program cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The link keys are unusable.
    #[error(transparent)]
    Links(#[from] keys::LoadError),
    /// The secrets of identity are unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The published keys of tokens are unusable.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// A preset or a watermark is unusable.
    #[error(transparent)]
    Catalogue(#[from] catalogue::LoadError),
    /// The API's description cannot be read.
    #[error("the description of the API: {0}")]
    Description(#[from] serde_json::Error),
    /// Edges cannot be reached.
    #[error("edge: {0}")]
    Edge(#[from] FetchError),
    /// What the probe is to ask for is nothing.
    #[error("edge.probe.options: {0}")]
    Probe(String),
}

impl App {
    /// Puts the parts together, on the runtime that is to do the work. The database must be migrated and the
    /// bucket reachable.
    pub fn new(config: Config, db: Db, store: Store, dev: bool) -> Result<Self, StartError> {
        let metrics = Metrics::new(db.calls(), store.calls());
        let limits = limits(&config);
        let work = config.work.clone();
        let memory = Budget::new(work.render_memory_bytes);
        let mut queues = queues::Queues::new(metrics.clone(), memory.clone());
        let bounds = variants::Bounds {
            renders: queues.gate("renders", one_a_core(work.renders), work.renders_waiting),
            background: (work.background_renders > 0)
                .then(|| queues.gate("background_renders", work.background_renders, work.background_waiting)),
            fetches: queues.gate("fetches", work.fetches, work.fetches_waiting),
            memory: memory.clone(),
            render_timeout: Duration::from_secs(work.render_timeout_secs),
            limits,
            max_source_bytes: config.upload.max_bytes,
            max_kept_bytes: config.cache.max_original_bytes,
            streams: queues.gate("streams", work.streams, work.streams_waiting).with_turns(work.streams / 2),
            streams_wait: Duration::from_secs(work.streams_wait_secs),
            memory_bytes: config.cache.memory_bytes,
            write_secs: config.bucket.operation_timeout_secs.saturating_mul(2),
            writes: queues.gate("writes", work.writes, work.writes_waiting),
            reads: queues.gate("variant_reads", work.variant_reads, work.variant_reads_waiting),
            bucket_ttl_secs: config.cache.bucket_ttl_secs,
        };
        let variants = Variants::new(db.clone(), store.clone(), bounds, metrics.clone());
        let sweeper =
            Sweeper::new(db.clone(), store.clone(), Some(variants.clone()), config.upload.unattached_secs);
        let catalogue = catalogue::load(&config.transform)?;
        let links = Arc::new(keys::LinkKeys::load(&config.links)?);
        let purger = purger(&config, &db, &links, &catalogue, &metrics)?;
        Ok(Self {
            links,
            purger: purger.map(Arc::new),
            clients: Clients::new(config.server.client_address_header.clone()),
            rates: Rates::new(&config.rate),
            identity: Identity::new(&config, dev)?,
            issuer: Issuer::new(&config.auth)?,
            ingest: Ingest::new(
                db.clone(),
                store.clone(),
                sweeper.clone(),
                ingest::Gates {
                    ingests: queues.gate("ingests", one_a_core(work.ingests), work.ingests_waiting),
                    completions: queues.gate("completions", work.completions, work.completions_waiting),
                    receives: queues.gate("receives", work.receives, 0),
                    memory,
                },
                limits,
                rules(&config),
            ),
            rights: Rights::new(db.clone(), &config.cache),
            description: description(&config)?,
            sweeper,
            variants,
            catalogue,
            decisions: decisions::Decisions::new(metrics.clone(), config.log.decisions_one_in),
            requests: requests::RequestLog::new(&config.log),
            metrics,
            keyed: queues.gate("keyed", work.keyed, 0),
            workers: Handle::current(),
            queues,
            config,
            db,
            store,
            dev,
            draining: AtomicBool::new(false),
        })
    }

    /// Says that no new work should come here: the readiness probe turns red.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether it is being shut down.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Waits for requests with an idempotency key whose clients have hung up, so that their outcomes are
    /// kept, and for variants on their way into the bucket. Nobody may be accepting requests any more.
    pub async fn finish(&self, give_up: Instant) {
        if timeout_at(give_up, self.keyed.empty()).await.is_err() {
            tracing::warn!("requests with an idempotency key were still under way; they are cut off");
        }
        // Lost, they would be rendered again.
        let _ = timeout_at(give_up, self.variants.written()).await;
    }

    /// Whether the ledger and the bucket answer.
    pub async fn ready(&self) -> Result<(), NotReady> {
        self.db.ping().await?;
        self.store.ping().await?;
        Ok(())
    }
}

/// Which of the things it stands on is away.
#[derive(Debug, Error)]
pub enum NotReady {
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The bucket.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What tells edges, and watches whether they have heard.
fn purger(
    config: &Config,
    db: &Db,
    links: &Arc<keys::LinkKeys>,
    catalogue: &Catalogue,
    metrics: &Metrics,
) -> Result<Option<Purger>, StartError> {
    if config.edge.targets.is_empty() {
        return Ok(None);
    }
    let fetcher = Fetcher::new(config.edge.at_once)?;
    let options = &config.edge.probe.options;
    let rendition =
        Rendition::parse(options, catalogue).map_err(|error| StartError::Probe(error.to_string()))?;
    let (options, ring, settings) = (rendition.canonical(), Arc::clone(links), config.links.clone());
    // As it is minted for whoever asks for no other time.
    let link = move |image, epoch| {
        let now_secs = clock::secs_up(clock::now_micros());
        let exp_secs = link::windowed_exp(image, now_secs, settings.default_secs, settings.window_secs);
        link::sign(&ring.ring(), &format!("/i/{image}/{options}"), exp_secs, epoch)
    };
    // Where an app's own version is part of epochs, nobody here knows what it was.
    let probe = if db.rules().are_the_apps() {
        None
    } else {
        Probe::new(&config.edge.probe, Arc::new(link), fetcher.clone(), metrics.edge().clone())
    };
    Ok(Some(Purger::new(db.clone(), config, fetcher, probe, metrics.edge().clone())))
}

fn description(config: &Config) -> Result<openapi::Document, serde_json::Error> {
    let presets: Vec<&str> = config.transform.presets.keys().map(String::as_str).collect();
    let watermarks: Vec<&str> = config.transform.watermarks.keys().map(String::as_str).collect();
    openapi::Document::new(openapi::Facts {
        public_url: &config.server.public_url,
        max_file_bytes: config.upload.max_bytes,
        presets: &presets,
        watermarks: &watermarks,
        max_link_secs: config.links.max_service_secs,
    })
}

/// What a picture may be at most, coming in and going out.
pub(crate) fn limits(config: &Config) -> Limits {
    Limits {
        max_pixels: config.upload.max_pixels,
        max_animation_pixels: config.upload.max_animation_pixels,
        max_frames: config.upload.max_frames,
        max_output_side: config.transform.max_side,
        max_output_pixels: config.transform.max_pixels,
        max_avif_pixels: config.transform.max_avif_pixels,
        ..Limits::default()
    }
}

/// What may come in.
pub(crate) fn rules(config: &Config) -> ingest::Rules {
    ingest::Rules { upload: config.upload.clone(), quota: config.quota, masters: config.masters.clone() }
}

/// A setting that is so many, or one for each core.
pub(crate) fn one_a_core(setting: usize) -> usize {
    if setting > 0 { setting } else { thread::available_parallelism().map_or(1, NonZeroUsize::get) }
}
