//! `pinhole purges`: what edges are still to be told.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Failure, say, settings, with_ledger};
use crate::{
    clock,
    config::Config,
    db::{
        Db,
        outbox::{self, Depth, PurgeRow, State},
    },
};

/// How many purges are listed of those that wait, and of those that were given up.
const MAX_LISTED: i64 = 1000;

/// Shows what edges are still to be told, and sends it again.
///
/// A purge waits until its edge takes it, and some time longer, to be sent once more. What an edge would not take
/// for days is given up, and kept: dead. Servers that run take up what is sent again within a second.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pinhole purges list --config pinhole.toml
  pinhole purges list --json --config pinhole.toml
  pinhole purges retry --config pinhole.toml
  pinhole purges retry front@10.0.0.5:8081 --config pinhole.toml
  pinhole purges forget front@10.0.0.5:8081 --config pinhole.toml")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    settings: settings::From,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Prints how much waits for each edge, and what was given up or failed
    #[command(after_help = "Examples:
  pinhole purges list --config pinhole.toml
  pinhole purges list --json --config pinhole.toml

--json prints {\"edges\": [{\"edge\", \"is_configured\", \"first\", \"again\", \"dead\", \"oldest_at\"}, …], \"pending\": [purge, …],
\"dead\": [purge, …], \"is_cut\"}; a purge is {\"edge\", \"image_id\", \"epoch\", \"reason\", \"state\", \"changed_at\", \"due_at\",
\"attempts\", \"last_error\"}.")]
    List {
        /// As JSON, with everything that waits
        #[arg(long)]
        json: bool,
    },
    /// Sends what was given up again, and at once what waits after a failure
    #[command(after_help = "Examples:
  pinhole purges retry --config pinhole.toml
  pinhole purges retry front@10.0.0.5:8081 --config pinhole.toml")]
    Retry {
        /// Of one edge alone, as the list calls it
        edge: Option<String>,
    },
    /// Forgets what an edge was to be told that is no more
    #[command(after_help = "Example:
  pinhole purges forget front@10.0.0.5:8081 --config pinhole.toml")]
    Forget {
        /// The edge, as the list calls it
        edge: String,
    },
}

/// The outbox as JSON.
#[derive(Serialize)]
struct Listed {
    edges: Vec<EdgeView>,
    pending: Vec<PurgeView>,
    dead: Vec<PurgeView>,
    /// Whether there are more purges than are listed.
    is_cut: bool,
}

#[derive(Serialize)]
struct EdgeView {
    edge: String,
    is_configured: bool,
    first: i64,
    again: i64,
    dead: i64,
    oldest_at: Option<String>,
}

#[derive(Serialize)]
struct PurgeView {
    edge: String,
    image_id: String,
    epoch: i64,
    reason: &'static str,
    state: &'static str,
    changed_at: String,
    due_at: Option<String>,
    attempts: i64,
    last_error: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.settings.load()?;
    with_ledger(&config, async |db| match &args.what {
        What::List { json } => list(db, &config, *json).await,
        What::Retry { edge } => retry(db, edge.as_deref()).await,
        What::Forget { edge } => forget(db, &config, edge).await,
    })
}

async fn list(db: &Db, config: &Config, json: bool) -> Result<String, Failure> {
    let mut conn = db.read().await.map_err(Failure::failed)?;
    let depths = outbox::depths(&mut conn).await.map_err(Failure::failed)?;
    let pending = outbox::list(&mut conn, false, MAX_LISTED).await.map_err(Failure::failed)?;
    let dead = outbox::list(&mut conn, true, MAX_LISTED).await.map_err(Failure::failed)?;
    let all: i64 = depths.iter().map(|depth| depth.purges).sum();
    let listed = Listed {
        edges: edges(config, &depths),
        is_cut: usize::try_from(all).is_ok_and(|all| all > pending.len() + dead.len()),
        pending: pending.into_iter().map(view).collect(),
        dead: dead.into_iter().map(view).collect(),
    };
    if json {
        return say::json(&listed);
    }
    Ok(text(&listed))
}

