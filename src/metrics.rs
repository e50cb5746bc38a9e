//! What an operator can measure, in the text formats of Prometheus.

pub mod calls;
mod edge;
mod process;
mod queues;
mod text;

use self::process::Process;
pub use self::{
    calls::Calls,
    edge::{Edge, Told},
    queues::Queues,
};

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// All metrics; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter>,
    seconds: Seconds,
    hits: Family<TierLabels, Counter>,
    image_seconds: TierSeconds,
    renders: Histogram,
    background: Family<BehindLabels, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    links: Family<LinkLabels, Counter>,
    coalesced: Counter,
    bucket: Family<BucketLabels, Counter>,
    variants_written: Family<BehindLabels, Counter>,
    problems: Family<ProblemLabels, Counter>,
    queues: Queues,
    often: Often,
    edge: Edge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProblemLabels {
    status: u16,
    code: &'static str,
}

/// The route of images, as `web` labels it.
const IMAGE: &str = "image";
/// What is in memory, as `web` labels it.
const MEMORY: &str = "memory";
/// The verdict on somebody who may see an image.
pub const GRANTED: &str = "granted";
/// The verdict on a link that may be followed.
pub const GOOD: &str = "good";

/// What is counted for every image from memory: looking the counters up by their labels would take longer than
/// the rest of the counting.
#[derive(Clone, Debug)]
struct Often {
    image_ok: Counter,
    image_seconds: Histogram,
    memory: Counter,
    memory_seconds: Histogram,
    public: Counter,
    by_link: Counter,
    by_session: Counter,
    good_link: Counter,
}

