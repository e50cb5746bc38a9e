//! `[database]`: where the ledger is.

use std::{fmt, path::PathBuf};

use serde::Deserialize;

use super::Secret;

/// `[database]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME`; see [`Database::place`].
    pub url: Secret,
}

/// Where the ledger is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A SQLite file, for exactly one server process.
    Sqlite(PathBuf),
    /// The URL of a PostgreSQL server.
    Postgres(Secret),
}

impl Database {
    /// Reads the URL, or says what is wrong with it, without its password.
    pub fn place(&self) -> Result<Place, &'static str> {
        let url = self.url.expose();
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Place::Postgres(self.url.clone()));
        }
        let path = url.strip_prefix("sqlite:").ok_or(if url.is_empty() {
            "is not set: name the ledger, such as sqlite:pinhole.db or postgres://user:password@host/pinhole"
        } else {
            "must begin with sqlite: or postgres://"
        })?;
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.ends_with('/') || path.starts_with(':') || path.contains('?') {
            return Err("must name a file behind sqlite:, without parameters");
        }
        Ok(Place::Sqlite(PathBuf::from(path)))
    }
}

/// As an operator is told: without user and password, which may also stand among the parameters.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => {
                let rest = url.expose().split_once("://").map_or("", |(_, rest)| rest);
                let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
                if parameters.contains('@') {
                    // The question mark may be the password's own.
                    return f.write_str("postgres://…");
                }
                write!(f, "postgres://{}", rest.rsplit_once('@').map_or(rest, |(_, rest)| rest))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Result<Place, &'static str> {
        Database { url: Secret::new(url) }.place()
    }

    #[test]
    fn a_url_names_a_file_or_a_server() {
        for (url, path) in [
            ("sqlite:pinhole.db", "pinhole.db"),
            ("sqlite:/var/lib/pinhole.db", "/var/lib/pinhole.db"),
            ("sqlite:///var/lib/pinhole.db", "/var/lib/pinhole.db"),
        ] {
            assert_eq!(place(url), Ok(Place::Sqlite(path.into())), "{url}");
        }
        assert!(matches!(place("postgres://a:b@c/d"), Ok(Place::Postgres(_))));
        for url in ["", "pinhole.db", "mysql://a/b", "sqlite:", "sqlite::memory:", "sqlite:a.db?mode=ro"] {
            assert!(place(url).is_err(), "{url}");
        }
    }

    #[test]
    fn passwords_do_not_show() {
        for url in [
            "postgres://hunter:hunter2@db.example:5432/pinhole",
            "postgres://hunter:hunter@2@db.example:5432/pinhole",
            "postgres://db.example:5432/pinhole?user=hunter&password=hunter2",
        ] {
            let place = place(url).unwrap();
            assert_eq!(place.to_string(), "postgres://db.example:5432/pinhole");
            assert!(!format!("{place:?}").contains("hunter"), "{url}");
        }
        for url in ["postgres://hunter:hunt?er2@db/pinhole", "postgres://hunter:hun@t?er2@db/pinhole"] {
            assert_eq!(place(url).unwrap().to_string(), "postgres://…");
        }
    }
}
