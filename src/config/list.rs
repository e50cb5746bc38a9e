//! Lists, in a file and in the environment.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer};

/// A list as a file writes it, or as comma-separated text of an environment variable.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + FromStr<Err: fmt::Display>,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a list, or text with commas between its items")]
    enum Written<T> {
        Text(String),
        List(Vec<T>),
    }
    match Written::deserialize(deserializer)? {
        Written::List(list) => Ok(list),
        Written::Text(text) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(|item| item.parse().map_err(serde::de::Error::custom)).collect()
        }
    }
}
