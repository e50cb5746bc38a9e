//! Background work: jobs whose state is the ledger, safe to run on every node at once, and to kill.

mod courier;
mod erase;
mod probe;
mod purges;
pub mod reconcile;
mod sweep;

pub use courier::Courier;
pub use probe::Probe;
pub use purges::{Purger, again_after};
pub use reconcile::Reconciler;
pub use sweep::{Due, SweepError, Sweeper, Swept};
