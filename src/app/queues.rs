//! The queues for work, by name, so that an operator sees how many run, how many wait, and how many were shed.

use crate::{budget::Budget, gate::Gate, metrics::Metrics};

/// All queues, and the memory that pictures are made in.
#[derive(Debug)]
pub struct Queues {
    metrics: Metrics,
    gates: Vec<(&'static str, Gate)>,
    memory: Budget,
}

impl Queues {
    /// None yet.
    pub(super) fn new(metrics: Metrics, memory: Budget) -> Self {
        Self { metrics, gates: Vec::new(), memory }
    }

    /// One more, for `at_once` running jobs and `waiting` more.
    pub(super) fn gate(&mut self, what: &'static str, at_once: usize, waiting: usize) -> Gate {
        let gate = Gate::new(at_once, waiting).counting(self.metrics.queues().shed(what));
        self.metrics.queues().limit(what, at_once, waiting);
        self.gates.push((what, gate.clone()));
        gate
    }

    /// Tells the metrics how things stand.
    pub fn observe(&self) {
        for (what, gate) in &self.gates {
            let (running, waiting) = gate.load();
            self.metrics.queues().load(what, running, waiting);
        }
        self.metrics.queues().memory(self.memory.held_bytes(), self.memory.limit_bytes());
    }
}
