//! An existing folder or bucket comes in: what lies there, whose it is, and each file once.
//!
//! Every file goes through [`Ingest`], as an upload does, and the ledger is told in the transaction that makes it an
//! image (`db/imports.rs`). So a run may be killed anywhere; the next one goes on with what is missing.

pub mod bucket;
mod file;
pub mod folder;
mod meant;
mod outcome;
pub mod owners;
pub mod source;

use std::{
    io,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use thiserror::Error;
use tokio::sync::watch;

pub use self::{
    file::SourceError,
    outcome::{Line, Outcome, Tally},
};
use self::{
    file::{File, Found, Read, ReadError},
    owners::Owners,
    source::Source,
};
use crate::{
    clock,
    db::{
        Db, DbError, images,
        imports::{self, End, Known},
        users,
    },
    gate::GateError,
    id::{ImageId, UserId},
    ingest::{Ingest, IngestError, Kept},
    render::Format,
    store::StoreError,
};

/// How long to wait before a file is tried again while the ledger or a bucket is away; after the last the run ends.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];
/// A deadline that is earlier than it would be now by less than this is left alone, in seconds.
const SLACK_SECS: u64 = 60 * 60;
/// How much of a file's name is kept, in characters.
const MAX_NAME_CHARS: usize = 255;

/// Brings a source in.
#[derive(Debug)]
pub struct Importer {
    /// The ledger.
    pub db: Db,
    /// The way in.
    pub ingest: Ingest,
    /// What is brought in.
    pub source: Source,
    /// Whose it is.
    pub owners: Owners,
    /// How.
    pub rules: Rules,
    /// What came of it so far.
    pub tally: Arc<Mutex<Tally>>,
}

/// How files are brought in.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The largest file that is taken, in bytes.
    pub max_bytes: u64,
    /// For how long an image is kept that nothing uses, in seconds.
    pub keep_secs: u64,
    /// How many files are worked on at once.
    pub at_once: usize,
    /// Whether what came in once, and was not used in time, comes in again.
    pub again: bool,
    /// Whether what somebody deleted since does.
    pub again_deleted: bool,
}

impl Rules {
    /// What comes of a file that is not read, since what became of it before says enough; a dry run and a run leave out
    /// the same.
    fn left_out(&self, known: Option<&Known>) -> Option<Outcome> {
        match known? {
            Known::There { image, is_same: true, .. } => Some(Outcome::Known { image: *image }),
            Known::Gone { end, is_same: true } if !self.brings_back(*end) => Some(Outcome::Gone(*end)),
            Known::There { .. } | Known::Gone { .. } => None,
        }
    }

    fn brings_back(&self, end: End) -> bool {
        match end {
            End::Deleted => self.again_deleted,
            End::Expired => self.again,
        }
    }
}

/// Why a run ended before all was brought in; it can simply be run again.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The ledger failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The way in is closed: the bucket, the ledger or the temporary folder failed.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// What came of a file cannot be told.
    #[error("--report: {0}")]
    Report(io::Error),
    /// Another import brings in the same files, and is not done.
    #[error("another import is at work on {0:?}")]
    Contended(String),
}

impl ImportError {
    /// Whether trying again soon may help.
    fn is_passing(&self) -> bool {
        let is_away =
            |error: &StoreError| matches!(error, StoreError::Unavailable(_) | StoreError::Credentials(_));
        match self {
            Self::Source(SourceError::Bucket(_, error)) | Self::Ingest(IngestError::Store(error)) => {
                is_away(error)
            }
            Self::Db(error) | Self::Ingest(IngestError::Db(error)) => error.is_outage(),
            Self::Ingest(IngestError::Expired | IngestError::Gate(_)) | Self::Contended(_) => true,
            _ => false,
        }
    }
}

impl Importer {
    /// Counts the files, and nothing of it is told. Ends early when it is to stop.
    pub async fn count(&self, stop: &watch::Sender<bool>) -> Result<u64, ImportError> {
        let (mut found, mut stops, mut files) = (self.source.walk(), stop.subscribe(), 0);
        while let Some(found) = next(&mut found, &mut stops).await {
            files += u64::from(!matches!(found?, Found::Passed));
        }
        Ok(files)
    }

