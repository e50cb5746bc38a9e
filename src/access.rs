//! Who may see an image: the whole rule, pure, in one screen.
//!
//! [`decide`] weighs a viewer's own right, [`honour`] a signed link's. They are the only two places
//! where a [`Permit`] is made, and a `Permit` is the only thing that gives away where an image's
//! bytes lie. Code that forgets to ask therefore does not compile.

mod facts;
mod scopes;
mod viewer;

pub use facts::{Audience, Contents, Facts, Files, Published, State};
pub use scopes::{BadScopes, Scope, Scopes};
pub use viewer::Viewer;

use std::sync::Arc;

use crate::{
    clock,
    id::{BlobKey, ImageId},
    link,
    render::{Format, Masters, Size},
    spelled::spelled,
};

/// Leave to read one image, as it was when the facts were read.
#[derive(Debug)]
pub struct Permit {
    image: ImageId,
    published: Arc<Published>,
    epoch: i64,
    held: bool,
    full: bool,
    basis: Basis,
}

/// Where a right came from; it decides how far the answer may be cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Anybody may see the image.
    Public,
    /// A signed link, good for so many more seconds.
    Link {
        /// Seconds until the link expires; at least 1.
        left_secs: u64,
    },
    /// The viewer himself, by cookie or bearer token.
    Session,
}

impl Permit {
    /// The image that may be read.
    pub fn image(&self) -> ImageId {
        self.image
    }

    /// Names its objects in the bucket.
    pub fn blob(&self) -> &BlobKey {
        &self.published.blob
    }

    /// What the file is that was uploaded.
    pub fn raw(&self) -> &Contents {
        &self.published.raw
    }

    /// What its original is; `None` when the ledger does not know yet.
    pub fn original(&self) -> Option<&Contents> {
        self.published.original.as_ref()
    }

    /// The format of its original.
    pub fn format(&self) -> Format {
        self.published.format
    }

    /// Whether its original is an animation.
    pub fn moves(&self) -> bool {
        self.published.moves
    }

    /// The size of its original, upright.
    pub fn size(&self) -> Size {
        self.published.size
    }

    /// The smaller renditions of it that variants may be made from.
    pub fn masters(&self) -> &Masters {
        &self.published.masters
    }

    /// Where the right came from.
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// Whether the viewer is the owner or a service: he may have the very bytes that were uploaded,
    /// and the fields that are nobody else's business.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The epoch to bind a new link to, or `None` while the image is held.
    pub fn linkable_epoch(&self) -> Option<i64> {
        (!self.held).then_some(self.epoch)
    }
}

/// Why an image is not shown: for logs and metrics alone. To the asker every one of these is the
/// same 404, so that nobody learns what exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// There is no such image.
    Unknown,
    /// It is not verified yet, was rejected, or is deleted.
    NotReady,
    /// Nothing uses it and its deadline has passed.
    Expired,
    /// Its owner's account is erased.
    OwnerGone,
    /// It is held, and the viewer is neither its owner nor a service.
    Held,
    /// The viewer is not among those who may see it.
    NotAllowed,
    /// The link was signed for an earlier epoch: the image was narrowed or revoked since.
    StaleLink,
}

spelled!(Denial {
    Unknown = "unknown",
    NotReady = "not_ready",
    Expired = "expired",
    OwnerGone = "owner_gone",
    Held = "held",
    NotAllowed = "not_allowed",
    StaleLink = "stale_link",
});

impl Basis {
    /// Its name, for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Link { .. } => "link",
            Self::Session => "session",
        }
    }
}

/// Decides what a viewer may see in his own right.
///
/// `now_micros` is the time in microseconds since the Unix epoch.
pub fn decide(facts: &Facts, viewer: Viewer<'_>, now_micros: i64) -> Result<Permit, Denial> {
    shown_to_somebody(facts, now_micros)?;
    let full = match viewer {
        Viewer::Anonymous => false,
        Viewer::User { id, .. } => *id == facts.owner,
        Viewer::Service => true,
    };
    let basis = if facts.held {
        if full { Basis::Session } else { return Err(Denial::Held) }
    } else {
        match (facts.audience, viewer) {
            (Audience::Public, _) => Basis::Public,
            _ if full => Basis::Session,
            (Audience::Followers, Viewer::User { follows_owner: true, .. }) => Basis::Session,
            _ => return Err(Denial::NotAllowed),
        }
    };
    Ok(permit(facts, full, basis))
}

/// Decides whether a link, whose signature and expiry were already verified, still holds.
///
/// Whoever signed it had the right to; what is checked here is that nothing took it away since.
pub fn honour(facts: &Facts, link: &link::Verified, now_micros: i64) -> Result<Permit, Denial> {
    shown_to_somebody(facts, now_micros)?;
    if facts.held {
        return Err(Denial::Held);
    }
    if facts.epoch != link.epoch() {
        return Err(Denial::StaleLink);
    }
    // It may have been waited for since the link was looked at.
    let left_secs = link.left_secs_at(now_micros).ok_or(Denial::StaleLink)?;
    // No copy outlives the picture.
    let left_secs = match facts.deadline_micros {
        Some(deadline) => left_secs.min(clock::secs(deadline - now_micros)),
        None => left_secs,
    };
    Ok(permit(facts, false, Basis::Link { left_secs }))
}

/// What must be true before anyone at all, the owner included, sees an image.
fn shown_to_somebody(facts: &Facts, now_micros: i64) -> Result<(), Denial> {
    if facts.state != State::Ready {
        return Err(Denial::NotReady);
    }
    if facts.owner_erased {
        return Err(Denial::OwnerGone);
    }
    if facts.deadline_micros.is_some_and(|deadline| deadline <= now_micros) {
        return Err(Denial::Expired);
    }
    Ok(())
}

fn permit(facts: &Facts, full: bool, basis: Basis) -> Permit {
    Permit {
        image: facts.image,
        published: Arc::clone(&facts.published),
        epoch: facts.epoch,
        held: facts.held,
        full,
        basis,
    }
}
