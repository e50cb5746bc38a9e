//! `pinhole generate config`: a configuration file with every setting.

use crate::cli::files::{File, Nature};

const SAMPLE: &str = include_str!("pinhole.toml");

/// The file.
pub(super) fn file() -> File {
    // Who may read it is for the operator to say: secrets rather stand in the environment.
    File { name: "pinhole.toml".into(), text: SAMPLE.to_owned(), nature: Nature::Yours }
}

#[cfg(test)]
mod tests;
