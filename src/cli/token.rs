//! `pinhole token`: users' tokens, to develop against.

use std::time::Duration;

use super::{Failure, say, settings};
use crate::{clock, id::UserId, identity::Identity};

/// Makes a token for a user, as the app itself would.
///
/// It is signed with `auth.jwt_secret`. Whoever has it is that user until it expires.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pinhole token alice
  curl -H \"Authorization: Bearer $(pinhole token alice --ttl 10m --config pinhole.toml)\" http://127.0.0.1:8080/v1/profile")]
pub(super) struct Args {
    /// Who: 1 to 64 characters of A-Z a-z 0-9 . _ - @
    #[arg(value_name = "USER")]
    user: String,
    /// How long the token is good, such as 90s, 15m, 1h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
    #[command(flatten)]
    settings: settings::From,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let user = UserId::parse(&args.user)
        .ok_or_else(|| Failure::usage(format!("{:?} is no user: it must be {}", args.user, UserId::RULE)))?;
    if args.ttl.as_secs() == 0 {
        return Err(Failure::usage("--ttl must be at least 1s"));
    }
    let identity = Identity::new(&args.settings.load()?, false).map_err(Failure::usage)?;
    let token = identity.issue(&user, args.ttl.as_secs(), clock::now_micros()).map_err(Failure::usage)?;
    say::print(format!("{token}\n"));
    Ok(())
}
