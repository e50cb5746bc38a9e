//! How to reach the bucket: validated settings, and the SDK client made of them.

use std::time::Duration;

use aws_sdk_s3::config::{
    BehaviorVersion, Config, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient, StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::Credentials;

/// Tries of one operation, the first included, before an outage is reported.
const MAX_ATTEMPTS: u32 = 3;
/// How long to wait for the endpoint to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A body that moves less than a byte a second for this long is given up.
const STALL_GRACE: Duration = Duration::from_secs(10);

/// Where the bucket is and how to talk to it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The endpoint's URL, such as `http://127.0.0.1:9000`; `None` for Amazon's own.
    pub endpoint: Option<String>,
    /// The endpoint as clients reach it, where that is another: grants are made
    /// out for it. `None` for the same.
    pub public_endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// The private bucket.
    pub bucket: String,
    /// What requests are signed with.
    pub credentials: Credentials,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`: what most
    /// self-hosted servers need.
    pub force_path_style: bool,
    /// The most that one operation may take until its answer's head is here:
    /// sending the body, all tries and the pauses between them included. A body
    /// that comes back may take longer, as long as it keeps moving.
    pub operation_timeout: Duration,
}

/// The SDK's own choices, pinned to a date.
pub(super) fn behavior_version() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// The SDK client for `settings`. Everything that the SDK would otherwise guess
/// from the environment or change with a version is named here.
pub(super) fn client(settings: &Settings) -> aws_sdk_s3::Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT.min(settings.operation_timeout))
        .operation_timeout(settings.operation_timeout)
        .build();
    let mut config = Config::builder()
        .behavior_version(behavior_version())
        .http_client(http_client(settings.endpoint.as_deref()))
        .region(Region::new(settings.region.clone()))
        .force_path_style(settings.force_path_style)
        .credentials_provider(settings.credentials.clone())
        // `Credentials` caches, for the SDK and for us alike.
        .identity_cache(IdentityCache::no_cache())
        // Default checksums come as signed trailers, which some servers refuse;
        // SigV4 already covers every body that leaves from memory.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        // Where a server keeps checksums, a flipped bit on the way back is noticed.
        .response_checksum_validation(ResponseChecksumValidation::WhenSupported)
        .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
        .timeout_config(timeouts)
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled().grace_period(STALL_GRACE).build(),
        );
    config.set_endpoint_url(settings.endpoint.clone());
    aws_sdk_s3::Client::from_conf(config.build())
}

/// The same client, speaking of the bucket by the name that clients know it by.
/// It signs, and never connects.
pub(super) fn public_client(settings: &Settings, client: &aws_sdk_s3::Client) -> aws_sdk_s3::Client {
    let Some(endpoint) = &settings.public_endpoint else { return client.clone() };
    let config = client.config().to_builder().endpoint_url(endpoint);
    aws_sdk_s3::Client::from_conf(config.build())
}

/// TLS with ring unless the endpoint is plain http, which then needs neither
/// TLS nor the system's certificates.
pub(super) fn http_client(endpoint: Option<&str>) -> SharedHttpClient {
    let builder = aws_smithy_http_client::Builder::new();
    if endpoint.is_some_and(|url| url.starts_with("http://")) {
        return builder.build_http();
    }
    builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}
