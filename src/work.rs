//! Background work: jobs whose state is the ledger, safe to run on every node at once, and to kill.

mod erase;
mod sweep;

pub use sweep::{SweepError, Sweeper, Swept};
