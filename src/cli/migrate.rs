//! `pinhole migrate`: brings the database up to date.

use std::path::PathBuf;

use serde::Serialize;

use super::{
    Failure, open, place,
    progress::{Progress, Standing},
    say,
};

/// Applies pending migrations, and says which.
///
/// Migrations only go forward. Run it once before new versions of `pinhole serve` start.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pinhole migrate --config pinhole.toml
  PINHOLE_DATABASE__URL=postgres://pinhole@db.example/pinhole pinhole migrate
  pinhole migrate --json

--json prints {\"database\": …, \"applied\": [\"0001_…\", …]}.")]
pub(super) struct Args {
    /// The file with the settings (TOML); only database.url matters
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// What was done, as JSON.
#[derive(Serialize)]
struct Migrated {
    /// Where the database is, without its password.
    database: String,
    /// The names of the migrations, in order.
    applied: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::failed)?;
    runtime.block_on(migrate(args))
}

async fn migrate(args: &Args) -> Result<(), Failure> {
    let config = super::load(args.config.as_deref(), &[])?;
    let place = place(&config)?;
    let db = open(&place).await?;
    let progress = Progress::start(|| Standing { done: None, text: "applying migrations".to_owned() });
    let applied = db.migrate().await.map_err(|error| Failure::failed(format!("{place}: {error}")))?;
    drop(progress);
    db.close().await;
    if args.json {
        say::print(say::json(&Migrated { database: place.to_string(), applied })?);
        return Ok(());
    }
    let lines = match applied.as_slice() {
        [] => vec![format!("{place}: nothing to do\n")],
        names => names.iter().map(|name| format!("{place}: applied {name}\n")).collect(),
    };
    say::print(lines.concat());
    Ok(())
}
