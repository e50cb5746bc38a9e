//! Whose a file is: one user's for all, by the folder that it lies in, or as a list says.

use std::{collections::HashMap, fs, io, path::Path};

use serde::Deserialize;
use thiserror::Error;

use crate::id::UserId;

/// The largest list that is read, in bytes; it is kept in memory.
const MAX_LIST_BYTES: u64 = 256 << 20;

/// Whose files are.
#[derive(Debug)]
pub enum Owners {
    /// All are one user's.
    One(UserId),
    /// The first folder below the source is the user's id.
    Folder,
    /// By path below the source, as a list says.
    List(HashMap<String, String>),
}

/// Why a list cannot be used.
#[derive(Debug, Error)]
pub enum ListError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is too large.
    #[error("it has more than {} MiB; split it, and import each half", MAX_LIST_BYTES >> 20)]
    TooLarge,
    /// A line says nothing.
    #[error("line {line} is neither path<TAB>owner nor {{\"path\":…,\"owner\":…}}")]
    Line {
        /// Which one, from 1.
        line: usize,
    },
    /// A file has two owners.
    #[error("line {line} gives {path:?} another owner than a line before; keep one of them")]
    Twice {
        /// Which one, from 1.
        line: usize,
        /// The file's path.
        path: String,
    },
}

/// A line of a list in JSON. Other fields are nobody's business here, so that a list may say more.
#[derive(Deserialize)]
struct Line {
    path: String,
    owner: String,
}

impl Owners {
    /// Reads a list: a line for each file, `path<TAB>owner`, or an object of JSON with both.
    pub fn read(file: &Path) -> Result<Self, ListError> {
        if fs::metadata(file)?.len() > MAX_LIST_BYTES {
            return Err(ListError::TooLarge);
        }
        Self::parse(&fs::read_to_string(file)?)
    }

    fn parse(text: &str) -> Result<Self, ListError> {
        let mut owners = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let at = at + 1;
            if line.trim().is_empty() {
                continue;
            }
            let (path, owner) = if line.starts_with('{') {
                let Line { path, owner } =
                    serde_json::from_str(line).map_err(|_| ListError::Line { line: at })?;
                (path, owner)
            } else {
                let (path, owner) = line.split_once('\t').ok_or(ListError::Line { line: at })?;
                (path.to_owned(), owner.to_owned())
            };
            match owners.insert(path.clone(), owner.clone()) {
                Some(before) if before != owner => return Err(ListError::Twice { line: at, path }),
                _ => {}
            }
        }
        Ok(Self::List(owners))
    }

    /// Whose the file at this path below the source is, or why that cannot be said.
    pub fn of(&self, path: &str) -> Result<UserId, String> {
        let name = match self {
            Self::One(user) => return Ok(user.clone()),
            Self::Folder => match path.split_once('/') {
                Some((folder, _)) => folder,
                None => return Err("it lies in no folder that would say whose it is".to_owned()),
            },
            Self::List(owners) => owners.get(path).ok_or("the list of owners does not name it")?,
        };
        UserId::parse(name).ok_or_else(|| format!("{name:?} is no user id, which has {}", UserId::RULE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(owners: &Owners, path: &str) -> Result<String, String> {
        owners.of(path).map(|user| user.to_string())
    }

    #[test]
    fn the_first_folder_is_whose_it_is() {
        assert_eq!(of(&Owners::Folder, "alice/2020/a.jpg"), Ok("alice".to_owned()));
        assert!(of(&Owners::Folder, "a.jpg").unwrap_err().contains("no folder"));
        assert!(of(&Owners::Folder, "Ann Smith/a.jpg").unwrap_err().contains("\"Ann Smith\" is no user id"));
    }

    #[test]
    fn a_list_may_mix_both_forms_and_must_not_contradict_itself() {
        let list = "a.jpg\talice\n\n{\"path\":\"b\\t.jpg\",\"owner\":\"bob\",\"more\":1}\r\na.jpg\talice\n";
        let owners = Owners::parse(list).unwrap();
        assert_eq!(of(&owners, "a.jpg"), Ok("alice".to_owned()));
        assert_eq!(of(&owners, "b\t.jpg"), Ok("bob".to_owned()));
        assert!(of(&owners, "c.jpg").unwrap_err().contains("does not name it"));
        for (bad, said) in [
            ("a.jpg\talice\na.jpg\tbob", "line 2 gives \"a.jpg\" another owner"),
            ("a.jpg,alice", "line 1 is neither"),
            ("{\"path\":\"a.jpg\"}", "line 1 is neither"),
        ] {
            let error = Owners::parse(bad).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
