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
        Self { registry: Arc::new(registry), requests, hits, renders, background, decisions, links }
    }
}

impl Metrics {
    /// A request was answered.
    pub fn answered(&self, route: &'static str, status: StatusCode) {
        self.requests.get_or_create(&RequestLabels { route, status: status.as_u16() }).inc();
    }

    /// An image was served from a tier.
    pub fn served(&self, tier: &'static str) {
        self.hits.get_or_create(&TierLabels { tier }).inc();
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
        self.decisions.get_or_create(&DecisionLabels { verdict, reason }).inc();
    }

    /// A link was looked at, before anything was asked about its image.
    pub fn link_verified(&self, verdict: &'static str) {
        self.links.get_or_create(&LinkLabels { verdict }).inc();
    }

    /// Everything, as text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
