//! What the data folder found, in S3's terms.

use std::time::{Duration, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::{
    S3Error, S3ErrorCode, S3Result,
    dto::{
        DeletedObject, ETag, ETagCondition, Error, GetObjectOutput, HeadObjectOutput, ListObjectsV2Input,
        ListObjectsV2Output, Object, Range, StreamingBlob, Timestamp,
    },
    s3_error,
};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::disk::{DiskError, Record, Stored};

/// How much of a body is read, and held in memory, at a time.
const READ_CHUNK_BYTES: usize = 256 * 1024;

impl From<DiskError> for S3Error {
    fn from(error: DiskError) -> Self {
        let code = match &error {
            DiskError::BucketName => S3ErrorCode::InvalidBucketName,
            DiskError::NoBucket => S3ErrorCode::NoSuchBucket,
            DiskError::NoObject => S3ErrorCode::NoSuchKey,
            DiskError::KeyLength => S3ErrorCode::KeyTooLongError,
            DiskError::Exists => S3ErrorCode::PreconditionFailed,
            DiskError::BodyLength => S3ErrorCode::IncompleteBody,
            DiskError::Digest(_) => S3ErrorCode::BadDigest,
            DiskError::InUse(_) | DiskError::Damaged(_) | DiskError::Io(_) => {
                // The log gets the path, the client does not.
                tracing::error!(%error, "the data folder failed");
                return Self::new(S3ErrorCode::InternalError);
            }
        };
        Self::with_message(code, error.to_string())
    }
}

/// The conditions of a read (RFC 9110, section 13).
pub(super) struct Conditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
}

impl Conditions {
    /// 412 or 304, unless the object is what the client wants.
    pub(super) fn check(&self, record: &Record) -> S3Result<()> {
        let current = ETag::Strong(record.etag.clone());
        if let Some(ETagCondition::ETag(wanted)) = &self.if_match
            && !wanted.strong_cmp(&current)
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let known = match &self.if_none_match {
            None => false,
            Some(ETagCondition::Any) => true,
            Some(ETagCondition::ETag(known)) => known.weak_cmp(&current),
        };
        if known {
            let mut error = S3Error::new(S3ErrorCode::NotModified);
            let value = current.to_http_header().map_err(S3Error::internal_error)?;
            error.set_headers(HeaderMap::from_iter([(header::ETAG, value)]));
            return Err(error);
        }
        Ok(())
    }
}

pub(super) async fn get(stored: Stored, range: Option<Range>) -> S3Result<GetObjectOutput> {
    let Stored { record, file } = stored;
    let (start, length, content_range) = match range {
        None => (0, record.size, None),
        Some(range) => {
            let bytes = range.check(record.size)?;
            // The suffix of an empty object is empty, which no Content-Range
            // can say.
            if bytes.is_empty() {
                return Err(s3_error!(InvalidRange));
            }
            let said = format!("bytes {}-{}/{}", bytes.start, bytes.end - 1, record.size);
            (bytes.start, bytes.end - bytes.start, Some(said))
        }
    };
    let mut file = tokio::fs::File::from_std(file);
    file.set_max_buf_size(READ_CHUNK_BYTES);
    file.seek(std::io::SeekFrom::Start(start)).await.map_err(S3Error::internal_error)?;
    Ok(GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        body: Some(read(file, length)),
        cache_control: record.attributes.cache_control.clone(),
        content_length: Some(signed(length)?),
        content_range,
        content_type: record.attributes.content_type.clone(),
        e_tag: Some(ETag::Strong(record.etag.clone())),
        last_modified: Some(modified(&record)),
        metadata: Some(record.attributes.metadata.into_iter().collect()),
        ..Default::default()
    })
}

pub(super) fn head(record: Record) -> S3Result<HeadObjectOutput> {
    Ok(HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: Some(signed(record.size)?),
        last_modified: Some(modified(&record)),
        e_tag: Some(ETag::Strong(record.etag)),
        cache_control: record.attributes.cache_control,
        content_type: record.attributes.content_type,
        metadata: Some(record.attributes.metadata.into_iter().collect()),
        ..Default::default()
    })
}

/// What stays as it is in a key that is written as in a URL.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(super) fn list(
    input: ListObjectsV2Input,
    limit: usize,
    records: Vec<Record>,
    next: Option<String>,
) -> S3Result<ListObjectsV2Output> {
    // The one encoding that there is.
    let encode = |text: String| match &input.encoding_type {
        Some(_) => utf8_percent_encode(&text, KEPT).to_string(),
        None => text,
    };
    let contents = records
        .into_iter()
        .map(|record| {
            Ok(Object {
                last_modified: Some(modified(&record)),
                size: Some(signed(record.size)?),
                e_tag: Some(ETag::Strong(record.etag)),
                key: Some(encode(record.key)),
                ..Default::default()
            })
        })
        .collect::<S3Result<Vec<_>>>()?;
    Ok(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: input.prefix.map(encode),
        max_keys: i32::try_from(limit).ok(),
        key_count: i32::try_from(contents.len()).ok(),
        continuation_token: input.continuation_token,
        start_after: input.start_after.map(encode),
        encoding_type: input.encoding_type.clone(),
        is_truncated: Some(next.is_some()),
        next_continuation_token: next,
        contents: Some(contents),
        ..Default::default()
    })
}

pub(super) fn deleted(key: String) -> DeletedObject {
    DeletedObject { key: Some(key), ..Default::default() }
}

pub(super) fn not_deleted(key: String, error: &S3Error) -> Error {
    Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(key),
        message: error.message().map(str::to_owned),
        ..Default::default()
    }
}

/// The next `length` bytes of `file`, or an error: the file cannot have been
/// shortened by us, and a truncated answer must not look whole.
fn read(file: tokio::fs::File, length: u64) -> StreamingBlob {
    StreamingBlob::wrap(stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let size = usize::try_from(left).map_or(READ_CHUNK_BYTES, |n| n.min(READ_CHUNK_BYTES));
        let mut chunk = BytesMut::with_capacity(size);
        let read = (&mut file).take(left).read_buf(&mut chunk).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let rest = left - read as u64;
        Ok(Some((Bytes::from(chunk), (file, rest))))
    }))
}

fn modified(record: &Record) -> Timestamp {
    (UNIX_EPOCH + Duration::from_micros(record.modified_micros)).into()
}

/// S3's lengths are signed.
fn signed(bytes: u64) -> S3Result<i64> {
    i64::try_from(bytes).map_err(S3Error::internal_error)
}
