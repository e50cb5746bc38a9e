//! What is measured of work: the queues for it, and the memory that pictures are made in.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The metrics of queues; cheap to clone.
#[derive(Clone, Debug)]
pub struct Queues {
    jobs: Family<QueueLabels, Gauge>,
    limits: Family<QueueLabels, Gauge>,
    shed: Family<ShedLabels, Counter>,
    memory: Family<MemoryLabels, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShedLabels {
    queue: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemoryLabels {
    state: &'static str,
}

impl Queues {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let jobs = Family::default();
        registry.register("queue_jobs", "Jobs that run or wait, by queue", jobs.clone());
        let limits = Family::default();
        registry.register("queue_limit", "The most jobs that may run or wait, by queue", limits.clone());
        let shed = Family::default();
        registry.register("shed", "Jobs that were refused since their queue was full", shed.clone());
        let memory = Family::default();
        registry.register(
            "render_memory_bytes",
            "Bytes that renders and checks of uploads may need while they run, and the limit of all of them",
            memory.clone(),
        );
        Self { jobs, limits, shed, memory }
    }

    /// What counts the jobs that a queue refused.
    pub fn shed(&self, queue: &'static str) -> Counter {
        self.shed.get_or_create(&ShedLabels { queue }).clone()
    }

    /// How many jobs run, and how many wait.
    pub fn load(&self, queue: &'static str, running: usize, waiting: usize) {
        set(&self.jobs, queue, running, waiting);
    }

    /// How many jobs may run, and how many may wait.
    pub fn limit(&self, queue: &'static str, running: usize, waiting: usize) {
        set(&self.limits, queue, running, waiting);
    }

    /// How much memory renders hold, and may hold, in bytes.
    pub fn memory(&self, held_bytes: u64, limit_bytes: u64) {
        for (state, bytes) in [("held", held_bytes), ("limit", limit_bytes)] {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.memory.get_or_create(&MemoryLabels { state }).set(bytes);
        }
    }
}

fn set(family: &Family<QueueLabels, Gauge>, queue: &'static str, running: usize, waiting: usize) {
    for (state, jobs) in [("running", running), ("waiting", waiting)] {
        let jobs = i64::try_from(jobs).unwrap_or(i64::MAX);
        family.get_or_create(&QueueLabels { queue, state }).set(jobs);
    }
}
