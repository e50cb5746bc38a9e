//! What a reader of settings says, as an operator may see it: where and what is expected, never a value
//! or a line of the file, since either may be a secret.

use config::ConfigError;

/// What messages of readers begin with that hold names of settings at most.
const WITHOUT_VALUES: [&str; 6] = [
    "unknown field ",
    "missing field ",
    "duplicate field ",
    "expected ",
    "invalid socket address",
    "invalid digit",
];

/// The error on one line.
pub(super) fn explain(error: &ConfigError) -> String {
    match error {
        ConfigError::FileParse { uri, cause } => {
            let text = cause.to_string();
            let place = uri.as_deref().unwrap_or("the file");
            format!("{place}: {}", without_source(&text))
        }
        ConfigError::Type { origin, expected, key, .. } => {
            let origin = origin.as_deref().map(|origin| format!(" (in {origin})")).unwrap_or_default();
            format!("{}expected {expected}{origin}", prefix(key.as_deref()))
        }
        ConfigError::At { error, key, .. } => format!("{}{}", prefix(key.as_deref()), explain(error)),
        ConfigError::Message(text) => without_value(text),
        // What is left speaks of files and of settings' names.
        other => other.to_string(),
    }
}

fn prefix(key: Option<&str>) -> String {
    key.map(|key| format!("{key}: ")).unwrap_or_default()
}

/// The TOML reader shows the line between a first line that says where, and a last that says what.
fn without_source(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    match lines.next_back() {
        Some(last) => format!("{first}: {last}"),
        None => first.to_owned(),
    }
}

/// Serde puts a wrong value before what was expected.
fn without_value(text: &str) -> String {
    if WITHOUT_VALUES.iter().any(|start| text.starts_with(start)) {
        return text.to_owned();
    }
    match text.rsplit_once(", expected ") {
        Some((_, expected)) if expected.starts_with("struct ") => {
            "expected a section, of settings with names of their own".to_owned()
        }
        Some((_, expected)) => format!("expected {expected}"),
        None if text.starts_with("enum ") => "expected one of the words that this setting knows".to_owned(),
        None => "expected a value of another form".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn said(settings: &str) -> String {
        let file = config::File::from_str(settings, config::FileFormat::Toml);
        let read = config::Config::builder().add_source(file).build();
        explain(&read.and_then(config::Config::try_deserialize::<Config>).unwrap_err())
    }

    #[test]
    fn a_setting_is_named_and_its_value_is_not() {
        for (settings, named) in [
            ("database = \"hunter2\"", &["database", "section"][..]),
            ("auth = \"hunter2, expected hunter2\"", &["auth", "section"]),
            ("follows = \"hunter2\"", &["follows", "one of"]),
            ("[auth]\njwt_secret = [\"hunter2\"]", &["auth.jwt_secret", "expected"]),
            ("[auth]\njwt_secret = { hunter = \"hunter2\" }", &["auth.jwt_secret", "expected"]),
            ("[links]\nkeys = { a = \"hunter2\" }", &["links.keys", "a list"]),
            ("[upload]\nmax_bytes = \"hunter2\"", &["upload.max_bytes", "integer"]),
            ("[upload]\nmax_byte = \"hunter2\"", &["upload", "unknown field `max_byte`"]),
            ("[server]\nlisten = \"hunter2\"", &["server.listen", "invalid socket address"]),
            ("[auth]\njwt_secret = hunter2\n", &["line 2, column 14", "string"]),
            ("[auth]\njwt_secret = \"hunter2\n", &["line 2", "string"]),
            ("[auth]\r\njwt_secret \"hunter2\"\r\n", &["line 2"]),
            ("[auth]\njwt_secret = \"a\"\njwt_secret = \"hunter2\"\n", &["line 3", "duplicate key"]),
        ] {
            let text = said(settings);
            assert!(!text.contains("hunter2") && text.lines().count() == 1, "{settings:?}: {text}");
            for part in named {
                assert!(text.contains(part), "{part:?} is not in {text:?}, of {settings:?}");
            }
        }
    }
}
