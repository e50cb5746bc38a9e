//! `pinhole generate`: what an operator puts on a machine beside the program. One kind of it a file.

mod completions;
mod config;
mod man;
mod monitoring;
mod systemd;

use std::path::PathBuf;

use clap_complete::Shell;

use super::{
    Failure,
    files::{self, Existing, File},
};

/// Prints what goes with the program: completions, manual pages, settings, units, alert rules, a dashboard.
///
/// With --out it is written into a folder. What is there already and may have been edited is kept, unless --force
/// says otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pinhole generate completions bash >/usr/share/bash-completion/completions/pinhole
  pinhole generate man --out /usr/local/share/man/man1
  pinhole generate config --out /etc/pinhole
  pinhole generate systemd --out /etc/systemd/system
  pinhole generate alerts >/etc/prometheus/pinhole.rules.yml
  pinhole generate dashboard >pinhole.json")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
    /// Writes the files there instead of printing them; the folder is made when absent
    #[arg(long, value_name = "DIR", global = true)]
    out: Option<PathBuf>,
    /// Overwrites with --out what is there, even if it was edited
    #[arg(long, global = true)]
    force: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// What a shell completes commands and flags with
    #[command(after_help = "Examples:
  pinhole generate completions bash >/usr/share/bash-completion/completions/pinhole
  pinhole generate completions fish >~/.config/fish/completions/pinhole.fish")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Manual pages, one for each command; without --out one of them
    #[command(after_help = "Examples:
  pinhole generate man --out /usr/local/share/man/man1
  pinhole generate man key add | man -l -")]
    Man {
        /// The command whose page it is, such as "key add"; without any, pinhole itself
        #[arg(value_name = "COMMAND", conflicts_with = "out")]
        command: Vec<String>,
    },
    /// A configuration file with every setting, its default, its unit and its meaning
    #[command(after_help = "Examples:
  pinhole generate config --out /etc/pinhole
  pinhole generate config | less")]
    Config,
    /// A template unit, and the socket that its instances share
    ///
    /// `systemctl enable --now pinhole.socket pinhole@1` starts an instance. A new version takes over with
    /// `systemctl start pinhole@2` and `systemctl stop pinhole@1` on PostgreSQL, and with
    /// `systemctl restart pinhole@1` on SQLite: no connection is refused either way.
    #[command(after_help = "Examples:
  pinhole generate systemd --out /etc/systemd/system")]
    Systemd,
    /// Alert rules for Prometheus
    #[command(after_help = "Examples:
  pinhole generate alerts >/etc/prometheus/pinhole.rules.yml")]
    Alerts,
    /// A dashboard for Grafana 10 and later, with a data source of Prometheus
    #[command(after_help = "Examples:
  pinhole generate dashboard >pinhole.json")]
    Dashboard,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let made: Vec<File> = match &args.what {
        What::Completions { shell } => vec![completions::file(*shell)],
        What::Man { .. } if args.out.is_some() => man::pages()?,
        What::Man { command } => vec![man::page(command)?],
        What::Config => vec![config::file()],
        What::Systemd => systemd::files(),
        What::Alerts => vec![monitoring::alerts()],
        What::Dashboard => vec![monitoring::dashboard()],
    };
    let existing = if args.force { Existing::Overwritten } else { Existing::Kept };
    match &args.out {
        Some(folder) => files::write(folder, &made, existing),
        None => files::print(&made),
    }
}
