//! A stand-in for `config`: of the settings those that a request is judged by, without their reader.

mod list;
mod rights;
mod secret;

pub use rights::Auth;
pub use secret::Secret;

/// Settings of [`crate::identity`].
#[derive(Debug, Default)]
pub struct Config {
    pub auth: Auth,
    pub server: Server,
}

#[derive(Debug, Default)]
pub struct Server {
    pub public_url: String,
}

/// What a server does.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    All,
    Upload,
    Deliver,
}

impl Role {
    pub fn controls(self) -> bool {
        !matches!(self, Self::Deliver)
    }

    pub fn delivers(self) -> bool {
        !matches!(self, Self::Upload)
    }
}
