//! What is measured of edges: the outbox, what was delivered from it, and how soon edges refuse.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::db::outbox::{Depth, State};

/// The metrics of edges; cheap to clone.
#[derive(Clone, Debug)]
pub struct Edge {
    depth: Family<DepthLabels, Gauge>,
    oldest: Family<TargetLabels, Gauge>,
    deliveries: Family<DeliveryLabels, Counter>,
    lag: Lag,
    revocation: Histogram,
    unrefused: Gauge,
    unmeasured: Counter,
}

type Lag = Family<TargetLabels, Histogram, fn() -> Histogram>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DepthLabels {
    target: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TargetLabels {
    target: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    target: String,
    outcome: &'static str,
}

/// What became of an attempt to tell an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was told.
    Delivered,
    /// It was not, and is told later.
    Failed,
    /// It was not, and was given up.
    Dead,
}

impl Edge {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let depth = Family::default();
        registry.register(
            "outbox_purges",
            "Purges in the outbox, of all nodes, by edge and state: first, again, dead",
            depth.clone(),
        );
        let oldest = Family::default();
        registry.register(
            "outbox_oldest_seconds",
            "Age of the oldest purge that an edge was never told, dead ones among them",
            oldest.clone(),
        );
        let deliveries = Family::default();
        registry.register(
            "purges",
            "Purges that were sent, by edge and what became of them",
            deliveries.clone(),
        );
        let lag = Lag::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 4.0, 12)));
        registry.register(
            "purge_lag_seconds",
            "Seconds from a change until an edge had been told of it for the first time",
            lag.clone(),
        );
        let revocation = Histogram::new(exponential_buckets(0.05, 2.0, 14));
        registry.register(
            "edge_revocation_seconds",
            "Seconds from a change until the edge refused what had been good before it, as the probe saw it",
            revocation.clone(),
        );
        let (unrefused, unmeasured) = (Gauge::default(), Counter::default());
        registry.register(
            "edge_unrefused",
            "Images that the probe is watching: the edge has not refused them yet",
            unrefused.clone(),
        );
        registry.register(
            "edge_unmeasured",
            "Images that the probe gave up, or did not watch since it watched enough",
            unmeasured.clone(),
        );
        Self { depth, oldest, deliveries, lag, revocation, unrefused, unmeasured }
    }

    /// What is in the outbox at a time. What was in it and is no more is at zero.
    pub fn outbox(&self, targets: &[String], depths: &[Depth], now_micros: i64) {
        let named = depths.iter().map(|depth| &depth.target);
        for target in targets.iter().chain(named) {
            let of_target = || depths.iter().filter(|depth| depth.target == *target);
            for state in [State::First, State::Again, State::Dead] {
                let purges = of_target().find(|depth| depth.state == state).map_or(0, |depth| depth.purges);
                let labels = DepthLabels { target: target.clone(), state: state.as_str() };
                self.depth.get_or_create(&labels).set(purges);
            }
            let oldest = of_target()
                .filter(|depth| depth.state != State::Again)
                .map(|depth| depth.oldest_micros)
                .min();
            let age = oldest.map_or(0, |at| now_micros.saturating_sub(at).max(0) / 1_000_000);
            self.oldest.get_or_create(&TargetLabels { target: target.clone() }).set(age);
        }
    }

    /// An edge was told something, or was not.
    pub fn told(&self, target: &str, told: Told) {
        let outcome = match told {
            Told::Delivered => "delivered",
            Told::Failed => "failed",
            Told::Dead => "dead",
        };
        self.deliveries.get_or_create(&DeliveryLabels { target: target.to_owned(), outcome }).inc();
    }

    /// An edge was told for the first time, so long after the change.
    pub fn lagged(&self, target: &str, lag: Duration) {
        self.lag.get_or_create(&TargetLabels { target: target.to_owned() }).observe(lag.as_secs_f64());
    }

    /// The probe begins to watch an image.
    pub fn watched(&self) {
        self.unrefused.inc();
    }

    /// The edge refuses it, so long after the change; or the probe gives up.
    pub fn refused(&self, after: Option<Duration>) {
        self.unrefused.dec();
        match after {
            Some(after) => self.revocation.observe(after.as_secs_f64()),
            None => self.unmeasured(),
        }
    }

    /// An image is not watched.
    pub fn unmeasured(&self) {
        self.unmeasured.inc();
    }
}
