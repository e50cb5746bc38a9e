//! One server process for a SQLite file: a lock beside it, let go by the system when the process ends.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Held by the one server of a SQLite file, as long as this lives. What only passes by, such as a
/// migration, needs none.
#[derive(Debug)]
pub struct ServerLock {
    _file: File,
}

/// Why this process cannot be the server.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process is.
    #[error(
        "{0}: another pinhole is serving from this SQLite file, which has exactly one server; \
         stop it, or use PostgreSQL for several"
    )]
    InUse(PathBuf),
    /// The database's file, or the one beside it, cannot be used.
    #[error("{0}: {1}; its folder must be there, and be writable")]
    Io(PathBuf, io::Error),
}

impl ServerLock {
    /// Takes the lock of a SQLite file, which is made, empty, when absent. Blocks briefly.
    pub fn take(database: &Path) -> Result<Self, LockError> {
        let failed = |error| LockError::Io(database.to_owned(), error);
        // Before it is there, a link to it has another name, and would get another lock. Not while SQLite
        // has it open: closing it would let go of SQLite's own locks.
        OpenOptions::new().append(true).create(true).open(database).map_err(failed)?;
        let path = lock_path(fs::canonicalize(database).map_err(failed)?);
        let failed = |error| LockError::Io(path.clone(), error);
        let file = File::create(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::InUse(database.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// The database's own path with `.lock` behind it: one lock, by whatever link the file is reached.
fn lock_path(database: PathBuf) -> PathBuf {
    let mut path: OsString = database.into();
    path.push(".lock");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_server_by_whatever_name() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a.db"), folder.path().join("b.db"));
        // The link is there before what it leads to.
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let lock = ServerLock::take(&link).unwrap();
        for name in [&file, &link] {
            assert!(matches!(ServerLock::take(name), Err(LockError::InUse(_))), "{}", name.display());
        }
        drop(lock);
        ServerLock::take(&file).unwrap();
    }

    #[test]
    fn a_missing_folder_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let error = ServerLock::take(&folder.path().join("none/a.db")).unwrap_err();
        assert!(error.to_string().contains("none/a.db"), "{error}");
    }
}