impl Often {
    fn of(
        requests: &Family<RequestLabels, Counter>,
        seconds: &Seconds,
        (hits, tiers): (&Family<TierLabels, Counter>, &TierSeconds),
        decisions: &Family<DecisionLabels, Counter>,
        links: &Family<LinkLabels, Counter>,
    ) -> Self {
        let granted = |reason| decisions.get_or_create(&DecisionLabels { verdict: GRANTED, reason }).clone();
        let ok = RequestLabels { route: IMAGE, status: StatusCode::OK.as_u16() };
        Self {
            image_ok: requests.get_or_create(&ok).clone(),
            image_seconds: seconds.get_or_create(&RouteLabels { route: IMAGE }).clone(),
            memory: hits.get_or_create(&TierLabels { tier: MEMORY }).clone(),
            memory_seconds: tiers.get_or_create(&TierLabels { tier: MEMORY }).clone(),
            public: granted("public"),
            by_link: granted("link"),
            by_session: granted("session"),
            good_link: links.get_or_create(&LinkLabels { verdict: GOOD }).clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    verdict: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LinkLabels {
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

type Seconds = Family<RouteLabels, Histogram, fn() -> Histogram>;
type TierSeconds = Family<TierLabels, Histogram, fn() -> Histogram>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TierLabels {
    tier: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BehindLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BucketLabels {
    op: &'static str,
    outcome: &'static str,
}

/// What was read from the bucket to serve an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// An original.
    Original,
    /// A file as it was uploaded.
    Raw,
    /// A master.
    Master,
    /// A variant.
    Variant,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// It is there.
    Found,
    /// It is not there.
    Missing,
    /// It is not what was written there.
    Foreign,
    /// It did not come in time.
    TookTooLong,
    /// The bucket failed.
    Failed,
}

/// What became of a variant that was to be written into the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there.
    Written,
    /// Its image was deleted, or somebody else is writing it.
    NotWanted,
    /// Too many waited already.
    Dropped,
    /// It has more bytes than are kept.
    TooLarge,
    /// Bucket or ledger failed.
    Failed,
}

/// What became of a render that nobody waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// It was made, or somebody else had made it.
    Made,
    /// It failed.
    Failed,
    /// Too many waited already.
    Shed,
}

impl Metrics {
    /// Nothing counted yet, but for what the ledger and the bucket were asked.
    pub fn new(database: &Calls, bucket: &Calls) -> Self {
        let mut root = Registry::default();
        root.register_collector(Box::new(Process::this()));
        let registry = root.sub_registry_with_prefix("pinhole");
        database.register(
            registry,
            "database_call_seconds",
            "Seconds that the database took, by what it was asked and what came of it",
        );
        bucket.register(
            registry,
            "bucket_call_seconds",
            "Seconds until the bucket answered, by what it was asked and what came of it",
        );
        let requests = Family::default();
        registry.register("http_requests", "Requests answered, by route and status", requests.clone());
        let seconds = Seconds::new_with_constructor(|| Histogram::new(exponential_buckets(0.0001, 4.0, 10)));
        registry.register(
            "http_request_seconds",
            "Seconds until a request's answer began, by route",
            seconds.clone(),
        );
        let hits = Family::default();
        registry.register("images_served", "Images served, by where the bytes came from", hits.clone());
        let image_seconds =
            TierSeconds::new_with_constructor(|| Histogram::new(exponential_buckets(0.0001, 4.0, 10)));
        registry.register(
            "image_seconds",
            "Seconds until an image's answer began, by where the bytes came from",
            image_seconds.clone(),
        );
        let renders = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        registry.register(
            "render_seconds",
            "Seconds that a render took which somebody waited for",
            renders.clone(),
        );
        let background = Family::default();
        registry.register(
            "background_renders",
            "Renders that nobody waited for, by what became of them",
            background.clone(),
        );
        let decisions = Family::default();
        registry.register("decisions", "Decisions about images, by verdict and reason", decisions.clone());
        let links = Family::default();
        registry.register(
            "links",
            "Signed links that were followed, by what they were found to be",
            links.clone(),
        );
        let often = Often::of(&requests, &seconds, (&hits, &image_seconds), &decisions, &links);
        let coalesced = Counter::default();
        registry.register(
            "coalesced",
            "Requests for an image that joined another one's read or render",
            coalesced.clone(),
        );
        let bucket = Family::default();
        registry.register(
            "bucket_operations",
            "Reads from the bucket to serve images, by what was read and what came of it",
            bucket.clone(),
        );
        let problems = Family::default();
        registry.register("problems", "Problems answered, by status and code", problems.clone());
        let variants_written = Family::default();
        registry.register(
            "variants_written",
            "Variants that were to be written into the bucket, by what became of them",
            variants_written.clone(),
        );
        let queues = Queues::register(registry);
        let edge = Edge::register(registry);
        Self {
            registry: Arc::new(root),
            requests,
            seconds,
            hits,
            image_seconds,
            renders,
            background,
            decisions,
            links,
            coalesced,
            bucket,
            variants_written,
            problems,
            queues,
            often,
            edge,
        }
    }

    /// What concerns queues.
    pub fn queues(&self) -> &Queues {
        &self.queues
    }

    /// What concerns edges.
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// A request was answered, after so long; its body may still be on the way.
    pub fn answered(&self, route: &'static str, status: StatusCode, took: Duration) {
        match route {
            IMAGE => self.often.image_seconds.observe(took.as_secs_f64()),
            _ => self.seconds.get_or_create(&RouteLabels { route }).observe(took.as_secs_f64()),
        }
        match (route, status) {
            (IMAGE, StatusCode::OK) => self.often.image_ok.inc(),
            _ => self.requests.get_or_create(&RequestLabels { route, status: status.as_u16() }).inc(),
        };
    }

    /// A request was answered with a problem document.
    pub fn refused(&self, status: StatusCode, code: &'static str) {
        self.problems.get_or_create(&ProblemLabels { status: status.as_u16(), code }).inc();
    }

    /// An image was served from a tier; so long it took until its answer could begin.
    pub fn served(&self, tier: &'static str, took: Duration) {
        if tier == MEMORY {
            self.often.memory.inc();
            self.often.memory_seconds.observe(took.as_secs_f64());
        } else {
            self.hits.get_or_create(&TierLabels { tier }).inc();
            self.image_seconds.get_or_create(&TierLabels { tier }).observe(took.as_secs_f64());
        }
    }

    /// A variant was rendered while somebody waited.
    pub fn rendered(&self, took: Duration) {
        self.renders.observe(took.as_secs_f64());
    }

    /// A render that nobody waited for came to its end.
    pub fn made_behind(&self, outcome: Behind) {
        let outcome = match outcome {
            Behind::Made => "made",
            Behind::Failed => "failed",
            Behind::Shed => "shed",
        };
        self.background.get_or_create(&BehindLabels { outcome }).inc();
    }

    /// A request joined another one's work.
    pub fn coalesced(&self) {
        self.coalesced.inc();
    }

    /// Something was read from the bucket, or was not.
    pub fn read(&self, what: Read, outcome: ReadOutcome) {
        let op = match what {
            Read::Original => "read_original",
            Read::Raw => "read_raw",
            Read::Master => "read_master",
            Read::Variant => "read_variant",
        };
        let outcome = match outcome {
            ReadOutcome::Found => "found",
            ReadOutcome::Missing => "missing",
            ReadOutcome::Foreign => "foreign",
            ReadOutcome::TookTooLong => "took_too_long",
            ReadOutcome::Failed => "failed",
        };
        self.bucket.get_or_create(&BucketLabels { op, outcome }).inc();
    }

    /// A variant was written into the bucket, or was not.
    pub fn written(&self, outcome: Written) {
        let outcome = match outcome {
            Written::Written => "written",
            Written::NotWanted => "not_wanted",
            Written::Dropped => "dropped",
            Written::TooLarge => "too_large",
            Written::Failed => "failed",
        };
        self.variants_written.get_or_create(&BehindLabels { outcome }).inc();
    }

    /// It was decided whether somebody sees an image.
    pub fn decided(&self, verdict: &'static str, reason: &'static str) {
        match (verdict, reason) {
            (GRANTED, "public") => self.often.public.inc(),
            (GRANTED, "link") => self.often.by_link.inc(),
            (GRANTED, "session") => self.often.by_session.inc(),
            _ => self.decisions.get_or_create(&DecisionLabels { verdict, reason }).inc(),
        };
    }

    /// A link was looked at, before anything was asked about its image.
    pub fn link_verified(&self, verdict: &'static str) {
        match verdict {
            GOOD => self.often.good_link.inc(),
            _ => self.links.get_or_create(&LinkLabels { verdict }).inc(),
        };
    }

    /// Everything, as OpenMetrics 1.0 has it.
    pub fn open_metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Everything, as Prometheus' own text format 0.0.4 has it, which more programs read.
    pub fn text(&self) -> String {
        text::older(&self.open_metrics())
    }
}
