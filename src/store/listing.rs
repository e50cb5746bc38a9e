//! Walking the bucket, a page at a time.

use aws_sdk_s3::types::EncodingType;
use percent_encoding::percent_decode_str;

use super::{Store, StoreError, length};

/// The most that S3 lists at once.
pub(super) const MAX_PAGE: u16 = 1000;

/// A page of the bucket's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPage {
    /// In the order of their keys' UTF-8 bytes.
    pub objects: Vec<Listed>,
    /// What to list after for the next page; `None` on the last.
    pub next: Option<String>,
}

/// An object as a listing shows it. Its key need not be one of ours: see
/// [`super::ObjectName::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The full key.
    pub key: String,
    /// The object's length.
    pub bytes: u64,
    /// When it was written, in seconds since 1970.
    pub modified_secs: u64,
    /// What tells one version of it from another; empty if the server does not say.
    pub etag: String,
}

impl Store {
    /// The objects whose keys begin with `prefix` and come after `after` (empty
    /// for all), at most `limit` of them, and never more than a thousand. A page
    /// may be short, and still not the last.
    ///
    /// Goes on by key and not by the server's token, so that a walk can be
    /// taken up again by another process.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
    pub async fn list(&self, prefix: &str, after: &str, limit: u16) -> Result<ListedPage, StoreError> {
        let sent = self
            .client
            .list_objects_v2()
            .bucket(&self.settings.bucket)
            .prefix(prefix)
            .set_start_after((!after.is_empty()).then(|| after.to_owned()))
            .max_keys(limit.into())
            // Keys may hold characters that XML has no way to write.
            .encoding_type(EncodingType::Url)
            .send();
        let page = self.call("list", "", sent).await?;
        let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
        let objects = page.contents().iter().map(|object| {
            let key = object.key().ok_or_else(|| incomplete("key"))?;
            Ok(Listed {
                key: if is_encoded { decoded(key)? } else { key.to_owned() },
                bytes: length(object.size())?,
                modified_secs: secs(object.last_modified())?,
                etag: object.e_tag().unwrap_or_default().to_owned(),
            })
        });
        let objects = objects.collect::<Result<Vec<_>, StoreError>>()?;
        let last = objects.last().filter(|_| page.is_truncated() == Some(true));
        Ok(ListedPage { next: last.map(|object| object.key.clone()), objects })
    }
}

/// A key that was written as in a form (`+` for a space), as Amazon does, or as in a path.
fn decoded(key: &str) -> Result<String, StoreError> {
    let key = key.replace('+', " ");
    let text = percent_decode_str(&key).decode_utf8();
    text.map(Into::into)
        .map_err(|_| StoreError::Unavailable(format!("the key {key} in a listing is not UTF-8")))
}

/// A time of the SDK in seconds since 1970.
fn secs(time: Option<&aws_sdk_s3::primitives::DateTime>) -> Result<u64, StoreError> {
    time.and_then(|time| u64::try_from(time.secs()).ok()).ok_or_else(|| incomplete("time"))
}

fn incomplete(what: &str) -> StoreError {
    StoreError::Unavailable(format!("the answer has no {what}"))
}
