//! `[bucket]`: where the private bucket is, and what opens it.

use serde::Deserialize;

use super::{Secret, list::list};

/// `[bucket]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bucket {
    /// The URL of the S3 server, without the bucket. Empty, it is what `AWS_ENDPOINT_URL` says, or
    /// Amazon's own.
    pub endpoint: String,
    /// The same as browsers and apps reach it, where that is another: uploads are granted for it.
    pub public_endpoint: String,
    /// The region that requests are signed for. Empty, it is what `AWS_REGION` or the SDK's profile says.
    pub region: String,
    /// The bucket's name; it must be there, and private.
    pub name: String,
    /// The access key's public half. Empty, the SDK's own chain is asked: environment, profile, web
    /// identity, container, instance.
    pub access_key_id: String,
    /// The access key's secret half.
    pub secret_access_key: Secret,
    /// What a temporary key brings besides.
    pub session_token: Secret,
    /// `endpoint/name/key` instead of `name.endpoint/key`: what most self-hosted servers need.
    pub path_style: bool,
    /// Seconds that one operation may take until its answer begins, all tries included.
    pub operation_timeout_secs: u64,
    /// The web origins whose pages may upload straight to the bucket. They are compared with the
    /// bucket's own CORS rules, which pinhole never changes.
    #[serde(deserialize_with = "list")]
    pub cors_origins: Vec<String>,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            public_endpoint: String::new(),
            region: String::new(),
            name: String::new(),
            access_key_id: String::new(),
            secret_access_key: Secret::default(),
            session_token: Secret::default(),
            path_style: false,
            operation_timeout_secs: 30,
            cors_origins: Vec::new(),
        }
    }
}

/// Whether this is a server's URL, or nothing. A path is allowed: some servers keep S3 under one.
pub(super) fn is_endpoint(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let is_url =
        |rest: &str| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['?', '#', ' ', '@']);
    url.is_empty() || rest.is_some_and(is_url)
}
