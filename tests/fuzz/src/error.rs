//! A stand-in for `error`: a refusal, of which no target asks more than its text.

use std::fmt;

/// What a client is told instead of what he asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Error(pub String);

impl Error {
    pub fn not_found() -> Self {
        Self("not_found".to_owned())
    }

    pub fn bad_request(code: &'static str, detail: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self(format!("{code}: {}", detail.into()))
    }

    pub fn invalid_field(field: &str, rule: impl fmt::Display) -> Self {
        Self(format!("{field}: {rule}"))
    }

    pub fn unauthenticated(detail: &'static str) -> Self {
        Self(detail.to_owned())
    }

    pub fn forbidden(code: &'static str, _detail: &'static str) -> Self {
        Self(code.to_owned())
    }

    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self(allow.to_owned())
    }

    pub fn body_timeout() -> Self {
        Self("request_timeout".to_owned())
    }

    pub fn tus_version(versions: &'static str) -> Self {
        Self(versions.to_owned())
    }

    pub fn too_large(what: &str, max_bytes: u64) -> Self {
        Self(format!("{what} is larger than {max_bytes}"))
    }

    pub fn unsupported_type(detail: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self(detail.into().into_owned())
    }

    /// What the program logs. Nothing that is fuzzed may end here.
    pub fn internal(log: &dyn fmt::Display) -> Self {
        panic!("an internal error: {log}");
    }
}
