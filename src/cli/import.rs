//! `pinhole import`: brings an existing folder or bucket of pictures in.

mod report;

use std::{
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

use self::report::{Ended, Report};
use super::{
    Failure, pair,
    progress::{Progress, Standing},
    serve,
};
use crate::{
    app,
    budget::Budget,
    config,
    gate::Gate,
    id::UserId,
    import::{
        ImportError, Importer, Line, Outcome, Rules, Tally,
        bucket::{self, Prefix},
        folder::Folder,
        owners::Owners,
        source::Source,
    },
    ingest::{Gates, Ingest},
    store::{Settings, SettingsError},
    work::Sweeper,
};

/// The exit code of who is stopped at once, as a shell has it for SIGINT.
const STOPPED_AT_ONCE: u8 = 130;

/// Brings an existing folder or bucket of pictures in: each is verified, stored, read back, and an image once.
///
/// Safe to run beside servers, to stop, and to kill: run it again, and it goes on. What it brought in is kept for
/// --keep unless the app attaches it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A file is known by its path below SOURCE, its owner, and its size and time or ETag. One that has changed since
comes in as a new image. One whose image was not attached in time does not come back without --again, and one whose
image was deleted not without --again-deleted.

Exit code: 0 all pictures are in, or were deleted since; 1 some were refused or have expired, or it was stopped; 2 usage.

Examples:
  pinhole import ./photos --owner alice --config pinhole.toml --dry-run
  pinhole import ./photos --owner-from-folder --config pinhole.toml --report images.jsonl
  pinhole import s3://old-photos/2024 --owners owners.tsv --source-region eu-central-1 --config pinhole.toml
  pinhole import ./photos --owner alice --data ./pinhole-data

The keys of another bucket are found as the AWS SDK does: environment, profile, roles."
)]
pub(super) struct Args {
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    pair: pair::Where,
    /// How long an image is kept that the app does not attach; a later run gives it the whole time again
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = humantime::parse_duration)]
    keep: Duration,
    /// How many files are worked on at once; without it, one for each core
    #[arg(long, value_name = "N")]
    at_once: Option<NonZeroUsize>,
    #[command(flatten)]
    again: Again,
    /// Write what came of each file as a line of JSON: path, owner, `image_id`, url, outcome, why
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Say what would come in, and change nothing; no file is read
    #[arg(long, conflicts_with = "report")]
    dry_run: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// What comes in that came in once already.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Again {
    /// Bring in again what came in once and expired, since nothing came to use it in time
    #[arg(long = "again")]
    expired: bool,
    /// Bring in again what came in once and somebody deleted since
    #[arg(long = "again-deleted")]
    deleted: bool,
}

/// Where they are.
#[derive(Debug, clap::Args)]
struct From {
    /// A folder, or `s3://BUCKET/PREFIX`
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// The S3 server of SOURCE, without the bucket; without it, what the AWS SDK finds
    #[arg(long, value_name = "URL")]
    source_endpoint: Option<String>,
    /// The region of SOURCE; without it, what the AWS SDK finds
    #[arg(long, value_name = "REGION")]
    source_region: Option<String>,
    /// Ask for endpoint/bucket/key instead of bucket.endpoint/key
    #[arg(long)]
    source_path_style: bool,
}

/// Whose the files are: one of these must be said.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// All are this user's
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// The first folder below SOURCE is the user's id
    #[arg(long)]
    owner_from_folder: bool,
    /// A file with a line for each path: `PATH<TAB>USER`, or {"path":…,"owner":…}
    #[arg(long, value_name = "FILE")]
    owners: Option<PathBuf>,
}

/// A thousand years, which every format of times has room for.
const MAX_KEEP_SECS: u64 = 1000 * 366 * 86_400;

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let owners = owners(&args.whose)?;
    if !(1..=MAX_KEEP_SECS).contains(&args.keep.as_secs()) {
        return Err(Failure::usage("--keep: must be a second to 1000y, such as 30d"));
    }
    args.pair.with(args.dry_run, async |pair| {
        let (stop, at_once) = stopping()?;
        let working = async {
            let source = source(args, pair).await?;
            let importer = Arc::new(importer(args, pair, source, owners));
            if args.dry_run {
                look(args, &importer, &stop).await
            } else {
                bring_in(args, pair, &importer, &stop).await
            }
        };
        tokio::select! {
            done = working => done,
            // Whatever was under way is done again, as after a kill.
            _ = at_once => {
                let message = "stopped at once; run it again, it goes on".to_owned();
                Err(Failure { message, code: STOPPED_AT_ONCE })
            }
        }
    })
}

