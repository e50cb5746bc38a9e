//! `pinhole edge cloudfront`, `cloudflare` and `fastly`: verifiers that run at somebody else's.

use super::files::{File, Nature};
use crate::{
    app::keys,
    cli::Failure,
    config::{Config, Secret},
    edge::{self, EdgeError},
};

/// For Amazon CloudFront: a function for viewer requests.
///
/// Its first lines say which cache policy goes with it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  umask 077
  pinhole edge cloudfront --config pinhole.toml >cloudfront-function.js
  aws cloudfront update-function --name pinhole --if-match ETAG --function-code fileb://cloudfront-function.js \\
    --function-config Comment=pinhole,Runtime=cloudfront-js-2.0")]
pub(super) struct Cloudfront {}

/// For Cloudflare: a Worker.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  umask 077
  pinhole edge cloudflare --config pinhole.toml --origin https://origin.example.org >worker.js
  npx wrangler deploy worker.js --name pinhole --compatibility-date 2024-11-11 --route 'img.example.org/*'")]
pub(super) struct Cloudflare {
    /// The origin as the Worker reaches it. `server.public_url` without one, as is right for a Worker on a route
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
}

/// For Fastly: the main VCL of a service.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  umask 077
  pinhole edge fastly --config pinhole.toml >pinhole.vcl
  fastly vcl custom create --name pinhole --content pinhole.vcl --main --service-id ID --version latest --autoclone")]
pub(super) struct Fastly {}

pub(super) fn cloudfront(config: &Config) -> Result<Vec<File>, Failure> {
    with_keys(config, "cloudfront-function.js", edge::cloudfront)
}

pub(super) fn cloudflare(args: &Cloudflare, config: &Config) -> Result<Vec<File>, Failure> {
    let origin = args.origin.as_ref().unwrap_or(&config.server.public_url);
    if origin.is_empty() {
        return Err(Failure::usage(
            "server.public_url is not set; name the origin with --origin https://host",
        ));
    }
    with_keys(config, "worker.js", |keys| edge::cloudflare(keys, origin))
}

pub(super) fn fastly(config: &Config) -> Result<Vec<File>, Failure> {
    with_keys(config, "pinhole.vcl", edge::fastly)
}

fn with_keys(
    config: &Config,
    name: &'static str,
    write: impl FnOnce(&[Secret]) -> Result<String, EdgeError>,
) -> Result<Vec<File>, Failure> {
    let keys = keys::written(&config.links).map_err(Failure::usage)?;
    let text = write(&keys).map_err(Failure::usage)?;
    Ok(vec![File { name: name.into(), text, nature: Nature::Secret }])
}
