//! Background work: jobs whose state is the ledger, safe to run on every node at once, and to kill.

mod erase;
pub mod reconcile;
mod sweep;

pub use reconcile::Reconciler;
pub use sweep::{Due, SweepError, Sweeper, Swept};
