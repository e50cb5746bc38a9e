//! The public keys of whoever issues users' tokens: read from a file or a URL, and read again.

use std::{path::PathBuf, time::Duration};

use http::Uri;
use thiserror::Error;
use tokio::{sync::Mutex, time::Instant};

use crate::{
    config::Auth,
    fetch::{FetchError, Fetcher},
    identity::{Identity, JwksError, KeySet},
};

/// The largest document, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// How soon the keys are asked for again when a token names one that is not known: strangers make up
/// names at will.
const LEAST_APART: Duration = Duration::from_secs(10);

/// Where an issuer's keys are, and when they were last read.
#[derive(Debug)]
pub struct Issuer {
    source: Option<Source>,
    refresh: Duration,
    asked: Mutex<Option<Instant>>,
}

#[derive(Debug)]
enum Source {
    File(PathBuf),
    Url(Uri, Box<Fetcher>),
}

/// Why the keys cannot be had.
#[derive(Debug, Error)]
pub enum IssuerError {
    /// Both are named, or the URL is none.
    #[error("auth.{0}")]
    Settings(&'static str),
    /// The file cannot be read.
    #[error("auth.jwks_file {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The document cannot be fetched.
    #[error("auth.jwks_url {0}: {1}")]
    Fetch(Uri, Box<FetchError>),
    /// It is no set of keys.
    #[error("auth.jwks_file or auth.jwks_url: {0}")]
    Jwks(#[from] JwksError),
}

impl Issuer {
    /// Takes the settings, and reads nothing yet.
    pub fn new(settings: &Auth) -> Result<Self, IssuerError> {
        let source = match (&settings.jwks_file, &settings.jwks_url) {
            (None, None) => None,
            (Some(file), None) => Some(Source::File(file.clone())),
            (None, Some(url)) => {
                let uri = url.parse::<Uri>().ok().filter(|uri| uri.host().is_some());
                let uri = uri.ok_or(IssuerError::Settings("jwks_url is no URL"))?;
                let client =
                    Fetcher::new(0).map_err(|error| IssuerError::Fetch(uri.clone(), error.into()))?;
                Some(Source::Url(uri, client.into()))
            }
            _ => return Err(IssuerError::Settings("jwks_file and jwks_url: name one of them")),
        };
        let refresh = Duration::from_secs(settings.jwks_refresh_secs);
        Ok(Self { source, refresh, asked: Mutex::new(None) })
    }

    /// Reads the keys for the first time. A file that is no good is an operator's mistake; a server may
    /// only be away, and is asked again.
    pub async fn begin(&self, identity: &Identity) -> Result<(), IssuerError> {
        match self.read(identity).await {
            Ok(false) if matches!(self.source, Some(Source::File(_))) => Err(JwksError::NoKey.into()),
            Ok(_) => Ok(()),
            Err(error @ (IssuerError::Fetch(..) | IssuerError::Jwks(_)))
                if matches!(self.source, Some(Source::Url(..))) =>
            {
                tracing::warn!("tokens of the issuer are refused until its keys can be had: {error}");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the keys again and again, for as long as the program runs. Those before stay in use where
    /// that fails.
    pub async fn run(&self, identity: &Identity) {
        if self.source.is_none() {
            return;
        }
        loop {
            tokio::time::sleep(self.refresh).await;
            let mut asked = self.asked.lock().await;
            *asked = Some(Instant::now());
            if let Err(error) = self.read(identity).await {
                tracing::warn!("the issuer's keys stay what they were: {error}");
            }
        }
    }

    /// Reads the keys again, unless that was done a moment ago. Whoever asks meanwhile waits for it.
    pub async fn ask_again(&self, identity: &Identity) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|asked| asked.elapsed() < LEAST_APART) {
            return;
        }
        *asked = Some(Instant::now());
        if let Err(error) = self.read(identity).await {
            tracing::warn!("the issuer's keys stay what they were: {error}");
        }
    }

    /// Whether there is a key now, if there is to be one.
    async fn read(&self, identity: &Identity) -> Result<bool, IssuerError> {
        let text = match &self.source {
            None => return Ok(true),
            Some(Source::File(path)) => {
                tokio::fs::read(path).await.map_err(|error| IssuerError::File(path.clone(), error))?.into()
            }
            Some(Source::Url(url, client)) => client
                .get(url, MAX_BYTES)
                .await
                .map_err(|error| IssuerError::Fetch(url.clone(), error.into()))?,
        };
        let keys = KeySet::parse(&text)?;
        let has_keys = !keys.is_empty();
        if !has_keys {
            tracing::warn!(
                "the issuer publishes no key for RS256, ES256 or EdDSA: none of its tokens is taken"
            );
        }
        identity.publish(keys);
        Ok(has_keys)
    }
}