fn owners(whose: &Whose) -> Result<Owners, Failure> {
    match (&whose.owner, &whose.owners) {
        (Some(name), _) => UserId::parse(name)
            .map(Owners::One)
            .ok_or_else(|| Failure::usage(format!("--owner {name:?}: must be {}", UserId::RULE))),
        (None, Some(file)) => Owners::read(file)
            .map_err(|error| Failure::usage(format!("--owners {}: {error}", file.display()))),
        (None, None) => Ok(Owners::Folder),
    }
}

async fn source(args: &Args, pair: &pair::Pair) -> Result<Source, Failure> {
    let shown = args.from.source.display();
    let url = args.from.source.to_str().filter(|source| source.contains("://"));
    let Some(url) = url else {
        let own = [&args.pair.data, &args.report, &args.whose.owners].into_iter().flatten().cloned();
        let folder = Folder::open(&args.from.source, &own.collect::<Vec<_>>()).map_err(Failure::failed)?;
        if args.pair.data.as_ref().is_some_and(|data| folder.lies_in(data)) {
            return Err(Failure::usage(format!(
                "{shown} lies in the folder of --data, which holds pinhole's own objects; name a folder of pictures"
            )));
        }
        return Ok(Source::Folder(folder));
    };
    let (name, prefix) = bucket::parse(url)
        .ok_or_else(|| Failure::usage(format!("{shown}: must be a folder, or s3://BUCKET/PREFIX")))?;
    let settings = config::Bucket {
        name,
        endpoint: args.from.source_endpoint.clone().unwrap_or_default(),
        region: args.from.source_region.clone().unwrap_or_default(),
        path_style: args.from.source_path_style,
        ..config::Bucket::default()
    };
    let settings = Settings::find(&settings).await.map_err(|error| match error {
        SettingsError::Region => Failure::usage(
            "--source-region is not set, and neither AWS_REGION nor a profile says one: name the region of SOURCE",
        ),
        SettingsError::Credentials => {
            Failure::usage("there are no keys for SOURCE: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        }
        error => Failure::usage(error),
    })?;
    if pair.bucket.as_ref().is_some_and(|own| bucket::is_own(own, &settings, &prefix)) {
        return Err(Failure::usage(format!(
            "{shown} holds pinhole's own objects, which must not come in again; name another bucket, or a prefix in it \
             that pinhole does not use"
        )));
    }
    let prefix = Prefix::new(&settings, prefix);
    prefix.store().ping().await.map_err(|error| {
        Failure::failed(format!(
            "{}: {error}; mend SOURCE, --source-endpoint, --source-region, --source-path-style or the AWS SDK's keys",
            serve::bucket_name(&settings)
        ))
    })?;
    Ok(Source::Bucket(prefix))
}

fn importer(args: &Args, pair: &pair::Pair, source: Source, owners: Owners) -> Importer {
    let (config, db, store) = (&pair.config, &pair.db, &pair.store);
    let at_once = app::one_a_core(args.at_once.map_or(0, NonZeroUsize::get));
    let sweeper = Sweeper::new(db.clone(), store.clone(), None, config.upload.unattached_secs);
    let gate = || Gate::new(at_once, at_once);
    let gates = Gates {
        ingests: gate(),
        completions: gate(),
        receives: gate(),
        memory: Budget::new(config.work.render_memory_bytes),
    };
    let (limits, rules) = (app::limits(config), app::rules(config));
    Importer {
        db: db.clone(),
        ingest: Ingest::new(db.clone(), store.clone(), sweeper, gates, limits, rules),
        source,
        owners,
        rules: Rules {
            max_bytes: config.upload.max_bytes,
            keep_secs: args.keep.as_secs(),
            at_once,
            again: args.again.expired,
            again_deleted: args.again.deleted,
        },
        tally: Arc::default(),
    }
}

async fn look(args: &Args, importer: &Importer, stop: &watch::Sender<bool>) -> Result<(), Failure> {
    let progress = show(&importer.tally, None);
    let looked = importer.look(stop, |line| {
        name_refused(line);
        Ok(())
    });
    let looked = looked.await;
    drop(progress);
    end(args, looked, &Ended { dry_run: true, ..ended(importer, stop) })
}

async fn bring_in(
    args: &Args,
    pair: &pair::Pair,
    importer: &Arc<Importer>,
    stop: &watch::Sender<bool>,
) -> Result<(), Failure> {
    let mut report =
        Report::open(args.report.as_deref(), &pair.config.server.public_url).map_err(|(file, error)| {
            Failure::usage(format!("--report {}: {error}; name a file that can be written", file.display()))
        })?;
    let counting = Progress::start(|| Standing { done: None, text: "looking what is there".to_owned() });
    let files = importer.count(stop).await.map_err(Failure::failed)?;
    drop(counting);
    let (progress, began) = (show(&importer.tally, Some(files)), Instant::now());
    let ran = importer.run(stop, |line| {
        name_refused(line);
        report.write(line)
    });
    let ran = ran.await;
    drop(progress);
    let seconds = Some(began.elapsed().as_secs_f64());
    end(args, ran, &Ended { files: Some(files), seconds, ..ended(importer, stop) })
}

fn ended(importer: &Importer, stop: &watch::Sender<bool>) -> Ended {
    Ended {
        source: importer.source.name().to_owned(),
        interrupted: *stop.borrow(),
        tally: tally(&importer.tally),
        ..Ended::default()
    }
}

/// Says how it ended, and whether anything is left to do.
fn end(args: &Args, done: Result<(), ImportError>, ended: &Ended) -> Result<(), Failure> {
    ended.print(args.json, args.keep)?;
    done.map_err(|error| Failure::failed(format!("{error}; mend that, and run it again: it goes on")))?;
    let Tally { refused, expired, .. } = ended.tally;
    if ended.interrupted {
        let of = ended.files.map(|files| format!(" of {files}")).unwrap_or_default();
        let files = ended.tally.files();
        return Err(Failure::failed(format!("stopped after {files}{of} files; run it again, it goes on")));
    }
    if refused > 0 {
        return Err(Failure::failed(format!(
            "refused: {refused} pictures, each named above with the reason; mend or remove them, and run it again: \
             it takes on nothing else"
        )));
    }
    if expired > 0 {
        return Err(Failure::failed(format!(
            "expired: {expired} pictures came in once, and nothing used them in time; --again brings them in anew"
        )));
    }
    Ok(())
}

fn name_refused(line: &Line) {
    match &line.outcome {
        Outcome::Refused { why, .. } => tracing::warn!("refused {:?}: {why}", line.path),
        Outcome::Imported { image: Some(image), replaces: Some(before) } => {
            tracing::info!(
                "{:?} has changed since it came in as {before}: it is a new image now, {image}",
                line.path
            );
        }
        _ => {}
    }
}

fn show(tally: &Arc<Mutex<Tally>>, files: Option<u64>) -> Progress {
    let shared = Arc::clone(tally);
    Progress::start(move || {
        let now = self::tally(&shared);
        let done = files.map(|files| (now.files(), files));
        let counted = if done.is_none() { format!("files {}, ", now.files()) } else { String::new() };
        let text =
            format!("{counted}imported {}, known {}, refused {}", now.imported, now.known, now.refused);
        Standing { done, text }
    })
}

fn tally(shared: &Mutex<Tally>) -> Tally {
    *shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says when to stop: at the first SIGINT or SIGTERM; and ends at the second, when to stop at once.
fn stopping() -> Result<(watch::Sender<bool>, JoinHandle<()>), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
    let (stop, _) = watch::channel(false);
    let tell = stop.clone();
    let at_once = tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if is_first {
                tracing::info!("stopping: what is under way is finished; once more stops at once");
                tell.send_replace(true);
            }
        }
    });
    Ok((stop, at_once))
}
