//! `pinhole sweep`: reconciles bucket and ledger once, and prints what it found and did.

mod text;

use std::sync::atomic::Ordering;

use super::{
    Failure, pair,
    progress::{Progress, Standing},
    say,
};
use crate::{
    clock,
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
    #[command(flatten)]
    pair: pair::Where,
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
    args.pair.with(args.dry_run, async |pair| {
        let (db, store, config) = (&pair.db, &pair.store, &pair.config);
        let sweeper = Sweeper::new(db.clone(), store.clone(), None, config.upload.unattached_secs);
        let reconciler = Reconciler::new(db.clone(), store.clone(), sweeper, config.sweep);
        let mode = if args.dry_run { Mode::DryRun } else { Mode::Mend { force: args.force } };
        let compared = reconciler.compared();
        let progress = Progress::start(move || {
            let text = format!("objects compared: {}", compared.load(Ordering::Relaxed));
            Standing { done: None, text }
        });
        let done = reconciler.run(clock::now_micros(), mode).await;
        drop(progress);
        let report = done.map_err(|error| Failure::failed(format!("{error}; run it again, it goes on")))?;
        print(args, &report)?;
        verdict(&report)
    })
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
