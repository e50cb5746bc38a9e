//! Whether whoever asks may be kept waiting.

use std::future;

/// Whether an answer may be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Yes: for the ledger, the bucket, a core.
    May,
    /// No: what is not in memory is asked for elsewhere.
    MayNot,
}

impl Wait {
    /// Comes before whatever takes longer than memory does. Where nobody may wait it never returns: such a
    /// future is polled once, and dropped.
    pub async fn begin(self) {
        if self == Self::MayNot {
            future::pending::<()>().await;
        }
    }
}
