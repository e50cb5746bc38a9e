//! What an operator can measure, in Prometheus' text format (OpenMetrics 1.0).

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
    hits: Family<TierLabels, Counter>,
    renders: Histogram,
    background: Family<BehindLabels, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    links: Family<LinkLabels, Counter>,
    often: Often,
}

/// The route of images, as `web` labels it.
const IMAGE: &str = "image";
/// The verdict on somebody who may see an image.
pub const GRANTED: &str = "granted";
/// The verdict on a link that may be followed.
pub const GOOD: &str = "good";

/// What is counted for every image from memory: looking the counters up by their labels would take longer than
/// the rest of the counting.
#[derive(Clone, Debug)]
struct Often {
    image_ok: Counter,
    memory: Counter,
    public: Counter,
    by_link: Counter,
    by_session: Counter,
    good_link: Counter,
}

impl Often {
    fn of(
        requests: &Family<RequestLabels, Counter>,
        hits: &Family<TierLabels, Counter>,
        decisions: &Family<DecisionLabels, Counter>,
        links: &Family<LinkLabels, Counter>,
    ) -> Self {
        let granted = |reason| decisions.get_or_create(&DecisionLabels { verdict: GRANTED, reason }).clone();
        let ok = RequestLabels { route: IMAGE, status: StatusCode::OK.as_u16() };
        Self {
            image_ok: requests.get_or_create(&ok).clone(),
            memory: hits.get_or_create(&TierLabels { tier: "memory" }).clone(),
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
struct TierLabels {
    tier: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BehindLabels {
    outcome: &'static str,
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

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("pinhole");
        let requests = Family::default();
        registry.register("http_requests", "Requests answered, by route and status", requests.clone());
        let hits = Family::default();
        registry.register("images_served", "Images served, by where the bytes came from", hits.clone());
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
        let often = Often::of(&requests, &hits, &decisions, &links);
        Self { registry: Arc::new(registry), requests, hits, renders, background, decisions, links, often }
    }
}

impl Metrics {
    /// A request was answered.
    pub fn answered(&self, route: &'static str, status: StatusCode) {
        match (route, status) {
            (IMAGE, StatusCode::OK) => self.often.image_ok.inc(),
            _ => self.requests.get_or_create(&RequestLabels { route, status: status.as_u16() }).inc(),
        };
    }

    /// An image was served from a tier.
    pub fn served(&self, tier: &'static str) {
        match tier {
            "memory" => self.often.memory.inc(),
            _ => self.hits.get_or_create(&TierLabels { tier }).inc(),
        };
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

    /// Everything, as text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
