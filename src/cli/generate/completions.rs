//! `pinhole generate completions`: what a shell completes commands and flags with.

use clap::CommandFactory as _;
use clap_complete::{Generator as _, Shell, generate};

use crate::cli::{
    Cli,
    files::{File, Nature},
};

/// The file for a shell, under the name by which it looks for it.
pub(super) fn file(shell: Shell) -> File {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "pinhole", &mut script);
    let name = shell.file_name("pinhole");
    File { name: name.into(), text: String::from_utf8_lossy(&script).into_owned(), nature: Nature::Ours }
}
