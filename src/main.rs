//! The program: parse the command line, run one command, exit with its code.

use std::process::ExitCode;

use clap::Parser as _;
use pinhole::{
    cli::{Cli, Stderr},
    log,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::begin(|| Stderr);
    cli.run()
}
