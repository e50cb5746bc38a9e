//! `pinhole edge`: the configuration of the cache in front, for the settings in use. One kind of edge a file.

mod cdn;
mod nginx;
mod varnish;

use std::{net::IpAddr, path::PathBuf};

use super::{
    Failure,
    files::{self, Existing, File},
    settings,
};
use crate::config::Config;

/// Prints the configuration of an edge: the cache that stands in front, and checks links by itself.
///
/// With --out it is written into a folder, where secrets are readable by their owner alone. Run it again whenever
/// `links.keys` or the origins change, and then reload the edge.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pinhole edge nginx --config pinhole.toml
  pinhole edge nginx --config pinhole.toml --out /etc/pinhole-edge --origin 10.0.0.1:8080 --origin 10.0.0.2:8080
  pinhole edge varnish --config pinhole.toml --out /etc/varnish
  umask 077
  pinhole edge cloudfront --config pinhole.toml >cloudfront-function.js")]
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
    Varnish(varnish::Args),
    Cloudfront(cdn::Cloudfront),
    Cloudflare(cdn::Cloudflare),
    Fastly(cdn::Fastly),
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.settings.load()?;
    let files: Vec<File> = match &args.kind {
        Kind::Nginx(args) => nginx::files(args, &config)?,
        Kind::Varnish(args) => varnish::files(args, &config)?,
        Kind::Cloudfront(_) => cdn::cloudfront(&config)?,
        Kind::Cloudflare(args) => cdn::cloudflare(args, &config)?,
        Kind::Fastly(_) => cdn::fastly(&config)?,
    };
    match &args.out {
        Some(folder) => files::write(folder, &files, Existing::Kept),
        None => files::print(&files),
    }
}

/// Where the origin listens, as an edge on the same machine reaches it.
fn address(config: &Config) -> Result<String, Failure> {
    let listen = config.server.listen;
    if listen.port() == 0 {
        return Err(Failure::usage("server.listen names no port; name the origin with --origin host:port"));
    }
    // What listens everywhere is reached here.
    let host = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    };
    Ok(std::net::SocketAddr::new(host, listen.port()).to_string())
}