/// Those of the settings, and those that something waits for all the same.
fn edges(config: &Config, depths: &[Depth]) -> Vec<EdgeView> {
    let configured = config.edge.names();
    let mut names: Vec<&String> = configured.iter().chain(depths.iter().map(|depth| &depth.target)).collect();
    names.sort_unstable();
    names.dedup();
    let edge = |name: &String| {
        let of = |state| {
            let depth = depths.iter().find(|depth| depth.target == *name && depth.state == state);
            depth.map_or(0, |depth| depth.purges)
        };
        let oldest = depths.iter().filter(|depth| depth.target == *name && depth.state != State::Again);
        EdgeView {
            edge: name.clone(),
            is_configured: configured.contains(name),
            first: of(State::First),
            again: of(State::Again),
            dead: of(State::Dead),
            oldest_at: oldest.map(|depth| depth.oldest_micros).min().map(clock::rfc3339),
        }
    };
    names.into_iter().map(edge).collect()
}

fn view(purge: PurgeRow) -> PurgeView {
    PurgeView {
        edge: purge.target,
        image_id: purge.image.to_string(),
        epoch: purge.epoch,
        reason: purge.reason.as_str(),
        state: purge.state.as_str(),
        changed_at: clock::rfc3339(purge.created_micros),
        due_at: purge.due_micros.map(clock::rfc3339),
        attempts: purge.attempts,
        last_error: purge.last_error,
    }
}

/// A line for each edge, and one for each purge that needs somebody's attention.
fn text(listed: &Listed) -> String {
    let mut text = String::new();
    if listed.edges.is_empty() {
        text.push_str("edge.targets names no edge, and nothing waits for any\n");
    }
    // Writing to a String cannot fail.
    for edge in &listed.edges {
        let _ = write!(
            text,
            "{}: {} to be told, {} to be told again, {} dead",
            edge.edge, edge.first, edge.again, edge.dead
        );
        if let Some(at) = &edge.oldest_at {
            let _ = write!(text, ", the oldest of {at}");
        }
        if !edge.is_configured {
            let _ = write!(text, "; not in edge.targets: add it, or pinhole purges forget {}", edge.edge);
        }
        text.push('\n');
    }
    let failed = listed.pending.iter().filter(|purge| purge.last_error.is_some());
    for purge in listed.dead.iter().chain(failed) {
        let _ = writeln!(
            text,
            "{}  {}  img {} ({})  changed {}  tried {} times: {}",
            purge.state,
            purge.edge,
            purge.image_id,
            purge.reason,
            purge.changed_at,
            purge.attempts,
            purge.last_error.as_deref().unwrap_or("no answer was noted"),
        );
    }
    if listed.is_cut {
        let _ = writeln!(text, "and more: of each kind {MAX_LISTED} are listed");
    }
    text
}

async fn retry(db: &Db, edge: Option<&str>) -> Result<String, Failure> {
    let mut tx = db.begin().await.map_err(Failure::failed)?;
    if let Some(edge) = edge {
        require_known(&outbox::depths(&mut tx).await.map_err(Failure::failed)?, edge)?;
    }
    let sent = outbox::retry(&mut tx, edge, clock::now_micros()).await.map_err(Failure::failed)?;
    tx.commit().await.map_err(Failure::failed)?;
    Ok(format!("{sent} purges are sent again\n"))
}

async fn forget(db: &Db, config: &Config, edge: &str) -> Result<String, Failure> {
    if config.edge.names().iter().any(|name| name == edge) {
        return Err(Failure::usage(format!(
            "{edge} is in edge.targets, and may still show what it is to forget; take it out of the settings of all \
             servers first"
        )));
    }
    let mut tx = db.begin().await.map_err(Failure::failed)?;
    require_known(&outbox::depths(&mut tx).await.map_err(Failure::failed)?, edge)?;
    let forgotten = outbox::forget(&mut tx, edge).await.map_err(Failure::failed)?;
    tx.commit().await.map_err(Failure::failed)?;
    Ok(format!("{forgotten} purges of {edge} are forgotten\n"))
}

/// Refuses an edge that nothing waits for, and names those that something does.
fn require_known(depths: &[Depth], edge: &str) -> Result<(), Failure> {
    let mut names: Vec<&str> = depths.iter().map(|depth| depth.target.as_str()).collect();
    names.dedup();
    if names.contains(&edge) {
        return Ok(());
    }
    let others =
        if names.is_empty() { "any edge".to_owned() } else { format!("it, but for {}", names.join(", ")) };
    Err(Failure::failed(format!("{edge}: nothing waits for {others}")))
}
