//! The program: parse the command line, run one command, exit with its code.

use std::{
    io::{IsTerminal as _, stderr},
    process::ExitCode,
};

use clap::Parser as _;
use pinhole::cli::{Cli, Stderr};
use tracing_subscriber::EnvFilter;

/// What is logged unless `RUST_LOG` says otherwise. s3s logs a plain 404 as an error, and the SDK every
/// place where it found no credentials. sqlx warns of parameters that it does not know with their values,
/// which may be passwords.
const LOG_FILTER: &str = "warn,pinhole=info,s3s=off,aws_config=off,sqlx_postgres::options=error";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    let ansi = stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(|| Stderr).init();
    cli.run()
}
