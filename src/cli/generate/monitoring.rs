//! `pinhole generate alerts` and `dashboard`: what Prometheus and Grafana make of `/metrics`. `tests/it/monitoring.rs`
//! holds both against what a server really shows.

use crate::cli::files::{File, Nature};

/// Alert rules for Prometheus.
pub(super) fn alerts() -> File {
    yours("pinhole.rules.yml", include_str!("monitoring/pinhole.rules.yml"))
}

/// A dashboard for Grafana.
pub(super) fn dashboard() -> File {
    yours("pinhole.json", include_str!("monitoring/pinhole.json"))
}

fn yours(name: &'static str, text: &str) -> File {
    File { name: name.into(), text: text.to_owned(), nature: Nature::Yours }
}
