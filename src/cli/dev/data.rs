//! The data folder of `pinhole dev`: one process at a time, and secrets that outlive it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRng as _, rngs::SysRng};
use serde::Deserialize;
use thiserror::Error;

use crate::config::Secret;

/// The database's file.
const DATABASE: &str = "pinhole.db";

/// An opened data folder; locked as long as this lives.
#[derive(Debug)]
pub(in crate::cli) struct Dir {
    path: PathBuf,
    secrets: Secrets,
    _lock: File,
}

/// What is made up once for a data folder.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Secrets {
    /// Signs the demo users' tokens.
    pub(in crate::cli) jwt_secret: Secret,
    /// Signs links, as `kid:secret`.
    pub(in crate::cli) link_key: Secret,
    /// The embedded bucket's secret access key.
    pub(super) s3_secret_key: Secret,
}

/// Why a data folder cannot be used.
#[derive(Debug, Error)]
pub(in crate::cli) enum DataError {
    #[error("--data {0}: another pinhole dev is using this folder; stop it, or name another folder")]
    InUse(PathBuf),
    #[error("--data {0}: no pinhole dev has run here; name its folder")]
    Absent(PathBuf),
    #[error("--data {0}: {1}")]
    Io(PathBuf, io::Error),
    #[error("{0}: {1}; mend the file, or remove it to have new secrets made")]
    Secrets(PathBuf, serde_json::Error),
}

pub(super) fn secrets_path(data: &Path) -> PathBuf {
    data.join("secrets.json")
}

/// Where a folder's database is.
pub(in crate::cli) fn database_path(data: &Path) -> PathBuf {
    data.join(DATABASE)
}

impl Secrets {
    /// Reads those of a folder, which may be in use.
    pub(in crate::cli) fn read(data: &Path) -> Result<Self, DataError> {
        let file = secrets_path(data);
        let text = fs::read(&file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => DataError::Absent(data.to_owned()),
            _ => DataError::Io(data.to_owned(), error),
        })?;
        serde_json::from_slice(&text).map_err(|error| DataError::Secrets(file, error))
    }
}

impl Dir {
    /// Opens the folder, makes it and its secrets when absent, and locks it.
    pub(in crate::cli) fn open(path: &Path) -> Result<Self, DataError> {
        let failed = |error| DataError::Io(path.to_owned(), error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => DataError::InUse(path.to_owned()),
            TryLockError::Error(error) => failed(error),
        })?;
        let file = secrets_path(path);
        if !file.try_exists().map_err(failed)? {
            write_secrets(&file).map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), secrets: Secrets::read(path)?, _lock: lock })
    }

    /// Opens the folder as it was left, and locks it.
    pub(in crate::cli) fn open_existing(path: &Path) -> Result<Self, DataError> {
        if !path.join(DATABASE).is_file() || !secrets_path(path).is_file() {
            return Err(DataError::Absent(path.to_owned()));
        }
        Self::open(path)
    }

    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    pub(in crate::cli) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    pub(super) fn bucket(&self) -> PathBuf {
        self.path.join("bucket")
    }
}

/// Whole or not at all: a crash in between leaves no half file behind that later starts trip over.
fn write_secrets(file: &Path) -> io::Result<()> {
    let secret = || -> io::Result<String> {
        let mut bytes = [0; 32];
        SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    };
    let text = serde_json::json!({
        "jwt_secret": secret()?,
        "link_key": format!("dev:{}", secret()?),
        "s3_secret_key": secret()?,
    });
    let unfinished = file.with_extension("new");
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    out.write_all(format!("{text:#}\n").as_bytes())?;
    out.sync_all()?;
    fs::rename(unfinished, file)
}
