//! What a service key is good for.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::spelled::spelled;

/// One thing that a service key may be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To see images and read what is known of them.
    Read,
    /// To change things.
    Write,
    /// To mint links.
    Sign,
}

spelled!(Scope { Read = "read", Write = "write", Sign = "sign" });

/// All that a service key is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scopes {
    read: bool,
    write: bool,
    sign: bool,
}

/// What is no list of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("scopes are a list of read, write and sign, such as read,sign")]
pub struct BadScopes;

impl Scopes {
    /// Everything.
    pub const ALL: Scopes = Scopes { read: true, write: true, sign: true };

    /// Whether this is among them.
    pub fn allow(self, scope: Scope) -> bool {
        match scope {
            Scope::Read => self.read,
            Scope::Write => self.write,
            Scope::Sign => self.sign,
        }
    }
}

/// As in `read,sign`.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes = [Scope::Read, Scope::Write, Scope::Sign].into_iter().filter(|scope| self.allow(*scope));
        let names: Vec<&str> = scopes.map(Scope::as_str).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Scopes {
    type Err = BadScopes;

    fn from_str(text: &str) -> Result<Self, BadScopes> {
        let mut scopes = Scopes { read: false, write: false, sign: false };
        for name in text.split(',') {
            match Scope::parse(name.trim()).ok_or(BadScopes)? {
                Scope::Read => scopes.read = true,
                Scope::Write => scopes.write = true,
                Scope::Sign => scopes.sign = true,
            }
        }
        Ok(scopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_read_as_they_are_written() {
        for (text, written) in
            [("read", "read"), ("sign, read", "read,sign"), ("read,write,sign", "read,write,sign")]
        {
            assert_eq!(text.parse::<Scopes>().map(|scopes| scopes.to_string()), Ok(written.to_owned()));
        }
        for text in ["", "admin", "read,", "READ"] {
            assert_eq!(text.parse::<Scopes>(), Err(BadScopes), "{text:?}");
        }
    }
}
