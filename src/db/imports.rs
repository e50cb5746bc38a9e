//! What `pinhole import` has brought in: which file of which source became which image.
//!
//! A row is written in the transaction that makes its image ready, so that a run which is killed anywhere has
//! brought a file in and knows it, or neither. An image's end takes everything out of its row but that it was there,
//! whose it was, and what tells its file from a later one; its owner's erasure takes the row.

use sha2::{Digest as _, Sha256};

use super::{Conn, DbError, query::parsed, rules};
use crate::id::{ImageId, UserId, hex};

/// A file that may come in.
#[derive(Clone, Debug)]
pub struct File<'a> {
    /// The folder or bucket that it lies in.
    pub source: &'a str,
    /// Where it lies in there.
    pub path: &'a str,
    /// Whose image it becomes.
    pub owner: &'a UserId,
    /// What tells whether it is still the same.
    pub version: &'a str,
}

/// What became of a file that has come in before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// An image that is there.
    There {
        /// The image.
        image: ImageId,
        /// Whether the file is still what it was then.
        is_same: bool,
        /// SHA-256 of its bytes, in hexadecimal.
        sha256: String,
    },
    /// An image that is not there any more.
    Gone {
        /// How it ended.
        end: End,
        /// Whether the file is still what it was then.
        is_same: bool,
    },
}

impl Known {
    /// The image, if it is there.
    pub fn image(&self) -> Option<ImageId> {
        match self {
            Self::There { image, .. } => Some(*image),
            Self::Gone { .. } => None,
        }
    }
}

/// How an image that had come in ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Somebody deleted it.
    Deleted,
    /// Its time ran out, and nothing used it.
    Expired,
}

impl End {
    fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Expired => "expired",
        }
    }
}

impl File<'_> {
    /// Names the row. A path may be long, and so may a source; neither holds a NUL, nor does a user's id.
    fn entry(&self) -> String {
        let mut hash = Sha256::new();
        for part in [self.source, self.owner.as_str(), self.path] {
            hash.update(part);
            hash.update([0]);
        }
        hex(&hash.finalize())
    }

    /// What the row tells versions apart by: it says nothing else of the file, and so outlives the image.
    fn version_hash(&self) -> String {
        hex(&Sha256::digest(self.version))
    }
}

/// What became of a file, if it has come in before for this owner.
pub async fn find(conn: &mut Conn, file: &File<'_>, now_micros: i64) -> Result<Option<Known>, DbError> {
    let row = optional!(
        conn,
        (String, Option<String>, Option<String>, Option<i64>, Option<String>),
        "SELECT j.version, j.ended, i.id, i.deadline, b.sha256 FROM imports j
         LEFT JOIN images i ON i.id = j.image_id AND i.state = 'ready'
         LEFT JOIN blobs b ON b.key = i.blob_key
         WHERE j.entry = $1",
        file.entry()
    )?;
    let Some((version, ended, image, deadline, sha256)) = row else { return Ok(None) };
    let is_same = version == file.version_hash();
    let (Some(image), Some(sha256)) = (image, sha256) else {
        let end = if ended.as_deref() == Some(End::Expired.as_str()) { End::Expired } else { End::Deleted };
        return Ok(Some(Known::Gone { end, is_same }));
    };
    let image = parsed("image id", &image, ImageId::parse)?;
    let is_over = deadline.is_some_and(|deadline| deadline <= now_micros);
    Ok(Some(if is_over && !rules::is_used(conn, image).await? {
        Known::Gone { end: End::Expired, is_same }
    } else {
        Known::There { image, is_same, sha256 }
    }))
}

/// Writes down that a file became an image. `before` is the image that it was known to be, if it was known to be one
/// that is there. False, and nothing written, when it has become another one meanwhile.
pub async fn record(
    conn: &mut Conn,
    file: &File<'_>,
    image: ImageId,
    before: Option<ImageId>,
    now_micros: i64,
) -> Result<bool, DbError> {
    let touched = execute!(
        conn,
        "INSERT INTO imports (entry, owner_id, source, path, version, image_id, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (entry) DO UPDATE SET
            source = excluded.source, path = excluded.path, version = excluded.version,
            image_id = excluded.image_id, created_at = excluded.created_at, ended = NULL
         WHERE imports.image_id = $8 OR NOT EXISTS (
            SELECT 1 FROM images WHERE id = imports.image_id AND state = 'ready'
                AND (deadline IS NULL OR deadline > $7))",
        file.entry(),
        file.owner.as_str(),
        file.source,
        file.path,
        file.version_hash(),
        image.to_string(),
        now_micros,
        before.map_or_else(String::new, |image| image.to_string())
    )?;
    Ok(touched == 1)
}

/// Writes down that a file which was touched, and has the same bytes, is still this image.
pub async fn set_version(conn: &mut Conn, file: &File<'_>, image: ImageId) -> Result<(), DbError> {
    execute!(
        conn,
        "UPDATE imports SET version = $2 WHERE entry = $1 AND image_id = $3",
        file.entry(),
        file.version_hash(),
        image.to_string()
    )?;
    Ok(())
}

/// Forgets what an image that has ended once was, but for whose it was, and that the same file shall not come back by
/// itself.
pub(super) async fn forget_image(conn: &mut Conn, image: ImageId, end: End) -> Result<(), DbError> {
    execute!(
        conn,
        "UPDATE imports SET source = NULL, path = NULL, image_id = NULL, ended = $2 WHERE image_id = $1",
        image.to_string(),
        end.as_str()
    )?;
    Ok(())
}

/// Forgets everything that a user's images once were.
pub(super) async fn forget_user(conn: &mut Conn, user: &UserId) -> Result<(), DbError> {
    execute!(conn, "DELETE FROM imports WHERE owner_id = $1", user.as_str())?;
    Ok(())
}
