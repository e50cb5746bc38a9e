//! The command line: one command a file.

mod dev;
mod doctor;
mod edge;
mod files;
mod generate;
mod import;
mod key;
mod migrate;
mod pair;
mod progress;
mod purges;
mod run;
mod say;
mod serve;
mod settings;
mod sign;
mod sweep;
mod token;

use std::{path::Path, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    config::{Config, Place, Secret},
    db::{Db, DbError},
    log,
};

pub use self::progress::Stderr;

/// An access-controlled image origin.
///
/// It keeps your app's pictures in a private bucket, decides every single view, makes the sizes that pages ask for, and
/// hands out signed links that a CDN can share.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    propagate_version = true,
    after_help = "Examples:
  pinhole dev                                      everything in one process, to try it
  pinhole serve --config pinhole.toml --check      what a start would find
  pinhole serve --config pinhole.toml
  pinhole doctor --config pinhole.toml             tries what is there, and says what to mend
  pinhole help sign

Exit codes: 0 it is done; 1 it failed; 2 what was asked for makes no sense."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::Args),
    Serve(serve::Args),
    Migrate(migrate::Args),
    Import(import::Args),
    Sweep(sweep::Args),
    Doctor(doctor::Args),
    Sign(sign::SignArgs),
    Verify(sign::VerifyArgs),
    Token(token::Args),
    Key(key::Args),
    Purges(purges::Args),
    Edge(edge::Args),
    Generate(generate::Args),
}

/// Why a command failed: one line that says what to change.
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// What was asked for cannot be done: exit code 1.
    fn failed(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), code: 1 }
    }

    /// What was asked for makes no sense: exit code 2.
    fn usage(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), code: 2 }
    }
}

impl Cli {
    /// Runs the command; errors go to stderr.
    pub fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Dev(args) => dev::run(&args),
            Command::Serve(args) => serve::run(&args),
            Command::Migrate(args) => migrate::run(&args),
            Command::Import(args) => import::run(&args),
            Command::Sweep(args) => sweep::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Sign(args) => sign::sign(&args),
            Command::Verify(args) => sign::verify(&args),
            Command::Token(args) => token::run(&args),
            Command::Key(args) => key::run(&args),
            Command::Purges(args) => purges::run(&args),
            Command::Edge(args) => edge::run(&args),
            Command::Generate(args) => generate::run(&args),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("pinhole: {}", failure.message);
                ExitCode::from(failure.code)
            }
        }
    }
}

/// Reads the settings, which say how the log goes on; `defaults` replace the general ones.
fn load(file: Option<&Path>, defaults: &[(&str, &str)]) -> Result<Config, Failure> {
    let config = Config::load(file, defaults).map_err(Failure::usage)?;
    log::go_by(&config.log);
    if !config.ignored.is_empty() {
        let names = config.ignored.join(", ");
        tracing::warn!("ignored, since they name no setting (PINHOLE_SECTION__NAME): {names}");
    }
    Ok(config)
}

/// Where the settings say that the database is.
fn place(config: &Config) -> Result<Place, Failure> {
    config.database.place().map_err(|rule| Failure::usage(format!("database.url {rule}")))
}

/// What to say of the app's rules that cannot be asked.
fn bad_rules(error: &DbError) -> Failure {
    Failure::failed(format!("rules.facts or rules.allowed: {error}"))
}

/// Does something with the ledger of the settings, which must be there and up to date, and prints what it says.
fn with_ledger(
    config: &Config,
    act: impl AsyncFnOnce(&Db) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let place = place(config)?;
    require_there(&place)?;
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::failed)?;
    runtime.block_on(async {
        let db = open(&place).await?;
        let schema = db.schema().await.map_err(Failure::failed)?;
        if !schema.pending.is_empty() {
            return Err(Failure::failed(serve::pending(&place, &schema.pending)));
        }
        let done = act(&db).await;
        db.close().await;
        say::print(done?);
        Ok(())
    })
}

/// Refuses a SQLite file that is not there: opening would make it.
fn require_there(place: &Place) -> Result<(), Failure> {
    match place {
        Place::Sqlite(path) if !path.is_file() => {
            Err(Failure::failed(format!("{place}: no such file; mend database.url")))
        }
        _ => Ok(()),
    }
}

/// Opens the database as it is; a SQLite file is made when absent.
async fn open(place: &Place) -> Result<Db, Failure> {
    match place {
        Place::Sqlite(path) => opened(
            place,
            Db::open_sqlite(path).await,
            "it must be a database, and its folder be there and be writable",
        ),
        Place::Postgres(url) => open_postgres(place, url).await,
    }
}

/// Opens the database to look at it alone: a SQLite file stays as it is, byte for byte.
async fn look_at(place: &Place) -> Result<Db, Failure> {
    match place {
        Place::Sqlite(path) => opened(
            place,
            Db::open_sqlite_read_only(path).await,
            "it must be a database, and its folder be writable",
        ),
        Place::Postgres(url) => open_postgres(place, url).await,
    }
}

async fn open_postgres(place: &Place, url: &Secret) -> Result<Db, Failure> {
    let db = Db::open_postgres(url.expose()).await;
    opened(place, db, "mend database.url, or start the server there")
}

fn opened(place: &Place, db: Result<Db, DbError>, mend: &str) -> Result<Db, Failure> {
    db.map_err(|error| Failure::failed(format!("{place}: {error}; {mend}")))
}
