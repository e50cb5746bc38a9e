//! Calls to what the program stands on, the ledger and the bucket: how many, what came of them, how long they
//! took.

use std::time::Instant;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// It did what it was asked.
pub const OK: &str = "ok";
/// It did not.
pub const FAILED: &str = "failed";

/// The calls to one of the two; cheap to clone.
#[derive(Clone, Debug)]
pub struct Calls(Family<Labels, Histogram, fn() -> Histogram>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    op: &'static str,
    outcome: &'static str,
}

/// A call that was begun. Dropped, it is counted as given up.
#[derive(Debug)]
pub struct Call {
    calls: Calls,
    op: &'static str,
    began: Instant,
    outcome: &'static str,
}

impl Default for Calls {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.0001, 4.0, 10))))
    }
}

impl Calls {
    /// Begins a call.
    pub fn begin(&self, op: &'static str) -> Call {
        Call { calls: self.clone(), op, began: Instant::now(), outcome: "given_up" }
    }

    /// Makes a call.
    pub async fn timed<T, E>(
        &self,
        op: &'static str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let begun = self.begin(op);
        let result = call.await;
        begun.ended(if result.is_ok() { OK } else { FAILED });
        result
    }

    /// Shows them.
    pub(super) fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.0.clone());
    }
}

impl Call {
    /// This came of it.
    pub fn ended(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let labels = Labels { op: self.op, outcome: self.outcome };
        self.calls.0.get_or_create(&labels).observe(self.began.elapsed().as_secs_f64());
    }
}