    /// Brings in what is not there yet, and tells of each file. What is under way is finished when it is to stop.
    pub async fn run(
        self: &Arc<Self>,
        stop: &watch::Sender<bool>,
        mut tell: impl FnMut(&Line) -> io::Result<()>,
    ) -> Result<(), ImportError> {
        let found = stream::unfold((self.source.walk(), stop.subscribe()), async |(mut found, mut stops)| {
            next(&mut found, &mut stops).await.map(|next| (next, (found, stops)))
        });
        let mut done = pin!(
            found
                .map(|found| {
                    // On all threads, and to its end.
                    let (importer, stops) = (Arc::clone(self), stop.subscribe());
                    let taking = tokio::spawn(async move { importer.take(found?, stops).await });
                    async move { taking.await.map_err(|error| IngestError::Spool(io::Error::other(error)))? }
                })
                .buffer_unordered(self.rules.at_once.max(1))
        );
        let mut failed = Ok(());
        while let Some(line) = done.next().await {
            let told = match line {
                Ok(Some(line)) => {
                    self.tally().add(&line);
                    tell(&line).map_err(ImportError::Report)
                }
                Ok(None) => {
                    self.tally().passed += 1;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if told.is_err() && failed.is_ok() {
                failed = told;
                // Those under way are finished, as when somebody says so.
                stop.send_replace(true);
            }
        }
        failed
    }

    /// Tells what would come in, as far as that can be said without reading any file.
    pub async fn look(
        &self,
        stop: &watch::Sender<bool>,
        mut tell: impl FnMut(&Line) -> io::Result<()>,
    ) -> Result<(), ImportError> {
        let (mut found, mut stops) = (self.source.walk(), stop.subscribe());
        while let Some(found) = next(&mut found, &mut stops).await {
            let (file, owner) = match self.meant(found?) {
                Ok(Some(meant)) => meant,
                Ok(None) => {
                    self.tally().passed += 1;
                    continue;
                }
                Err(line) => {
                    self.tally().add(&line);
                    tell(&line).map_err(ImportError::Report)?;
                    continue;
                }
            };
            let mut conn = self.db.read().await?;
            let outcome = if users::is_alive(&mut conn, &owner).await? == Some(false) {
                Outcome::erased()
            } else {
                let known = imports::find(&mut conn, &self.entry(&file, &owner), clock::now_micros()).await?;
                self.rules.left_out(known.as_ref()).unwrap_or_else(|| {
                    let replaces = known.as_ref().and_then(Known::image);
                    Outcome::Imported { image: None, replaces }
                })
            };
            let line = Line { path: file.path, bytes: file.bytes, owner: Some(owner), outcome };
            self.tally().add(&line);
            tell(&line).map_err(ImportError::Report)?;
        }
        Ok(())
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry<'a>(&'a self, file: &'a File, owner: &'a UserId) -> imports::File<'a> {
        imports::File { source: self.source.name(), path: &file.path, owner, version: &file.version }
    }

    /// A file and whose it is; or what is to be told of what cannot come in.
    fn meant(&self, found: Found) -> Result<Option<(File, UserId)>, Line> {
        let refused = |path: String, owner, why| {
            // What nobody has looked at may be a picture.
            Err(Line { path, bytes: 0, owner, outcome: Outcome::Refused { why, is_picture: true } })
        };
        match found {
            Found::Passed => Ok(None),
            Found::Refused { path, why } => refused(path, None, why),
            Found::File(file) => match self.owners.of(&file.path) {
                Err(why) => refused(file.path, None, why),
                Ok(owner) if file.bytes > self.rules.max_bytes => {
                    refused(file.path, Some(owner), file::too_large(self.rules.max_bytes))
                }
                Ok(owner) => Ok(Some((file, owner))),
            },
        }
    }

    /// Takes on what was found, again where something is away for a while.
    async fn take(
        &self,
        found: Found,
        mut stops: watch::Receiver<bool>,
    ) -> Result<Option<Line>, ImportError> {
        let (file, owner) = match self.meant(found) {
            Ok(Some(meant)) => meant,
            Ok(None) => return Ok(None),
            Err(line) => return Ok(Some(line)),
        };
        let mut pauses = PAUSES.iter();
        let outcome = loop {
            match (self.bring_in(&file, &owner).await, pauses.next()) {
                (Ok(outcome), _) => break outcome,
                (Err(error), Some(pause)) if error.is_passing() && !*stops.borrow() => {
                    tracing::warn!("{:?} is tried again in {pause:?}: {error}", file.path);
                    // An error means that nobody can say so any more.
                    let _ = tokio::time::timeout(*pause, stops.wait_for(|stop| *stop)).await;
                }
                (Err(error), _) => return Err(error),
            }
        };
        Ok(Some(Line { path: file.path, bytes: file.bytes, owner: Some(owner), outcome }))
    }

    async fn bring_in(&self, file: &File, owner: &UserId) -> Result<Outcome, ImportError> {
        let entry = self.entry(file, owner);
        if !self.is_welcome(owner).await? {
            return Ok(Outcome::erased());
        }
        let found = imports::find(&mut self.db.read().await?, &entry, clock::now_micros()).await?;
        match self.rules.left_out(found.as_ref()) {
            Some(Outcome::Known { image }) => return self.keep(image, None).await,
            Some(outcome) => return Ok(outcome),
            None => {}
        }
        let before = match found {
            Some(Known::There { image, sha256, .. }) => Some((image, sha256)),
            Some(Known::Gone { .. }) | None => None,
        };
        let refused = |why: String, is_picture| Ok(Outcome::Refused { why, is_picture });
        let Read { spooled, head } = match self.source.read(file, self.rules.max_bytes).await {
            Ok(read) => read,
            Err(ReadError::Refused(why)) => return refused(why, true),
            Err(ReadError::Stop(error)) => return Err(error.into()),
        };
        if let Some((image, sha256)) = &before
            && *sha256 == spooled.sha256_hex()
        {
            return self.keep(*image, Some(&entry)).await;
        }
        if spooled.is_empty() {
            return refused("it is empty".to_owned(), meant::is_picture(file.name(), &[]));
        }
        let is_picture = meant::is_picture(file.name(), &head);
        let before = before.map(|(image, _)| image);
        let name = file.name().chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect();
        match self.ingest.import(&entry, before, spooled, Some(name), self.rules.keep_secs).await {
            Ok(Kept::As(image)) => Ok(Outcome::Imported { image: Some(image), replaces: before }),
            Ok(Kept::Otherwise) => Err(ImportError::Contended(file.path.clone())),
            Err(IngestError::UnsupportedType) if !is_picture => refused("it is no picture".to_owned(), false),
            Err(IngestError::UnsupportedType) => refused(format!("it is no {}", Format::NAMES), true),
            Err(IngestError::QuotaExceeded) => {
                refused("its owner has as much as quota.images or quota.bytes allows".to_owned(), true)
            }
            Err(IngestError::OwnerGone) => Ok(Outcome::erased()),
            Err(
                error @ (IngestError::Heic
                | IngestError::Rejected(_)
                | IngestError::Gate(GateError::Panicked)
                | IngestError::Store(StoreError::Damaged { .. } | StoreError::Missing { .. })),
            ) => refused(error.to_string(), true),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a user may have images; he is known from here on.
    async fn is_welcome(&self, owner: &UserId) -> Result<bool, DbError> {
        if let Some(is_alive) = users::is_alive(&mut self.db.read().await?, owner).await? {
            return Ok(is_alive);
        }
        let mut tx = self.db.begin().await?;
        let is_alive = users::ensure(&mut tx, owner, clock::now_micros()).await?;
        tx.commit().await?;
        Ok(is_alive)
    }

    /// Gives an image that is there the whole time again, if nothing uses it; of a file that was touched alone, the
    /// ledger learns the new version.
    async fn keep(
        &self,
        image: ImageId,
        touched: Option<&imports::File<'_>>,
    ) -> Result<Outcome, ImportError> {
        let now = clock::now_micros();
        let deadline = clock::after(now, self.rules.keep_secs);
        let is_late =
            images::is_kept_until(&mut self.db.read().await?, image, clock::before(deadline, SLACK_SECS))
                .await?;
        if !is_late || touched.is_some() {
            let mut tx = self.db.begin().await?;
            images::put_off(&mut tx, image, now, deadline).await?;
            if let Some(file) = touched {
                imports::set_version(&mut tx, file, image).await?;
            }
            tx.commit().await?;
        }
        Ok(Outcome::Known { image })
    }
}

/// What the walk comes upon next; `None` at its end, or when it is to stop.
async fn next(
    found: &mut tokio::sync::mpsc::Receiver<Result<Found, SourceError>>,
    stops: &mut watch::Receiver<bool>,
) -> Option<Result<Found, SourceError>> {
    tokio::select! {
        biased;
        _ = stops.wait_for(|stop| *stop) => None,
        found = found.recv() => found,
    }
}
