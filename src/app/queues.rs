//! The queues for work, by name, so that an operator sees how many run, how many wait, and how many were shed.

use crate::{gate::Gate, metrics::Metrics};

/// All queues.
#[derive(Debug)]
pub struct Queues {
    metrics: Metrics,
    gates: Vec<(&'static str, Gate)>,
}

impl Queues {
    /// None yet.
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics, gates: Vec::new() }
    }

    /// One more, for `at_once` running jobs and `waiting` more.
    pub(super) fn gate(&mut self, what: &'static str, at_once: usize, waiting: usize) -> Gate {
        let gate = Gate::new(at_once, waiting).counting(self.metrics.shed(what));
        self.gates.push((what, gate.clone()));
        gate
    }

    /// Tells the metrics how things stand.
    pub fn observe(&self) {
        for (what, gate) in &self.gates {
            let (running, waiting) = gate.load();
            self.metrics.queued(what, running, waiting);
        }
    }
}
