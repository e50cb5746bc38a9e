//! Who is looking.

use crate::id::UserId;

/// A viewer, in relation to one image's owner.
#[derive(Clone, Copy, Debug)]
pub enum Viewer<'a> {
    /// Nobody in particular.
    Anonymous,
    /// A signed-in user.
    User {
        /// Who he is.
        id: &'a UserId,
        /// Whether he follows the image's owner.
        follows_owner: bool,
    },
    /// The app's backend, acting for itself.
    Service,
}
