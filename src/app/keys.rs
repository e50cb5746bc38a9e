//! The keys of signed links, from the settings and from a file that may change while the program runs.

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::{Links, Secret},
    link::{KeyRing, KeyRingError},
};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The ring in use.
#[derive(Debug)]
pub struct LinkKeys {
    ring: ArcSwap<KeyRing>,
    /// The file's text at the start.
    first: Secret,
    settings: Links,
}

/// Why there is no ring.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("links.keys_file {0}: {1}")]
    File(PathBuf, io::Error),
    /// The keys are no good.
    #[error("{0}: {1}")]
    Ring(String, KeyRingError),
}

impl LinkKeys {
    /// Reads the ring for the first time.
    pub fn load(settings: &Links) -> Result<Self, LoadError> {
        let (ring, first) = read(settings)?;
        Ok(Self { ring: ArcSwap::from_pointee(ring), first, settings: settings.clone() })
    }

    /// The ring as it is now.
    pub fn ring(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// Follows the file, for as long as the program runs: looks at it every other second, and at a SIGHUP.
    /// The ring before stays in use where the new one is no good.
    pub async fn run(&self) {
        if self.settings.keys_file.is_none() {
            return;
        }
        let Ok(mut asked) = signal(SignalKind::hangup()) else { return };
        let mut text = self.first.clone();
        let mut fault = String::new();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = asked.recv() => {}
            }
            match read(&self.settings) {
                Ok((_, now)) if now == text => fault.clear(),
                Ok((ring, now)) => {
                    tracing::info!("links are signed with key {} now", ring.newest().kid());
                    self.ring.store(Arc::new(ring));
                    text = now;
                    fault.clear();
                }
                Err(error) if error.to_string() == fault => {}
                Err(error) => {
                    fault = error.to_string();
                    tracing::warn!("the keys of links stay what they were: {fault}");
                }
            }
        }
    }
}

/// The keys as they are written, `kid:secret`, newest first and each of them good: for an edge, which verifies by
/// itself.
pub fn written(settings: &Links) -> Result<Vec<Secret>, LoadError> {
    let (_, text) = read(settings)?;
    Ok(all(settings, text.expose()).map(|key| Secret::new(key.trim())).collect())
}

/// The ring, and the text of the file.
fn read(settings: &Links) -> Result<(KeyRing, Secret), LoadError> {
    let (name, text) = match &settings.keys_file {
        None => ("links.keys".to_owned(), String::new()),
        Some(file) => {
            let text = fs::read_to_string(file).map_err(|error| LoadError::File(file.clone(), error))?;
            (format!("links.keys_file {}", file.display()), text)
        }
    };
    let ring = KeyRing::parse(all(settings, &text)).map_err(|error| LoadError::Ring(name, error))?;
    Ok((ring, Secret::new(text)))
}

/// The keys of the file, then those of the settings.
fn all<'a>(settings: &'a Links, text: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.chain(settings.keys.iter().map(Secret::expose))
}
