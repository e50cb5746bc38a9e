//! `pinhole edge varnish`: VCL for Varnish 7 with xkey.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    address,
    files::{File, Nature},
};
use crate::{
    cli::Failure,
    config::{Config, Target},
    edge::Varnish,
};

/// For Varnish 7 with xkey, as Debian 12 has them (varnish, varnish-modules): pinhole.vcl.
///
/// It holds no link keys: it keeps what the origin let through, under the whole URL. The token for purges is the one
/// of the first target of kind varnish in `[edge.targets]`; without any, it takes none.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pinhole edge varnish --config pinhole.toml --origin 10.0.0.1:8080 --purge-from 10.0.0.1 --out /etc/varnish
  varnishd -a :6081 -f /etc/varnish/pinhole.vcl -s malloc,1g")]
pub(super) struct Args {
    /// The origin as Varnish reaches it by plain HTTP, host:port. server.listen without one
    #[arg(long, value_name = "ADDR")]
    origin: Option<String>,
    /// Whence pinhole's purges come; may be given several times. The machine itself without any
    #[arg(long = "purge-from", value_name = "IP")]
    purgers: Vec<IpAddr>,
}

pub(super) fn files(args: &Args, config: &Config) -> Result<Vec<File>, Failure> {
    let origin = args.origin.clone().map_or_else(|| address(config), Ok)?;
    let itself = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let mut tokens = config.edge.targets.values().filter_map(|target| match target {
        Target::Varnish(servers) => Some(&servers.token),
        _ => None,
    });
    let purge_token = tokens.next();
    if tokens.any(|token| Some(token) != purge_token) {
        return Err(Failure::usage(
            "[edge.targets]: a Varnish takes one token; give all of kind \"varnish\" the same one".to_owned(),
        ));
    }
    let varnish = Varnish {
        origin: &origin,
        public_url: &config.server.public_url,
        purge_token,
        purgers: if args.purgers.is_empty() { &itself } else { &args.purgers },
    };
    let text = varnish.vcl().map_err(Failure::usage)?;
    Ok(vec![File { name: "pinhole.vcl".into(), text, nature: Nature::Secret }])
}
