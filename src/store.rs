//! The private bucket: put, get, stream and delete objects by their typed names.
//!
//! The parts beside this file: `grant` (what lets a client send straight to the
//! bucket; its form is `post_policy`), `listing`, `cors`. One code path serves the
//! embedded server, Garage, AWS and R2; where one of them differs, the function
//! that minds it says so.

pub mod embedded;

mod body;
mod cors;
mod credentials;
mod environment;
mod error;
mod foreign;
mod grant;
mod key;
mod listing;
mod post_policy;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

use std::{error::Error, ops::RangeInclusive, sync::Arc};

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
    types::{BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::sync::OnceCell;

use crate::metrics::calls::{self, Calls};

pub use self::{
    body::ObjectBody,
    cors::CorsRule,
    credentials::Credentials,
    environment::SettingsError,
    error::StoreError,
    grant::{PostGrant, PutGrant},
    key::{Kind, Named, Object, ObjectName},
    listing::{Listed, ListedPage},
    settings::Settings,
};

/// The one region in which S3 wants no location when it creates a bucket.
const DEFAULT_REGION: &str = "us-east-1";

/// A handle on the private bucket; clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    /// Signs what clients send themselves, for the endpoint that they see.
    public: Client,
    settings: Arc<Settings>,
    /// The bucket's own URL at that endpoint, once it was needed.
    form_url: Arc<OnceCell<String>>,
    calls: Calls,
}

impl Store {
    /// A store for `settings`. Nothing is sent yet; see [`Store::ping`].
    pub fn connect(settings: &Settings) -> Self {
        let client = settings::client(settings);
        Self {
            public: settings::public_client(settings, &client),
            client,
            settings: Arc::new(settings.clone()),
            form_url: Arc::default(),
            calls: Calls::default(),
        }
    }

    /// The URL of the endpoint that clients send to; `None` where it is Amazon's own.
    pub fn client_endpoint(&self) -> Option<&str> {
        self.settings.public_endpoint.as_deref().or(self.settings.endpoint.as_deref())
    }

    /// What it was asked.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Makes a call about `key` (empty: about the bucket), and counts it. That nothing is there is an answer.
    async fn call<T, E>(
        &self,
        op: &'static str,
        key: &str,
        sent: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, StoreError>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let begun = self.calls.begin(op);
        // Boxed: the SDK's futures are large, and would lie here twice.
        let done = Box::pin(sent).await.map_err(|error| StoreError::from_sdk(&error, key));
        begun.ended(match done {
            Ok(_) => calls::OK,
            Err(StoreError::Missing { .. }) => "missing",
            Err(_) => calls::FAILED,
        });
        done
    }

    /// Writes the object, with its content type and cache control. Once this
    /// returns, the object is there whole; if it fails, it may or may not be.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>
    pub async fn put(&self, object: &Object, bytes: Bytes) -> Result<(), StoreError> {
        let key = object.key();
        let sent = self
            .client
            .put_object()
            .bucket(&self.settings.bucket)
            .key(&key)
            .content_type(object.content_type())
            .cache_control(object.cache_control())
            .body(ByteStream::from(bytes))
            .send();
        self.call("put", &key, sent).await?;
        Ok(())
    }

    /// Reads the whole object into memory, unless it has more than `max_bytes`.
    pub async fn get(&self, object: &Object, max_bytes: u64) -> Result<Bytes, StoreError> {
        let body = self.stream(object, None).await?;
        if body.remaining() > max_bytes {
            return Err(StoreError::TooLarge {
                key: object.key(),
                length: body.remaining(),
                limit: max_bytes,
            });
        }
        Ok(body.collect().await?.to_bytes())
    }

