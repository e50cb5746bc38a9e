//! `[sweep]`: what a reconciliation of bucket and ledger may delete.

use serde::Deserialize;

/// The shortest grace period, in seconds: longer than a write to the bucket ever takes, and than the
/// bucket's clock may differ from ours.
pub(super) const MIN_GRACE_SECS: u64 = 3600;

/// `[sweep]`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sweep {
    /// Seconds that an object without a row in the ledger is left alone after it was written.
    pub grace_secs: u64,
    /// The share, in percent, of objects that may be without their row, or rows without their objects,
    /// before nothing is touched: so much is no accident, but a wrong database or bucket.
    pub max_disagreement_percent: u8,
    /// How many objects without a row may be deleted at once, however small their share is: a bucket
    /// that another ledger writes to as well looks like this.
    pub max_orphans: u64,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { grace_secs: 24 * 60 * 60, max_disagreement_percent: 10, max_orphans: 100 }
    }
}
