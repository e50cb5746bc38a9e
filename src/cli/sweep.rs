//! `pinhole sweep`: reconciles bucket and ledger once, and prints what it found and did.

mod text;

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use super::{Failure, dev, place, require_there, run as serving, say, serve};
use crate::{
    clock,
    config::{Config, Place},
    db::Db,
    store::{Settings, Store},
    work::{
        Sweeper,
        reconcile::{Mode, Reconciler, Refusal, Report},
    },
};

/// Reconciles bucket and database: sweeps what is over, deletes objects without a row, reports rows without objects.
///
/// Safe to run beside servers, and to kill. Objects that are not pinhole's are never touched.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 nothing is wrong, or all was mended; 1 something is left; 2 usage.

Examples:
  pinhole sweep --config pinhole.toml --dry-run
  pinhole sweep --config pinhole.toml --json
  pinhole sweep --data ./pinhole-data

Settings come from the file, then from the environment, such as PINHOLE_SWEEP__GRACE_SECS=86400.")]
pub(super) struct Args {
    /// The file with the settings (TOML); of its sections, database, bucket and sweep matter
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    config: Option<PathBuf>,
    /// Instead, the folder of a `pinhole dev` that is stopped
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Go on although bucket and database disagree about so many objects, or so many have no row: the number
    /// that a refusal named
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "dry_run")]
    force: u64,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = super::load(args.config.as_deref(), &[])?;
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::failed)?;
    runtime.block_on(async {
        match &args.data {
            Some(folder) => sweep_folder(args, folder, &config).await,
            None => sweep_place(args, &config).await,
        }
    })
}

/// Sweeps the database and the bucket of the settings. A SQLite file may have its server meanwhile.
async fn sweep_place(args: &Args, config: &Config) -> Result<(), Failure> {
    let place = place(config)?;
    let settings = Settings::find(&config.bucket).await.map_err(Failure::usage)?;
    // Everything in the bucket would be an orphan.
    require_there(&place)?;
    let store = Store::connect(&settings);
    store.ping().await.map_err(|error| serve::bucket_failure(&settings, &error))?;
    let db = open(args, &place).await?;
    let done = sweep(args, &place, &db, &store, config).await;
    db.close().await;
    done
}

/// Sweeps the data folder of a stopped `pinhole dev`, whose bucket is served for so long.
async fn sweep_folder(args: &Args, folder: &Path, config: &Config) -> Result<(), Failure> {
    let data = dev::data::Dir::open_existing(folder).map_err(Failure::failed)?;
    let listener = serving::bind("the bucket", (Ipv4Addr::LOCALHOST, 0).into()).await?;
    let bucket = dev::Bucket::serve(&data, listener, serving::limits(&config.server))?;
    let place = Place::Sqlite(data.database());
    let db = open(args, &place).await?;
    let done = sweep(args, &place, &db, &bucket.store, config).await;
    db.close().await;
    bucket.stop().await;
    done
}

async fn open(args: &Args, place: &Place) -> Result<Db, Failure> {
    if args.dry_run { super::look_at(place).await } else { super::open(place).await }
}

async fn sweep(args: &Args, place: &Place, db: &Db, store: &Store, config: &Config) -> Result<(), Failure> {
    let schema = db.schema().await.map_err(|error| Failure::failed(format!("{place}: {error}")))?;
    if !schema.pending.is_empty() {
        return Err(Failure::failed(match args.data {
            Some(_) => format!("{place}: older than this program; start pinhole dev with this folder once"),
            None => serve::pending(place, &schema.pending),
        }));
    }
    let db = db.clone().judged_by(&config.rules).await.map_err(|error| super::bad_rules(&error))?;
    let db = db.telling(config.edge.names());
    let sweeper = Sweeper::new(db.clone(), store.clone(), None, config.upload.unattached_secs);
    let reconciler = Reconciler::new(db.clone(), store.clone(), sweeper, config.sweep);
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Mend { force: args.force } };
    let done = reconciler.run(clock::now_micros(), mode).await;
    let report = done.map_err(|error| Failure::failed(format!("{error}; run it again, it goes on")))?;
    print(args, &report)?;
    verdict(&report)
}

fn print(args: &Args, report: &Report) -> Result<(), Failure> {
    say::report(if args.json {
        let json = serde_json::to_string(report).map_err(Failure::failed)?;
        format!("{json}\n")
    } else {
        text::Text(report).to_string()
    })
}

/// What is left to do for whoever reads the report, the gravest first.
fn verdict(report: &Report) -> Result<(), Failure> {
    if report.is_clean() {
        return Ok(());
    }
    if let Some(refusal) = report.refusal {
        return Err(Failure::failed(refused(&refusal)));
    }
    let missing = report.found.missing();
    if missing > 0 {
        return Err(Failure::failed(format!(
            "missing from the bucket: {missing} objects; restore them from a backup of it, or delete the \
             images that use them"
        )));
    }
    if report.dry_run && report.found.orphans() > 0 {
        return Err(Failure::failed(format!(
            "objects without a row: {}; run it without --dry-run to delete them",
            report.found.orphans()
        )));
    }
    Err(Failure::failed(
        "not everything could be removed: see the report and the log, mend what they name, and run it again",
    ))
}

/// Why everything was left alone, and how it is not.
fn refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Disagreement { disagreements, compared, max_percent } => format!(
            "bucket and database disagree about {disagreements} of {compared} objects, more than \
             sweep.max_disagreement_percent = {max_percent} allows, so nothing is touched: most likely one of \
             them is not the other's, so look at the settings of both; if they are right, add \
             --force {disagreements}"
        ),
        Refusal::Orphans { orphans, max_orphans } => format!(
            "objects without a row: {orphans}, more than sweep.max_orphans = {max_orphans} allows, so nothing \
             is touched: most likely another database has their rows, so look at the settings of both; if \
             nobody else uses this bucket, add --force {orphans}"
        ),
    }
}