    /// Opens the object for reading, or those bytes of it that lie in `range`. Nothing is read ahead of whoever
    /// reads, but for what is on the way; where the bucket stops sending for some seconds, reading fails.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>
    pub async fn stream(
        &self,
        object: &Object,
        range: Option<RangeInclusive<u64>>,
    ) -> Result<ObjectBody, StoreError> {
        let key = object.key();
        let sent = self
            .client
            .get_object()
            .bucket(&self.settings.bucket)
            .key(&key)
            .set_range(range.as_ref().map(|r| format!("bytes={}-{}", r.start(), r.end())))
            .send();
        let found = self.call("get", &key, sent).await?;
        let length = length(found.content_length())?;
        let of = match range {
            None => length,
            // RFC 9110 lets a server answer a range with the whole; we would send
            // the wrong bytes under the right headers.
            Some(range) => found
                .content_range()
                .and_then(body::parse_content_range)
                .filter(|(sent, of)| {
                    let last = (*range.end()).min(of.saturating_sub(1));
                    (*sent.start(), *sent.end()) == (*range.start(), last)
                        && last - range.start() + 1 == length
                })
                .map(|(_, of)| of)
                .ok_or_else(|| StoreError::Rejected("another range was sent than asked for".into()))?,
        };
        Ok(ObjectBody::new(found.body, length, of))
    }

    /// The object's length in bytes; `None` if it is not there.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>
    pub async fn head(&self, object: &impl Named) -> Result<Option<u64>, StoreError> {
        let key = object.name().key();
        let sent = self.client.head_object().bucket(&self.settings.bucket).key(&key).send();
        match self.call("head", &key, sent).await {
            Ok(found) => length(found.content_length()).map(Some),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes the objects, one after another. An object that is not there
    /// counts as deleted; at the first failure the rest is left alone, so a
    /// caller simply calls again.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>
    pub async fn delete(&self, objects: &[impl Named]) -> Result<(), StoreError> {
        for object in objects {
            let key = object.name().key();
            let sent = self.client.delete_object().bucket(&self.settings.bucket).key(&key).send();
            match self.call("delete", &key, sent).await {
                // Not every server answers 204 for what is not there.
                Ok(_) | Err(StoreError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the bucket is there and lets us in.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html>
    pub async fn ping(&self) -> Result<(), StoreError> {
        let sent = self.client.head_bucket().bucket(&self.settings.bucket).send();
        self.call("ping", "", sent).await?;
        Ok(())
    }

    /// Whether the bucket keeps versions of what is deleted. A server that knows no versions keeps none.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html>
    pub async fn keeps_versions(&self) -> Result<bool, StoreError> {
        let sent = self.client.get_bucket_versioning().bucket(&self.settings.bucket).send();
        match sent.await {
            Ok(found) => Ok(found.status() == Some(&BucketVersioningStatus::Enabled)),
            Err(SdkError::ServiceError(e)) if e.raw().status().as_u16() == 501 => Ok(false),
            Err(error) => Err(StoreError::from_sdk(&error, "")),
        }
    }

    /// Whether there are objects with pinhole's keys. Of each kind only the first page is looked at.
    pub async fn is_in_use(&self) -> Result<bool, StoreError> {
        for kind in Kind::ALL {
            let page = self.list(kind.prefix(), "", listing::MAX_PAGE).await?;
            if page.objects.iter().any(|object| ObjectName::parse(&object.key).is_some()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Creates the bucket unless it is already there and ours.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html>
    pub async fn ensure_bucket(&self) -> Result<(), StoreError> {
        match self.ping().await {
            Err(StoreError::NoBucket) => {}
            other => return other,
        }
        let location = (self.settings.region != DEFAULT_REGION).then(|| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(&*self.settings.region))
                .build()
        });
        let sent = self
            .client
            .create_bucket()
            .bucket(&self.settings.bucket)
            .set_create_bucket_configuration(location)
            .send();
        match sent.await {
            // Somebody was faster, and it was us.
            Err(SdkError::ServiceError(e)) if e.err().code() == Some("BucketAlreadyOwnedByYou") => Ok(()),
            created => created.map(drop).map_err(|e| StoreError::from_sdk(&e, "")),
        }
    }
}

/// A length as the SDK has it.
fn length(said: Option<i64>) -> Result<u64, StoreError> {
    said.and_then(|n| u64::try_from(n).ok())
        .ok_or_else(|| StoreError::Unavailable("the answer has no length".into()))
}
