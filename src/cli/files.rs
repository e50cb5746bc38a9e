//! Files that a command makes for an operator: printed, or written into a folder.

use std::{
    borrow::Cow,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use super::Failure;

/// One file.
#[derive(Debug)]
pub(super) struct File {
    /// Its name, which may lie in folders.
    pub name: Cow<'static, str>,
    /// What it holds.
    pub text: String,
    /// Who may read it, and whether it is written again.
    pub nature: Nature,
}

/// What becomes of a file that is there already, and who may read the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// Written again every time.
    Ours,
    /// Likewise, and readable by its owner alone.
    Secret,
    /// Written once; from then on it is the operator's.
    Yours,
}

/// What becomes of an operator's file that differs from the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// It stays as it is.
    Kept,
    /// It is overwritten.
    Overwritten,
}

impl File {
    /// A file that is the same whatever the settings are.
    pub(super) fn fixed(name: &'static str, text: &str) -> Self {
        Self { name: name.into(), text: text.to_owned(), nature: Nature::Ours }
    }
}

/// Prints all files, each under its name as `head` and `tail` do; one alone without.
pub(super) fn print(files: &[File]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let printed = match files {
        [only] => out.write_all(only.text.as_bytes()),
        files => files.iter().try_for_each(|file| writeln!(out, "==> {} <==\n{}", file.name, file.text)),
    };
    match printed {
        // Whoever has read enough hangs up.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(error)),
        _ => Ok(()),
    }
}

/// Writes the files into a folder, and says what it did. A file is there whole or not at all, so that an edge that
/// is reloaded meanwhile never reads half of one.
pub(super) fn write(folder: &Path, files: &[File], existing: Existing) -> Result<(), Failure> {
    let mut said = String::new();
    for file in files {
        let path = folder.join(&*file.name);
        let is_kept = file.nature == Nature::Yours && existing == Existing::Kept && path.exists();
        if !is_kept {
            write_whole(&path, file)
                .map_err(|error| Failure::failed(format!("{}: {error}; mend --out", path.display())))?;
        }
        let what = if is_kept { "kept as it is, yours" } else { "written" };
        // Writing to a String never fails.
        let _ = writeln!(said, "{}: {what}", path.display());
    }
    // What was done is done, whoever reads of it.
    let _ = io::stdout().write_all(said.as_bytes());
    Ok(())
}

fn write_whole(path: &Path, file: &File) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mode = if file.nature == Nature::Secret { 0o600 } else { 0o644 };
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let written = (|| {
        let mut new = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        // One that was left behind keeps its mode when it is opened.
        new.set_permissions(fs::Permissions::from_mode(mode))?;
        new.write_all(file.text.as_bytes())?;
        new.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // It is of no use to anybody; the error says what is wrong.
        let _ = fs::remove_file(&beside);
    }
    written
}
