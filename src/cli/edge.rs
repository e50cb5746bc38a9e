//! `pinhole edge`: the configuration of the cache in front, for the settings in use. One kind of edge a file.

mod files;
mod nginx;

use std::path::PathBuf;

use self::files::File;
use super::{Failure, settings};

/// Prints the configuration of an edge: the cache that stands in front, and checks links by itself.
///
/// With --out it is written into a folder, where secrets are readable by their owner alone. Run it again whenever
/// `links.keys` or the origins change, and then reload the edge.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pinhole edge nginx --config pinhole.toml
  pinhole edge nginx --config pinhole.toml --out /etc/pinhole-edge --origin 10.0.0.1:8080 --origin 10.0.0.2:8080")]
pub(super) struct Args {
    #[command(subcommand)]
    kind: Kind,
    /// Writes the files there instead of printing them; the folder is made when absent
    #[arg(long, value_name = "DIR", global = true)]
    out: Option<PathBuf>,
    #[command(flatten)]
    settings: settings::From,
}

#[derive(Debug, clap::Subcommand)]
enum Kind {
    Nginx(nginx::Args),
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.settings.load()?;
    let files: Vec<File> = match &args.kind {
        Kind::Nginx(args) => nginx::files(args, &config)?,
    };
    match &args.out {
        Some(folder) => files::write(folder, &files),
        None => files::print(&files),
    }
}
