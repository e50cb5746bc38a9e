//! What can go wrong with the bucket, told apart by what the caller should do.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// An operation on the bucket failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such object: final, retrying will not help.
    #[error("no object {key}")]
    Missing {
        /// The key that was asked for.
        key: String,
    },
    /// The object is longer than the caller allows.
    #[error("object {key} has {length} bytes, more than the {limit} allowed")]
    TooLarge {
        /// The key that was asked for.
        key: String,
        /// The object's length in bytes.
        length: u64,
        /// The caller's bound in bytes.
        limit: u64,
    },
    /// The object is not what was written there: a matter for whoever looks after the bucket.
    #[error("object {key} is not what was written there")]
    Damaged {
        /// The key that was asked for.
        key: String,
    },
    /// The object has been written anew since it was listed.
    #[error("object {key} is another one than a moment ago")]
    Changed {
        /// The key that was asked for.
        key: String,
    },
    /// The range begins behind the object's end (RFC 9110, section 15.5.17).
    #[error("object {key} has no bytes in the range asked for")]
    Range {
        /// The key that was asked for.
        key: String,
    },
    /// The bucket itself does not exist: a matter of configuration.
    #[error("the bucket does not exist")]
    NoBucket,
    /// The bucket is in another region than requests are signed for: a matter of configuration.
    #[error("the bucket is in another region")]
    Region,
    /// The bucket's owner does not let us: wrong keys, clock or policy.
    #[error("the bucket refused the request: {0}")]
    Denied(String),
    /// There is nothing to sign requests with.
    #[error("no credentials for the bucket: {0}")]
    Credentials(String),
    /// No answer, too late an answer, a broken one, or one that says "not now".
    #[error("the bucket is unavailable: {0}")]
    Unavailable(String),
    /// The server understood and will not do it; most likely a defect here.
    #[error("the bucket rejected the request: {0}")]
    Rejected(String),
}

impl StoreError {
    /// Sorts an SDK error of an operation on `key` (empty for the bucket itself).
    pub(super) fn from_sdk<E>(error: &SdkError<E>, key: &str) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let SdkError::ServiceError(service) = error else {
            if let Some(Self::Credentials(why)) = causes(error).find_map(|cause| cause.downcast_ref()) {
                return Self::Credentials(why.clone());
            }
            return match error {
                SdkError::ConstructionFailure(_) => Self::Rejected(chain(error)),
                _ => Self::Unavailable(chain(error)),
            };
        };
        let status = service.raw().status().as_u16();
        let (code, message) = (service.err().code(), service.err().message());
        let text = || {
            let (code, message) = (code.unwrap_or("no code"), message.unwrap_or("no message"));
            format!("{status} {code}: {message}")
        };
        match (status, code) {
            (404, Some("NoSuchBucket")) => Self::NoBucket,
            // An answer to HEAD has no body and so no code.
            (404, _) if key.is_empty() => Self::NoBucket,
            (404, _) => Self::Missing { key: key.to_owned() },
            // Where to is said in a body, which an answer to HEAD has not.
            (301, _) | (_, Some("AuthorizationHeaderMalformed")) => Self::Region,
            (416, _) => Self::Range { key: key.to_owned() },
            (401 | 403, _) => Self::Denied(text()),
            (408 | 429 | 500.., _) | (_, Some("RequestTimeout")) => Self::Unavailable(text()),
            _ => Self::Rejected(text()),
        }
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&e| e.source())
}

/// An error and all that caused it, on one line; the SDK's own text says only
/// "dispatch failure", or spreads over many.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let text = causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
