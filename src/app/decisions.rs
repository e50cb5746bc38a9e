//! What was decided about showing an image: every verdict counted, and some of them logged, without a secret
//! and without saying who.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    access::{Denial, Permit},
    id::ImageId,
    identity::Caller,
    metrics::{self, Metrics},
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

    /// Writes one down.
    pub fn record(&self, decision: &Decision) {
        let Decision { image, viewer, verdict, reason } = decision;
        self.metrics.decided(verdict, reason);
        if self.log_one_in > 0 && self.count.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.log_one_in) {
            tracing::info!(target: "pinhole::decisions", %image, viewer, verdict, reason);
        }
    }
}

/// What was decided about an image, and why. The reason is never told to whoever asked.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    image: ImageId,
    viewer: &'static str,
    verdict: &'static str,
    reason: &'static str,
}

impl Decision {
    /// About an image, for whoever asked.
    pub fn new(image: ImageId, caller: &Caller, by_link: bool, decided: &Result<Permit, Denial>) -> Self {
        let (verdict, reason) = match decided {
            Ok(permit) => (metrics::GRANTED, permit.basis().as_str()),
            Err(denial) => ("refused", denial.as_str()),
        };
        let viewer = match caller {
            _ if by_link => "link",
            Caller::Anonymous => "anonymous",
            Caller::User { by_service: false, .. } => "user",
            Caller::User { by_service: true, .. } => "service_for_user",
            Caller::Service => "service",
        };
        Self { image, viewer, verdict, reason }
    }
}
