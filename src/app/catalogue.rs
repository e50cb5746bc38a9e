//! Presets and watermarks as the settings have them, read and checked once at start.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use thiserror::Error;

use crate::{
    config::{self, Transform},
    render::{Catalogue, CatalogueError, Watermark, WatermarkError, WatermarkSettings},
};

/// The largest file of a watermark, in bytes.
const MAX_WATERMARK_BYTES: u64 = 8 << 20;

/// Why a preset or a watermark is refused; the message names the setting.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A preset is no option string, or has no good name.
    #[error("transform.presets: {0}")]
    Preset(CatalogueError),
    /// A watermark has no good name, or there are too many.
    #[error("transform.watermarks: {0}")]
    WatermarkName(CatalogueError),
    /// A watermark's settings or file are wrong.
    #[error("transform.watermarks.{0}: {1}")]
    Watermark(String, WatermarkError),
    /// A watermark's file cannot be read.
    #[error("transform.watermarks.{0}.file: {1}")]
    File(String, io::Error),
}

/// Reads what the settings name.
pub fn load(transform: &Transform) -> Result<Catalogue, LoadError> {
    let mut catalogue = Catalogue::default();
    for (name, settings) in &transform.watermarks {
        catalogue.add_watermark(name, watermark(name, settings)?).map_err(LoadError::WatermarkName)?;
    }
    for (name, options) in &transform.presets {
        catalogue.add_preset(name, options).map_err(LoadError::Preset)?;
    }
    Ok(catalogue)
}

fn watermark(name: &str, settings: &config::Watermark) -> Result<Watermark, LoadError> {
    let unusable = |error| LoadError::Watermark(name.to_owned(), error);
    let config::Watermark { file, position, opacity, scale } = settings;
    let drawn = WatermarkSettings::parse(position.as_deref(), opacity.as_deref(), scale.as_deref())
        .map_err(unusable)?;
    let bytes = read(file).map_err(|error| LoadError::File(name.to_owned(), error))?;
    Watermark::new(name, &bytes, drawn).map_err(unusable)
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|open| open.take(MAX_WATERMARK_BYTES + 1).read_to_end(&mut bytes))
        .map_err(named)?;
    if bytes.len() as u64 > MAX_WATERMARK_BYTES {
        return Err(io::Error::other(format!(
            "{} is larger than the {MAX_WATERMARK_BYTES} bytes of a watermark",
            file.display()
        )));
    }
    Ok(bytes)
}
