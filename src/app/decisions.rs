//! What was decided about showing an image: every verdict counted, and some of them logged, without a secret and without saying who.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    access::{Denial, Permit},
    id::ImageId,
    identity::Caller,
    metrics::Metrics,
};

/// The book of decisions.
#[derive(Debug)]
pub struct Decisions {
    metrics: Metrics,
    /// One in so many is logged; none when it is 0.
    log_one_in: u64,
    count: AtomicU64,
}

impl Decisions {
    /// Begins a book.
    pub fn new(metrics: Metrics, log_one_in: u64) -> Self {
        Self { metrics, log_one_in, count: AtomicU64::new(0) }
    }

    /// Writes down what was decided about an image, for whoever asked; the reason is never told to him.
    pub fn record(
        &self,
        image: ImageId,
        caller: &Caller,
        by_link: bool,
        decided: Result<Permit, Denial>,
    ) -> Result<Permit, Denial> {
        let (verdict, reason) = match &decided {
            Ok(permit) => ("granted", permit.basis().as_str()),
            Err(denial) => ("refused", denial.as_str()),
        };
        self.metrics.decided(verdict, reason);
        if self.log_one_in > 0 && self.count.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.log_one_in) {
            let viewer = match caller {
                _ if by_link => "link",
                Caller::Anonymous => "anonymous",
                Caller::User { by_service: false, .. } => "user",
                Caller::User { by_service: true, .. } => "service_for_user",
                Caller::Service => "service",
            };
            tracing::info!(target: "pinhole::decisions", %image, viewer, verdict, reason);
        }
        decided
    }
}
