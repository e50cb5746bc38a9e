//! Objects that are not pinhole's, in a bucket that somebody else has filled: read by the keys that a listing showed.

use super::{Listed, ObjectBody, Store, StoreError, length};

impl Store {
    /// Opens an object for reading as it was listed; one that was written anew since is
    /// [`StoreError::Changed`].
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>
    pub async fn stream_listed(&self, listed: &Listed) -> Result<ObjectBody, StoreError> {
        let key = &listed.key;
        let sent = self.client.get_object().bucket(&self.settings.bucket).key(key).send();
        let found = self.call("get", key, sent).await?;
        let length = length(found.content_length())?;
        // Compared here: not every server minds `If-Match`.
        let is_other = !listed.etag.is_empty() && found.e_tag().is_some_and(|etag| etag != listed.etag);
        if is_other || length != listed.bytes {
            return Err(StoreError::Changed { key: key.clone() });
        }
        Ok(ObjectBody::new(found.body, length, length))
    }
}
