//! What is logged: one line an event, to stderr, with the id of the request that it belongs to.
//!
//! Lines are written where they come up, by whoever has something to say; nothing of this knows of images.

mod line;
mod request;

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use anstream::{AutoStream, ColorChoice};
use tracing_subscriber::EnvFilter;

pub use self::request::{Ids, RequestId, TraceId, carry};
use crate::config::{Format, Log};

/// What is logged unless `RUST_LOG` says otherwise. s3s logs a plain 404 as an error, and the SDK every
/// place where it found no credentials. sqlx warns of parameters that it does not know with their values,
/// which may be passwords.
const FILTER: &str = "warn,pinhole=info,s3s=off,aws_config=off,sqlx_postgres::options=error";

/// Whether lines are JSON. The log begins before the settings are read, which say so.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Begins the log, once in a process. Colours are for terminals; `NO_COLOR` (<https://no-color.org>) and
/// `CLICOLOR_FORCE` (<https://bixense.com/clicolors/>) count more. `writer` makes what leads to standard error.
pub fn begin<W: io::Write>(writer: impl Fn() -> W + Send + Sync + 'static) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(AutoStream::choice(&io::stderr()) != ColorChoice::Never)
        .with_writer(writer)
        .event_format(line::Line)
        .init();
}

/// Goes on as the settings say.
pub fn go_by(settings: &Log) {
    let is_json = settings.format == Format::Json;
    if is_json && !IS_JSON.swap(true, Ordering::Relaxed) {
        // Else a panic would be several lines, and none of them JSON.
        std::panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(ToString::to_string);
            let said = panic.payload_as_str().unwrap_or("a panic without words");
            tracing::error!(location, "{said}");
        }));
    }
}
