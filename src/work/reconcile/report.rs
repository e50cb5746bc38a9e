//! What a reconciliation found and did: counts by kind of object, and findings, of which a bounded
//! number is listed.

use serde::Serialize;

use crate::{
    config::Sweep,
    id::{ImageId, UserId},
    store::{Kind, Listed},
    work::{Due, Swept},
};

/// How many findings of one sort are listed; the rest is counted.
const MAX_LISTED: usize = 50;

/// The report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether it was only looked, and nothing changed.
    pub dry_run: bool,
    /// What the ledger itself said was over, when the reconciliation began.
    pub due: Due,
    /// What the sweep of that did; none in a dry run, and when everything was left alone.
    pub swept: Option<Swept>,
    /// What of that, and of what it let go, was still over after the sweep; nothing without one.
    pub left: Due,
    /// What bucket and ledger hold.
    #[serde(flatten)]
    pub found: Found,
    /// Why everything was left alone, if it was.
    pub refusal: Option<Refusal>,
}

/// What bucket and ledger hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// One of each [`Kind::ALL`], in that order.
    pub kinds: [KindFound; Kind::ALL.len()],
    /// Objects with keys that are not pinhole's; they are never touched.
    pub foreign: Tally,
    /// Objects that must be there and are not.
    pub missing_objects: Findings<MissingObject>,
    /// Orphans old enough to go.
    pub orphans: Findings<ListedObject>,
    /// Orphans that could not be deleted.
    pub failed: Findings<Failed>,
    /// Objects of others.
    pub foreign_objects: Findings<ListedObject>,
}

/// What bucket and ledger hold of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KindFound {
    /// What the keys of this kind begin with.
    pub prefix: &'static str,
    /// Objects that the ledger knows.
    pub matched: Tally,
    /// Orphans: objects without a row, older than the grace period. To be deleted.
    pub orphans: Tally,
    /// Those of them that were deleted.
    pub deleted: Tally,
    /// Objects without a row that are younger, and left.
    pub young: Tally,
    /// Objects that must be there and are not.
    pub missing: u64,
}

/// So many objects with so many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Objects.
    pub objects: u64,
    /// Their lengths' sum.
    pub bytes: u64,
}

/// Findings of one sort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Findings<T> {
    /// The first of them.
    pub listed: Vec<T>,
    /// How many more there are.
    pub more: u64,
}

/// An object as the bucket lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedObject {
    /// Its full key; not necessarily one of ours, so it may hold anything.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// When it was written, in seconds since 1970.
    pub modified_secs: u64,
}

/// An object that the ledger says is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissingObject {
    /// Its full key, which ends in the blob's.
    pub key: String,
    /// Whose it is.
    pub owner: UserId,
    /// The first of the images that cannot be shown without it.
    pub images: Vec<ImageId>,
    /// Whether there are more.
    pub more_images: bool,
}

/// An orphan that is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Its full key.
    pub key: String,
    /// What the bucket said.
    pub error: String,
}

/// Why nothing was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Refusal {
    /// Bucket and ledger differ so much that they hardly belong together.
    Disagreement {
        /// Objects without a row, of whatever age, and objects that are missing.
        disagreements: u64,
        /// Those, and the objects that have their row.
        compared: u64,
        /// The setting that was exceeded, in percent.
        max_percent: u8,
    },
    /// More would be deleted than is without being told so.
    Orphans {
        /// Objects without a row that are old enough to go.
        orphans: u64,
        /// The setting that was exceeded.
        max_orphans: u64,
    },
}

impl Refusal {
    /// The number that an operator has to name to go on. No other refusal comes behind it.
    pub fn force(&self) -> u64 {
        match *self {
            Self::Disagreement { disagreements, .. } => disagreements,
            Self::Orphans { orphans, .. } => orphans,
        }
    }
}

impl Report {
    /// Whether nothing is left that is wrong, or that could not be done.
    pub fn is_clean(&self) -> bool {
        self.refusal.is_none()
            && self.found.missing() == 0
            && !(self.dry_run && self.found.orphans() > 0)
            && self.left == Due::default()
            && self.found.failed.is_empty()
            && self.swept.is_none_or(|swept| swept.failed == 0)
    }
}

impl Found {
    pub(super) fn new() -> Self {
        let empty = |kind: Kind| KindFound {
            prefix: kind.prefix(),
            matched: Tally::default(),
            orphans: Tally::default(),
            deleted: Tally::default(),
            young: Tally::default(),
            missing: 0,
        };
        Self {
            kinds: Kind::ALL.map(empty),
            foreign: Tally::default(),
            missing_objects: Findings::default(),
            orphans: Findings::default(),
            failed: Findings::default(),
            foreign_objects: Findings::default(),
        }
    }

    /// The counts of one kind.
    pub(super) fn of(&mut self, kind: Kind) -> &mut KindFound {
        // Every kind has its place in `Kind::ALL`, and the first is as good as any for what cannot be.
        let place = Kind::ALL.iter().position(|&each| each == kind).unwrap_or_default();
        &mut self.kinds[place]
    }

    /// How many objects are missing.
    pub fn missing(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.missing).sum()
    }

    /// How many orphans are old enough to go.
    pub fn orphans(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.orphans.objects).sum()
    }

    /// Why these findings are not acted on, if the rules say so.
    ///
    /// A wrong database or bucket shows as nearly everything disagreeing, in one direction or both;
    /// orphans too young to be deleted bear the same witness and count.
    /// A ledger that once was the bucket's, such as a copy, shows as some orphans, which the other one
    /// has rows of.
    pub(super) fn distrust(&self, rules: &Sweep) -> Option<Refusal> {
        let young: u64 = self.kinds.iter().map(|kind| kind.young.objects).sum();
        let matched: u64 = self.kinds.iter().map(|kind| kind.matched.objects).sum();
        let disagreements = self.orphans() + young + self.missing();
        let compared = matched + disagreements;
        let (max_percent, max_orphans) = (rules.max_disagreement_percent, rules.max_orphans);
        if disagreements.saturating_mul(100) > compared.saturating_mul(max_percent.into()) {
            return Some(Refusal::Disagreement { disagreements, compared, max_percent });
        }
        let orphans = self.orphans();
        (orphans > max_orphans).then_some(Refusal::Orphans { orphans, max_orphans })
    }
}

impl Tally {
    pub(super) fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

impl<T> Default for Findings<T> {
    fn default() -> Self {
        Self { listed: Vec::new(), more: 0 }
    }
}

impl<T> Findings<T> {
    /// Whether one more would be listed.
    pub(super) fn has_room(&self) -> bool {
        self.listed.len() < MAX_LISTED
    }

    /// One more, listed if there is room.
    pub(super) fn add(&mut self, finding: T) {
        if self.has_room() { self.listed.push(finding) } else { self.more += 1 }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.listed.len() as u64 + self.more
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }
}

impl From<Listed> for ListedObject {
    fn from(object: Listed) -> Self {
        Self { key: object.key, bytes: object.bytes, modified_secs: object.modified_secs }
    }
}
