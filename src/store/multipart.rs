//! Writing an object in parts that arrive one by one, perhaps days apart.
//!
//! Rules of S3: parts are numbered from 1 to 10000, every part but the last has
//! at least 5 MiB, and a part sent again replaces the one before. R2 wants all
//! parts but the last equally long, so whoever cuts should cut evenly.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
//! <https://developers.cloudflare.com/r2/objects/multipart-objects/>

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;

use super::{
    Named, Object, Store, StoreError,
    listing::{incomplete, secs},
};

/// A part that the bucket holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its place, from 1.
    pub number: u16,
    /// What [`Store::upload_part`] returned.
    pub etag: String,
}

/// A page of the uploads that were neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPage {
    /// In the order of their keys.
    pub uploads: Vec<OpenUpload>,
    /// What to list after for the next page; `None` on the last.
    pub next: Option<UploadMarker>,
}

/// A place in the list of open uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadMarker {
    key: String,
    upload_id: String,
}

/// An upload that was neither completed nor aborted. Its key need not be one of
/// ours: see [`super::ObjectName::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// The key that its object is to have.
    pub key: String,
    /// Which upload of that key.
    pub upload_id: String,
    /// When it was begun, in seconds since 1970.
    pub initiated_secs: u64,
}

impl Store {
    /// Begins to write the object in parts; the result names the upload. Until
    /// it is completed, no object can be seen.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html>
    pub async fn create_multipart(&self, object: &Object) -> Result<String, StoreError> {
        let key = object.key();
        let sent = self
            .client
            .create_multipart_upload()
            .bucket(&self.settings.bucket)
            .key(&key)
            .content_type(object.content_type())
            .cache_control(object.cache_control())
            .send();
        let begun = sent.await.map_err(|e| StoreError::from_sdk(&e, &key))?;
        begun.upload_id.ok_or_else(|| incomplete("upload id"))
    }

    /// Writes a part, or writes it anew, and returns its `ETag`. Once this
    /// returns, the part is kept until the upload ends.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html>
    pub async fn upload_part(
        &self,
        object: &impl Named,
        upload_id: &str,
        number: u16,
        bytes: Bytes,
    ) -> Result<String, StoreError> {
        let key = object.name().key();
        let sent = self
            .client
            .upload_part()
            .bucket(&self.settings.bucket)
            .key(&key)
            .upload_id(upload_id)
            .part_number(number.into())
            .body(ByteStream::from(bytes))
            .send();
        let kept = sent.await.map_err(|e| StoreError::from_sdk(&e, &key))?;
        kept.e_tag.ok_or_else(|| incomplete("ETag"))
    }

    /// Makes the object of these parts, in the order of their numbers; others
    /// that were sent are dropped. The object appears whole or not at all.
    ///
    /// A repetition, the SDK's own after a lost answer included, may fail with
    /// [`StoreError::NoUpload`]: [`Store::head`] then says which it was.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>
    pub async fn complete_multipart(
        &self,
        object: &impl Named,
        upload_id: &str,
        parts: &[Part],
    ) -> Result<(), StoreError> {
        let key = object.name().key();
        let part = |p: &Part| CompletedPart::builder().part_number(p.number.into()).e_tag(&p.etag).build();
        let mut ordered: Vec<_> = parts.iter().collect();
        ordered.sort_by_key(|p| p.number);
        let parts = ordered.into_iter().map(part).collect();
        let sent = self
            .client
            .complete_multipart_upload()
            .bucket(&self.settings.bucket)
            .key(&key)
            .upload_id(upload_id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .send();
        sent.await.map_err(|e| StoreError::from_sdk(&e, &key))?;
        Ok(())
    }

    /// Ends an upload and drops its parts. That there is none (any more) is fine.
    ///
    /// AWS warns that a part under way may outlive it: look again with
    /// [`Store::list_multipart`] where that can be.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html>
    pub async fn abort_multipart(&self, object: &impl Named, upload_id: &str) -> Result<(), StoreError> {
        let key = object.name().key();
        let sent = self
            .client
            .abort_multipart_upload()
            .bucket(&self.settings.bucket)
            .key(&key)
            .upload_id(upload_id)
            .send();
        match sent.await.map_err(|e| StoreError::from_sdk(&e, &key)) {
            Ok(_) | Err(StoreError::NoUpload { .. } | StoreError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The open uploads of keys that begin with `prefix`, after the place where
    /// the last page ended, at most `limit` of them and never more than a thousand.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>
    pub async fn list_multipart(
        &self,
        prefix: &str,
        after: Option<&UploadMarker>,
        limit: u16,
    ) -> Result<UploadPage, StoreError> {
        let sent = self
            .client
            .list_multipart_uploads()
            .bucket(&self.settings.bucket)
            .prefix(prefix)
            .max_uploads(limit.into())
            .set_key_marker(after.map(|marker| marker.key.clone()))
            .set_upload_id_marker(after.map(|marker| marker.upload_id.clone()))
            .send();
        let page = sent.await.map_err(|e| StoreError::from_sdk(&e, ""))?;
        let uploads = page.uploads().iter().map(|upload| {
            Ok(OpenUpload {
                key: upload.key().ok_or_else(|| incomplete("key"))?.to_owned(),
                upload_id: upload.upload_id().ok_or_else(|| incomplete("upload id"))?.to_owned(),
                initiated_secs: secs(upload.initiated())?,
            })
        });
        let uploads = uploads.collect::<Result<Vec<_>, StoreError>>()?;
        let next = (page.is_truncated == Some(true)).then(|| {
            let (key, upload_id) = page.next_key_marker.zip(page.next_upload_id_marker)?;
            Some(UploadMarker { key, upload_id })
        });
        // A page that is not the last and does not say where it ends would be listed for ever.
        let next = next.map(|marker| marker.ok_or_else(|| incomplete("marker"))).transpose()?;
        Ok(UploadPage { uploads, next })
    }
}
