//! `pinhole generate systemd`: a template unit and the socket that its instances share, so that one takes over from
//! another (`server::Inherited`).

use crate::cli::files::{File, Nature};

/// The unit and the socket.
pub(super) fn files() -> Vec<File> {
    [
        ("pinhole@.service", include_str!("systemd/pinhole@.service"), Nature::Yours),
        ("pinhole.socket", include_str!("systemd/pinhole.socket"), Nature::Yours),
    ]
    .map(|(name, text, nature)| File { name: name.into(), text: text.to_owned(), nature })
    .into()
}
