//! What came of files that were to come in: of each, and of all in numbers.

use serde::Serialize;

use crate::{
    db::imports::End,
    id::{ImageId, UserId},
};

/// What came of files, in numbers.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Tally {
    /// Files that came in, or would, in a dry run.
    pub imported: u64,
    /// Their bytes.
    pub imported_bytes: u64,
    /// Those among them that had come in before, and have changed since.
    pub changed: u64,
    /// Files that had come in before.
    pub known: u64,
    /// Files whose images were deleted since.
    pub deleted: u64,
    /// Files whose images expired since: nothing came to use them in time.
    pub expired: u64,
    /// Pictures that were refused.
    pub refused: u64,
    /// Files that are no pictures.
    pub no_pictures: u64,
    /// Hidden files and folders, and links, which nobody looked at.
    pub passed: u64,
}

/// What came of one file.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its path below the source.
    pub path: String,
    /// Its length in bytes, where it came in or would.
    pub bytes: u64,
    /// Whose it is, where that is known.
    pub owner: Option<UserId>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What may come of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is an image now.
    Imported {
        /// The image; `None` in a dry run.
        image: Option<ImageId>,
        /// The image that an earlier version of it became, which is left as it is.
        replaces: Option<ImageId>,
    },
    /// It was one already.
    Known {
        /// The image.
        image: ImageId,
    },
    /// It was one, which is not there any more.
    Gone(End),
    /// It is none.
    Refused {
        /// Why.
        why: String,
        /// Whether it is meant to be a picture at all.
        is_picture: bool,
    },
}

impl Tally {
    /// How many files were looked at.
    pub fn files(&self) -> u64 {
        self.imported + self.known + self.deleted + self.expired + self.refused + self.no_pictures
    }

    pub(super) fn add(&mut self, line: &Line) {
        match &line.outcome {
            Outcome::Imported { replaces, .. } => {
                self.imported += 1;
                self.imported_bytes += line.bytes;
                self.changed += u64::from(replaces.is_some());
            }
            Outcome::Known { .. } => self.known += 1,
            Outcome::Gone(End::Deleted) => self.deleted += 1,
            Outcome::Gone(End::Expired) => self.expired += 1,
            Outcome::Refused { is_picture: true, .. } => self.refused += 1,
            Outcome::Refused { is_picture: false, .. } => self.no_pictures += 1,
        }
    }
}

impl Outcome {
    /// What becomes of the files of a user who was erased.
    pub(super) fn erased() -> Self {
        let why = "its owner was erased, and has no images any more".to_owned();
        Self::Refused { why, is_picture: true }
    }
}
