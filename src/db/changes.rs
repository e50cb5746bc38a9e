//! What a committed transaction changed of what is remembered outside of the ledger, and how everybody who
//! remembers it is told: this process at once, the others by PostgreSQL's NOTIFY.
//!
//! Nothing is thrown out of any cache for it. Whoever remembers something keeps it under a number that
//! [`Generations`] gave before it was read; once that is another one, it is never found again. So what was
//! read before a change, and arrives after it, is never taken for what is so.

use std::{
    array,
    hash::{BuildHasher as _, Hash, RandomState},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::id::{ImageId, UserId};

/// PostgreSQL's channel for [`Change`]s.
pub(super) const CHANNEL: &str = "pinhole_changes";
/// How many numbers there are; things that share one are forgotten together.
const STRIPES: usize = 4096;
/// The longest payload of a notification, in bytes: PostgreSQL takes less than 8000.
const MAX_PAYLOAD_BYTES: usize = 7000;
/// Of more changes than these in one transaction the others are told that everything changed.
const MAX_CHANGES: usize = 1000;

/// Something that decisions rest on is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The facts of an image.
    Image(ImageId),
    /// Whether one user follows another.
    Following {
        /// Who.
        follower: UserId,
        /// Whom.
        followee: UserId,
    },
    /// Anything, such as whether a user is erased or a service key retired. It is seldom.
    Everything,
}

/// Numbers that step when something changes.
#[derive(Debug)]
pub struct Generations {
    everything: AtomicU64,
    stripes: [AtomicU64; STRIPES],
    hasher: RandomState,
}

impl Default for Generations {
    fn default() -> Self {
        Self {
            everything: AtomicU64::new(0),
            stripes: array::from_fn(|_| AtomicU64::new(0)),
            hasher: RandomState::new(),
        }
    }
}

impl Generations {
    /// The number under which the facts of an image are to be kept, and looked for.
    pub fn of_image(&self, image: ImageId) -> u64 {
        self.number(image)
    }

    /// The same of whether one user follows another.
    pub fn of_following(&self, follower: &UserId, followee: &UserId) -> u64 {
        self.number((follower, followee))
    }

    /// The same of what changes with everything alone.
    pub fn of_everything(&self) -> u64 {
        self.everything.load(Ordering::Acquire)
    }

    /// Both parts only ever grow: equal sums are equal parts.
    fn number(&self, of: impl Hash) -> u64 {
        self.of_everything() + self.stripe(of).load(Ordering::Acquire)
    }

    fn stripe(&self, of: impl Hash) -> &AtomicU64 {
        let hash = usize::try_from(self.hasher.hash_one(of) % STRIPES as u64).unwrap_or(0);
        &self.stripes[hash]
    }

    /// Nothing that was read before this call counts any more, as far as it is concerned.
    pub fn step(&self, change: &Change) {
        match change {
            Change::Image(image) => self.stripe(*image).fetch_add(1, Ordering::AcqRel),
            Change::Following { follower, followee } => {
                self.stripe((follower, followee)).fetch_add(1, Ordering::AcqRel)
            }
            Change::Everything => self.everything.fetch_add(1, Ordering::AcqRel),
        };
    }
}

/// Forgets what a transaction changes once it is over, however it ended.
pub(super) struct Forgotten {
    generations: Arc<Generations>,
    changes: Vec<Change>,
}

impl Forgotten {
    /// When this is dropped.
    pub(super) fn at_its_end(generations: Arc<Generations>, changes: Vec<Change>) -> Self {
        Self { generations, changes }
    }
}

impl Drop for Forgotten {
    fn drop(&mut self) {
        for change in &self.changes {
            self.generations.step(change);
        }
    }
}

/// Changes as the payloads of notifications: a line each.
pub(super) fn payloads(changes: &[Change]) -> Vec<String> {
    if changes.len() > MAX_CHANGES {
        return vec![Change::Everything.to_string()];
    }
    let mut payloads: Vec<String> = Vec::new();
    for line in changes.iter().map(Change::to_string) {
        match payloads.last_mut().filter(|last| last.len() + 1 + line.len() <= MAX_PAYLOAD_BYTES) {
            Some(last) => {
                last.push('\n');
                last.push_str(&line);
            }
            None => payloads.push(line),
        }
    }
    payloads
}

/// Reads what [`payloads`] wrote. What cannot be read may be anything.
pub(super) fn read(payload: &str) -> impl Iterator<Item = Change> {
    payload.lines().map(|line| line.parse().unwrap_or(Change::Everything))
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Image(image) => write!(f, "image {image}"),
            Self::Following { follower, followee } => {
                write!(f, "following {} {}", follower.as_str(), followee.as_str())
            }
            Self::Everything => f.write_str("everything"),
        }
    }
}

impl FromStr for Change {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut words = line.split(' ');
        let change = match words.next() {
            Some("image") => words.next().and_then(ImageId::parse).map(Self::Image),
            Some("following") => words.next().and_then(UserId::parse).and_then(|follower| {
                let followee = words.next().and_then(UserId::parse)?;
                Some(Self::Following { follower, followee })
            }),
            Some("everything") => Some(Self::Everything),
            _ => None,
        };
        change.filter(|_| words.next().is_none()).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn change() -> impl Strategy<Value = Change> {
        let user = || "[A-Za-z0-9._@-]{1,64}".prop_map(|name| UserId::parse(&name).unwrap());
        prop_oneof![
            Just(Change::Everything),
            any::<u8>().prop_map(|_| Change::Image(ImageId::new())),
            (user(), user()).prop_map(|(follower, followee)| Change::Following { follower, followee }),
        ]
    }

    proptest! {
        #[test]
        fn others_are_told_what_changed(changes in prop::collection::vec(change(), 0..300)) {
            let payloads = payloads(&changes);
            prop_assert!(payloads.iter().all(|payload| payload.len() < 8000));
            let told: Vec<Change> = payloads.iter().flat_map(|payload| read(payload)).collect();
            prop_assert_eq!(told, changes);
        }

        #[test]
        fn what_changed_has_another_number_and_never_an_old_one_again(
            steps in prop::collection::vec((0usize..3, any::<bool>()), 1..50),
        ) {
            let (generations, images) = (Generations::default(), [0; 3].map(|_| ImageId::new()));
            let mut seen = images.map(|image| vec![generations.of_image(image)]);
            for (which, everything) in steps {
                let change = if everything { Change::Everything } else { Change::Image(images[which]) };
                generations.step(&change);
                for (image, seen) in images.iter().zip(&mut seen) {
                    let now = generations.of_image(*image);
                    if everything || *image == images[which] {
                        prop_assert!(!seen.contains(&now));
                    }
                    seen.push(now);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_anything() {
        for payload in ["image", "image x", "following a", "following a b c", "images", "everything else"] {
            assert_eq!(read(payload).collect::<Vec<_>>(), [Change::Everything], "{payload}");
        }
        let many = vec![Change::Image(ImageId::new()); MAX_CHANGES + 1];
        assert_eq!(payloads(&many), ["everything"]);
    }
}
