//! The bucket's settings from the configuration, and what is not said there from the AWS SDK's own
//! variables, profile and credential chain.

use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_types::service_config::ServiceConfigKey;
use thiserror::Error;

use super::{Credentials, Settings, settings};
use crate::config::{self, Secret};

/// How long the SDK may take to find a region, which it may ask the network for.
const LOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What is said nowhere; the message names the setting.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// No bucket is named.
    #[error("bucket.name is not set: name the private bucket")]
    Name,
    /// Neither the configuration nor the SDK knows a region.
    #[error(
        "bucket.region is not set, and neither AWS_REGION nor a profile says one: \
         name the bucket's region, such as us-east-1"
    )]
    Region,
    /// The SDK took too long.
    #[error(
        "the AWS SDK did not find the bucket's settings within {} s: set bucket.region, bucket.endpoint and the \
         keys, or mend what AWS_PROFILE and the like lead to",
        LOAD_TIMEOUT.as_secs()
    )]
    Slow,
    /// There is no key, and the SDK has nowhere to look for one.
    #[error("bucket.access_key_id and bucket.secret_access_key are not set")]
    Credentials,
}

impl Settings {
    /// The settings of this bucket. What is set explicitly wins; where keys, region and endpoint all are,
    /// the SDK's environment is not looked at.
    pub async fn find(bucket: &config::Bucket) -> Result<Self, SettingsError> {
        if bucket.name.is_empty() {
            return Err(SettingsError::Name);
        }
        let said = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (endpoint, region) = (said(&bucket.endpoint), said(&bucket.region));
        let keys = said(&bucket.access_key_id).map(|id| {
            let token = Some(&bucket.session_token).filter(|token| **token != Secret::default());
            Credentials::keys(&id, &bucket.secret_access_key, token)
        });
        let sdk = if keys.is_some() && region.is_some() && endpoint.is_some() {
            None
        } else {
            Some(load(region.clone()).await.ok_or(SettingsError::Slow)?)
        };
        let region = region.or_else(|| said(sdk.as_ref()?.region()?.as_ref()));
        let chain = || sdk.as_ref().and_then(SdkConfig::credentials_provider).map(Credentials::provided);
        Ok(Self {
            endpoint: endpoint.or_else(|| endpoint_of(sdk.as_ref()?)),
            public_endpoint: said(&bucket.public_endpoint),
            region: region.ok_or(SettingsError::Region)?,
            bucket: bucket.name.clone(),
            credentials: keys.or_else(chain).ok_or(SettingsError::Credentials)?,
            force_path_style: bucket.path_style,
            operation_timeout: Duration::from_secs(bucket.operation_timeout_secs),
        })
    }
}

/// What the SDK finds, the credentials yet unasked for; `None` if it takes too long.
pub(super) async fn load(region: Option<String>) -> Option<SdkConfig> {
    // With TLS, whatever the bucket speaks: web identities are exchanged at Amazon.
    let http_client = settings::http_client(None);
    let mut loader = aws_config::defaults(settings::behavior_version()).http_client(http_client);
    if let Some(region) = region {
        // A region that is said is not looked for.
        loader = loader.region(Region::new(region));
    }
    tokio::time::timeout(LOAD_TIMEOUT, loader.load()).await.ok()
}

/// `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, or the same of the profile.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
fn endpoint_of(sdk: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url");
    let for_s3 = sdk.service_config().zip(key.build().ok()).and_then(|(found, key)| found.load_config(key));
    for_s3.or_else(|| sdk.endpoint_url().map(str::to_owned))
}
