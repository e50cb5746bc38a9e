//! `pinhole doctor`: tries what is there, the live bucket, database, server and edge, and says what to mend.
//!
//! One area a file. What is tried is real, and leaves nothing: what is written lies under `incoming/`, where no
//! picture is served from, under names that nobody can guess, and is removed in the end, whatever came before.

mod bucket;
mod cors;
mod database;
mod edge;
mod finding;
mod server;
mod tools;
mod uploads;
mod workbench;

use std::{path::PathBuf, time::Duration};

use futures_util::{
    FutureExt as _,
    future::{LocalBoxFuture, join_all},
};

use self::{
    finding::{Finding, Report, Text},
    tools::{Asker, Litter, PATIENCE, within},
    workbench::Workbench,
};
use super::{Failure, place, run as serving, say, serve};
use crate::{
    app::keys::LinkKeys,
    config::{Config, Place},
    fetch::Fetcher,
    id::ImageId,
    store::{Settings, Store},
};

/// How many connections to one host are kept.
const IDLE_PER_HOST: usize = 4;
/// How long the whole may take beside purges, before it is given up and what was written is cleared away.
const ALL_PATIENCE: Duration = Duration::from_mins(3);

/// Tries the live bucket, database, server and edge, and says what to mend.
///
/// Real uploads, preflights and purges, good ones and such as must be refused. Safe beside running servers: what is
/// written is removed, nothing is shown to anybody, and an image that is purged is fetched again when next asked for.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 nothing has failed; 1 something has; 2 the settings are no good.

Examples:
  pinhole doctor --config pinhole.toml
  pinhole doctor --config pinhole.toml --only bucket,database
  pinhole doctor --config pinhole.toml --edge https://img.example.org --image 01890a5d-ac96-774b-bcce-b302099a8057
  pinhole doctor --config pinhole.toml --json

The edge is looked at where edge.targets or --edge names one, by a link to --image, or to the newest public image,
with edge.probe.options. Run it where uploads come from, if bucket.public_endpoint is not to be reached from here.")]
pub(super) struct Args {
    /// The file with the settings (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is tried; everything if not given
    #[arg(long, value_name = "AREA", value_enum, value_delimiter = ',')]
    only: Vec<Area>,
    /// The origin of images as viewers reach it through the edge; otherwise `edge.probe.url`, or `server.public_url`
    #[arg(long, value_name = "URL", value_parser = origin)]
    edge: Option<String>,
    /// The image that is looked at through the edge, and purged there
    #[arg(long, value_name = "ID", value_parser = image)]
    image: Option<ImageId>,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Area {
    Database,
    Bucket,
    Server,
    Edge,
}

fn image(text: &str) -> Result<ImageId, String> {
    ImageId::parse(text).ok_or_else(|| "it must be an image's id, a UUID in lower case".to_owned())
}

fn origin(text: &str) -> Result<String, String> {
    let uri: http::Uri = text.parse().map_err(|_| "it must be a URL".to_owned())?;
    let is_origin = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.path_and_query().is_none_or(|path| path.as_str() == "/");
    let origin = text.trim_end_matches('/').to_owned();
    is_origin
        .then_some(origin)
        .ok_or_else(|| "it must be http:// or https:// and a host, without a path".to_owned())
}

/// What every area is tried with.
struct Doctor<'a> {
    args: &'a Args,
    config: Config,
    place: Place,
    settings: Settings,
    keys: LinkKeys,
    store: Store,
    asker: Asker,
    litter: Litter,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = super::load(args.config.as_deref(), &[])?;
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::failed)?;
    runtime.block_on(async {
        serve::require_production(&config)?;
        let place = place(&config)?;
        let mut settings = Settings::find(&config.bucket).await.map_err(Failure::usage)?;
        settings.operation_timeout = settings.operation_timeout.min(PATIENCE);
        let doctor = Doctor {
            args,
            place,
            keys: LinkKeys::load(&config.links).map_err(Failure::usage)?,
            store: Store::connect(&settings),
            settings,
            asker: Asker(Fetcher::new(IDLE_PER_HOST).map_err(Failure::failed)?),
            litter: Litter::default(),
            config,
        };
        doctor.see().boxed_local().await
    })
}

impl Doctor<'_> {
    /// Tries everything, clears away, and tells.
    async fn see(&self) -> Result<(), Failure> {
        let stop = serving::stop_signal()?;
        // A purge, and what comes of it, take as long as the settings say.
        let purging = Duration::from_secs(self.config.edge.timeout_secs.saturating_mul(2));
        let patience = ALL_PATIENCE.saturating_add(purging);
        let seen = tokio::select! {
            found = self.all() => Ok(found),
            () = stop => Err("it was stopped"),
            () = tokio::time::sleep(patience) => Err("it took too long; try one area after the other with --only"),
        };
        // Whatever came of it.
        let cleared = self.litter.clear(&self.store).await;
        let mut found = match seen {
            Ok(found) => found,
            Err(why) => {
                let left = cleared.iter().any(|finding| !finding.has_passed());
                let left = if left {
                    "; something may be left under incoming/, which pinhole sweep removes"
                } else {
                    ""
                };
                return Err(Failure::failed(format!("{why}{left}")));
            }
        };
        found.extend(cleared);
        let report = Report::new(found);
        print(self.args.json, &report)?;
        match report.failed {
            0 => Ok(()),
            failed => {
                Err(Failure::failed(format!("checks that failed: {failed}; do what stands at each of them")))
            }
        }
    }

    /// Each area by itself: none waits for another, or stops it.
    async fn all(&self) -> Vec<Finding> {
        let areas: [(Area, LocalBoxFuture<'_, Vec<Finding>>); 4] = [
            (Area::Database, within("database", database::check(&self.config, &self.place)).boxed_local()),
            (Area::Bucket, self.bucket().boxed_local()),
            (Area::Server, within("server", server::check(&self.config, &self.asker)).boxed_local()),
            (Area::Edge, self.edge().boxed_local()),
        ];
        let only = &self.args.only;
        let wanted = areas.into_iter().filter(|(area, _)| only.is_empty() || only.contains(area));
        join_all(wanted.map(|(_, found)| found)).await.concat()
    }

    async fn edge(&self) -> Vec<Finding> {
        let ring = self.keys.ring();
        let wanted = edge::Wanted { url: self.args.edge.as_deref(), image: self.args.image, ring: &ring };
        edge::check(&self.config, &self.place, &self.asker, wanted).await
    }

    async fn bucket(&self) -> Vec<Finding> {
        let urls = match self.store.urls().await {
            Ok(urls) => urls,
            Err(error) => {
                let name = serve::bucket_name(&self.settings);
                let what = format_args!("{name}: {error}");
                return vec![Finding::fail("bucket.reached", what, serve::bucket_mend(&error))];
            }
        };
        bucket::check(Workbench {
            config: &self.config,
            settings: &self.settings,
            store: &self.store,
            asker: &self.asker,
            litter: &self.litter,
            urls: &urls,
        })
        .await
    }
}

fn print(as_json: bool, report: &Report) -> Result<(), Failure> {
    say::report(if as_json {
        say::json(report)?
    } else {
        Text { report, has_signs: say::has_signs() }.to_string()
    })
}
