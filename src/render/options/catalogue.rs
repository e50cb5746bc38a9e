//! What option strings may call by name: presets and watermarks.

use std::{collections::BTreeMap, sync::Arc};

use super::{BadOptions, Options, values::Fault};
use crate::render::Watermark;

/// The most presets, and the most watermarks, that there may be: a refusal names them all.
const MAX_NAMES: usize = 64;
/// The longest name, in characters.
const MAX_NAME: usize = 32;

/// The presets and watermarks that the operator has set up, checked and ready.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    presets: BTreeMap<String, Options>,
    watermarks: BTreeMap<String, Arc<Watermark>>,
}

/// Why a preset or a watermark cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The name is not one that an option string could say.
    #[error("{0:?} is no name: use 1 to {MAX_NAME} of a-z, 0-9, `_` and `-`")]
    Name(String),
    /// There are too many.
    #[error("there are more than {MAX_NAMES}")]
    TooMany,
    /// A preset's options are wrong.
    #[error("{name}: {fault}")]
    Preset {
        /// The preset.
        name: String,
        /// What is wrong with them.
        fault: BadOptions,
    },
}

impl Catalogue {
    /// Adds a watermark, before the presets that may use it.
    pub fn add_watermark(&mut self, name: &str, watermark: Watermark) -> Result<(), CatalogueError> {
        check_name(name, self.watermarks.len())?;
        self.watermarks.insert(name.to_owned(), Arc::new(watermark));
        Ok(())
    }

    /// Adds a preset for the option string `text`, which names no other preset.
    pub fn add_preset(&mut self, name: &str, text: &str) -> Result<(), CatalogueError> {
        check_name(name, self.presets.len())?;
        let options = Options::parse_pairs(text, self)
            .map_err(|fault| CatalogueError::Preset { name: name.to_owned(), fault })?;
        self.presets.insert(name.to_owned(), options);
        Ok(())
    }

    /// Whether some preset means exactly these options.
    pub fn has_preset_of(&self, options: &Options) -> bool {
        self.presets.values().any(|preset| preset == options)
    }

    /// The names of all presets, in order.
    pub fn presets(&self) -> impl Iterator<Item = &str> {
        self.presets.keys().map(String::as_str)
    }

    pub(super) fn preset(&self, name: &str) -> Result<&Options, Fault> {
        self.presets.get(name).ok_or_else(|| unknown("presets", &self.presets))
    }

    pub(super) fn watermark(&self, name: &str) -> Result<Arc<Watermark>, Fault> {
        self.watermarks.get(name).cloned().ok_or_else(|| unknown("watermarks", &self.watermarks))
    }
}

fn check_name(name: &str, known: usize) -> Result<(), CatalogueError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(plain) {
        return Err(CatalogueError::Name(name.chars().take(MAX_NAME).collect()));
    }
    if known >= MAX_NAMES { Err(CatalogueError::TooMany) } else { Ok(()) }
}

fn unknown<T>(what: &str, names: &BTreeMap<String, T>) -> Fault {
    if names.is_empty() {
        return Fault::saying(format!("no {what} are set up here"));
    }
    let names: Vec<&str> = names.keys().map(String::as_str).collect();
    Fault::saying(format!("the {what} here are {}", names.join(", ")))
}
