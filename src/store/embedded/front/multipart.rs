//! Uploads in parts, in S3's terms.

use s3s::{
    S3Request, S3Result,
    dto::{
        AbortMultipartUploadInput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
        CompletedPart, CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag,
        ListMultipartUploadsInput, ListMultipartUploadsOutput, MultipartUpload, UploadPartInput,
        UploadPartOutput,
    },
    s3_error,
};

use super::{Front, answer, request};
use crate::store::embedded::disk::{Chosen, Open, Overwrite, UploadId};

/// The bounds of an upload in parts.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const MAX_PARTS: u16 = 10_000;
/// The least length of every part but the last, in bytes.
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;
/// The most uploads in one page of a listing.
const MAX_UPLOADS: usize = 1000;

impl Front {
    pub(super) async fn create_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> S3Result<CreateMultipartUploadOutput> {
        if input.server_side_encryption.is_some() || input.sse_customer_algorithm.is_some() {
            return Err(s3_error!(InvalidRequest, "this server does not encrypt"));
        }
        let attributes = request::attributes(input.content_type, input.cache_control, input.metadata)?;
        let (bucket, key) = (input.bucket, input.key);
        request::check_key(&key)?;
        self.on_disk(move |disk| {
            let id = disk.create_upload(&bucket, &key, attributes)?;
            Ok::<_, s3s::S3Error>(CreateMultipartUploadOutput {
                bucket: Some(bucket),
                key: Some(key),
                upload_id: Some(id.text()),
                ..Default::default()
            })
        })
        .await
    }

    pub(super) async fn put_part(&self, req: S3Request<UploadPartInput>) -> S3Result<UploadPartOutput> {
        let declared = request::declared_part(&req.input, &req.headers)?;
        let UploadPartInput { bucket, key, upload_id, part_number, body, .. } = req.input;
        let (id, number) = (UploadId::parse(&upload_id)?, part_number_of(part_number)?);
        let begin = self.on_disk(move |disk| disk.begin_part(&bucket, &key, id, number, declared));
        let part = begin.await?;
        let record = self.receive(part, body, Overwrite::Allow, req.trailing_headers).await?;
        Ok(UploadPartOutput { e_tag: Some(ETag::Strong(record.etag)), ..Default::default() })
    }

    pub(super) async fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let overwrite = request::overwrite(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let id = UploadId::parse(&input.upload_id)?;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        if parts.is_empty() {
            return Err(s3_error!(MalformedXML, "no parts"));
        }
        let parts = parts.into_iter().map(chosen).collect::<S3Result<Vec<_>>>()?;
        let (bucket, key) = (input.bucket, input.key);
        self.on_disk(move |disk| {
            let record = disk.complete_upload(&bucket, &key, id, &parts, MIN_PART_BYTES, overwrite)?;
            Ok::<_, s3s::S3Error>(CompleteMultipartUploadOutput {
                bucket: Some(bucket),
                key: Some(key),
                e_tag: Some(ETag::Strong(record.etag)),
                ..Default::default()
            })
        })
        .await
    }

    pub(super) async fn abort_upload(&self, input: AbortMultipartUploadInput) -> S3Result<()> {
        let id = UploadId::parse(&input.upload_id)?;
        self.on_disk(move |disk| disk.abort_upload(&input.bucket, &input.key, id)).await
    }

    pub(super) async fn list_uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<ListMultipartUploadsOutput> {
        if input.delimiter.is_some() || input.encoding_type.is_some() {
            return Err(s3_error!(NotImplemented, "this server lists without delimiter and encoding-type"));
        }
        let limit = request::limit(input.max_uploads, MAX_UPLOADS)?;
        let key_marker = input.key_marker.clone().unwrap_or_default();
        // Without a key, S3 ignores it.
        let id_marker = input.upload_id_marker.as_deref().filter(|_| !key_marker.is_empty());
        let after = (key_marker, id_marker.map(UploadId::parse).transpose()?);
        let bucket = input.bucket.clone();
        let prefix = input.prefix.clone().unwrap_or_default();
        let listed = self.on_disk(move |disk| disk.list_uploads(&bucket, &prefix, &after, limit));
        let (uploads, more) = listed.await?;
        let last = uploads.last().filter(|_| more);
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            key_marker: input.key_marker,
            upload_id_marker: input.upload_id_marker,
            max_uploads: i32::try_from(limit).ok(),
            is_truncated: Some(more),
            next_key_marker: last.map(|upload| upload.key.clone()),
            next_upload_id_marker: last.map(|upload| upload.id.text()),
            uploads: Some(uploads.into_iter().map(open).collect()),
            ..Default::default()
        })
    }
}

fn part_number_of(said: i32) -> S3Result<u16> {
    let number = u16::try_from(said).ok().filter(|n| (1..=MAX_PARTS).contains(n));
    number.ok_or_else(|| s3_error!(InvalidArgument, "part numbers are 1 to {MAX_PARTS}"))
}

fn chosen(part: CompletedPart) -> S3Result<Chosen> {
    let number = part.part_number.ok_or_else(|| s3_error!(MalformedXML, "a part without a number"))?;
    let etag = part.e_tag.ok_or_else(|| s3_error!(MalformedXML, "a part without an ETag"))?;
    Ok((part_number_of(number)?, etag.value().to_owned()))
}

fn open(upload: Open) -> MultipartUpload {
    MultipartUpload {
        key: Some(upload.key),
        upload_id: Some(upload.id.text()),
        initiated: Some(answer::timestamp(upload.initiated_micros)),
        ..Default::default()
    }
}
