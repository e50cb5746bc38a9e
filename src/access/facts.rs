//! What must be known of an image to decide about it.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::{
    id::{BlobKey, ImageId, UserId},
    render::{Format, Masters, Size},
    spelled::spelled,
};

/// All that a decision needs, as one query brings it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The image.
    pub image: ImageId,
    /// Who uploaded it.
    pub owner: UserId,
    /// Where it is in its life.
    pub state: State,
    /// Counts the times it was narrowed; a link is bound to one value.
    pub epoch: i64,
    /// Taken out of everybody's sight but its owner's and the service's.
    pub held: bool,
    /// Whether its owner's account is erased.
    pub owner_erased: bool,
    /// Who may see it besides the owner, through what it is used for.
    pub audience: Audience,
    /// When it is reclaimed, in microseconds since the Unix epoch; `None` while something uses it.
    pub deadline_micros: Option<i64>,
    /// Where its bytes lie, sealed: only a permit opens it.
    pub published: Arc<Published>,
}

/// The immutable bytes behind an image; [`super::Permit`] alone tells where they lie.
#[derive(Debug)]
pub struct Published {
    pub(super) blob: BlobKey,
    pub(super) raw: Contents,
    pub(super) original: Option<Contents>,
    pub(super) format: Format,
    pub(super) moves: bool,
    pub(super) size: Size,
    pub(super) masters: Masters,
}

/// What an object's bytes are, without them: what is said of them, and what they are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// How many bytes there are.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
}

impl Contents {
    /// What these bytes are.
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: Sha256::digest(bytes).into() }
    }
}

/// The files of an image, as ingest found them.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    /// The very file that was uploaded.
    pub raw: Contents,
    /// The same without its metadata; `None` of what came in before that was written down.
    pub original: Option<Contents>,
    /// The format of both.
    pub format: Format,
    /// Whether there is more than one frame.
    pub moves: bool,
    /// The size, upright.
    pub size: Size,
}

impl Published {
    /// Seals the key of the objects in the bucket, what they are, and which masters there are beside the
    /// original.
    pub fn new(blob: BlobKey, files: Files, masters: Masters) -> Self {
        let Files { raw, original, format, moves, size } = files;
        Self { blob, raw, original, format, moves, size, masters }
    }
}

/// Where an image is in its life: `reserved → uploaded → ready → deleted`, or `rejected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A row without verified bytes yet.
    Reserved,
    /// Bytes have come, but are not verified.
    Uploaded,
    /// Verified and published.
    Ready,
    /// Refused by ingest.
    Rejected,
    /// Gone, or on its way out.
    Deleted,
}

/// Who may see an image besides its owner: the widest of its uses.
///
/// Only the owner can attach an image, so every use has the same author and the same followers, and
/// audiences are totally ordered. Becoming less is what *narrowing* means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Audience {
    /// Nobody else: private posts, or no use at all.
    Owner,
    /// The owner's followers.
    Followers,
    /// Anybody: a public post or an avatar.
    Public,
}

spelled!(State {
    Reserved = "reserved",
    Uploaded = "uploaded",
    Ready = "ready",
    Rejected = "rejected",
    Deleted = "deleted",
});

impl Audience {
    /// The number that the ledger keeps; larger is wider.
    pub fn rank(self) -> i64 {
        match self {
            Self::Owner => 0,
            Self::Followers => 1,
            Self::Public => 2,
        }
    }

    /// Reads [`Audience::rank`] back; anything unknown is the narrowest.
    pub fn from_rank(rank: i64) -> Self {
        match rank {
            2 => Self::Public,
            1 => Self::Followers,
            _ => Self::Owner,
        }
    }
}
