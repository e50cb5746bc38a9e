//! Of `ingest` what a request's body and headers need.

mod checksum;
mod spool;

pub use checksum::{BadChecksum, Checksum};
pub use spool::{Spool, Spooled, Taken};
