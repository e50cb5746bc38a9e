//! The settings among the environment's variables.

use std::{collections::HashMap, ffi::OsString};

use super::ConfigError;

/// What the names of settings begin with.
const PREFIX: &str = "PINHOLE_";
/// The tests' own, which are nobody else's business.
const OF_TESTS: &str = "PINHOLE_TEST_";
/// The one setting that is in no section.
const WITHOUT_SECTION: &str = "PINHOLE_FOLLOWS";

/// The variables that are pinhole's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Variables {
    /// Settings by their path, such as `server.listen`. They stay text until the setting's own type reads
    /// them: a secret of digits is no number.
    pub(super) settings: HashMap<String, String>,
    /// The names of those that look like settings and are none, sorted.
    pub(super) ignored: Vec<String>,
}

/// Sorts the environment. A setting is in a section, so that its name has `__`; Kubernetes sets
/// `PINHOLE_PORT` and the like beside any Service called pinhole, which must not keep it from starting.
pub(super) fn read(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Variables, ConfigError> {
    let mut found = Variables::default();
    for (name, value) in variables {
        let Some(name) = name.to_str() else { continue };
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        if name.starts_with(OF_TESTS) {
            continue;
        }
        if !path.contains("__") && name != WITHOUT_SECTION {
            found.ignored.push(name.to_owned());
            continue;
        }
        let value = value.into_string().map_err(|_| ConfigError::Read(format!("{name}: not UTF-8")))?;
        found.settings.insert(path.to_lowercase().replace("__", "."), value);
    }
    found.ignored.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn variable(name: &str, value: &str) -> (OsString, OsString) {
        (name.into(), value.into())
    }

    #[test]
    fn settings_are_told_from_what_others_set() {
        let variables = [
            variable("PINHOLE_SERVER__LISTEN", "127.0.0.1:1"),
            variable("PINHOLE_FOLLOWS", "open"),
            variable("PINHOLE_SERVICE_HOST", "10.0.0.1"),
            variable("PINHOLE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            variable("PINHOLE_DATABASE", "postgres://hunter:hunter2@db/pinhole"),
            variable("PINHOLE_TEST_S3_ENDPOINT", "http://127.0.0.1"),
            variable("OTHERS__NAME", "x"),
        ];
        let found = read(variables).unwrap();
        let settings = [("server.listen", "127.0.0.1:1"), ("follows", "open")];
        assert_eq!(found.settings, settings.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert_eq!(found.ignored, ["PINHOLE_DATABASE", "PINHOLE_PORT_8080_TCP", "PINHOLE_SERVICE_HOST"]);
    }

    #[test]
    fn what_is_not_text_is_named_and_not_shown() {
        let value = OsString::from_vec(b"hunter2\xff".to_vec());
        let error = read([("PINHOLE_AUTH__JWT_SECRET".into(), value)]).unwrap_err().to_string();
        assert!(error.contains("PINHOLE_AUTH__JWT_SECRET") && !error.contains("hunter2"), "{error}");
    }
}
