//! What a request asks for, checked, in the data folder's terms.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderMap;
use s3s::{
    S3Error, S3ErrorCode, S3Result,
    dto::{ETagCondition, Metadata, PostObjectInput, PutObjectInput},
    s3_error,
};

use super::disk::{Algorithm, Attributes, Declared, Overwrite, Promise};

/// The longest body of one upload in bytes.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html>
const MAX_OBJECT_BYTES: u64 = 5 * 1024 * 1024 * 1024;
/// The most user metadata, names and values together, in bytes.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>
const MAX_METADATA_BYTES: usize = 2 * 1024;

/// The value of a checksum in the head of a request, or among the fields of a
/// form; s3s has the same fields in two types.
macro_rules! checksum_of {
    ($input:expr) => {
        |algorithm: Algorithm| match algorithm {
            Algorithm::Crc32 => $input.checksum_crc32.clone(),
            Algorithm::Crc32c => $input.checksum_crc32c.clone(),
            Algorithm::Crc64Nvme => $input.checksum_crc64nvme.clone(),
            Algorithm::Sha1 => $input.checksum_sha1.clone(),
            Algorithm::Sha256 => $input.checksum_sha256.clone(),
        }
    };
}

/// Refuses what asks for encryption, which nobody here would do. In a form such
/// fields are also the ones that s3s lets pass although no policy allows them.
macro_rules! check_unencrypted {
    ($input:expr) => {
        if $input.server_side_encryption.is_some()
            || $input.bucket_key_enabled.is_some()
            || $input.ssekms_key_id.is_some()
            || $input.ssekms_encryption_context.is_some()
            || $input.sse_customer_algorithm.is_some()
            || $input.sse_customer_key.is_some()
            || $input.sse_customer_key_md5.is_some()
        {
            return Err(s3_error!(InvalidRequest, "this server does not encrypt"));
        }
    };
}

/// What a PUT of an object promises about its body.
pub(super) fn declared_put(input: &PutObjectInput, headers: &HeaderMap) -> S3Result<Declared> {
    check_unencrypted!(input);
    promises(input.content_length, input.content_md5.as_ref(), headers, checksum_of!(input))
}

/// What a form promises about its file.
pub(super) fn declared_post(input: &PostObjectInput) -> S3Result<Declared> {
    check_unencrypted!(input);
    // s3s has counted the file, and says nothing where it means zero.
    let length = input.content_length.or(Some(0));
    promises(length, input.content_md5.as_ref(), &HeaderMap::new(), checksum_of!(input))
}

/// Promises in the request's head, and those that it says its trailer will make.
fn promises(
    length: Option<i64>,
    md5: Option<&String>,
    headers: &HeaderMap,
    value: impl Fn(Algorithm) -> Option<String>,
) -> S3Result<Declared> {
    let length = length.and_then(|n| u64::try_from(n).ok()).ok_or_else(|| s3_error!(MissingContentLength))?;
    if length > MAX_OBJECT_BYTES {
        return Err(s3_error!(EntityTooLarge));
    }
    let announced: Vec<&str> = headers
        .get_all("x-amz-trailer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let promise = |algorithm: Algorithm| {
        let in_trailer = || announced.iter().any(|a| a.eq_ignore_ascii_case(algorithm.header()));
        let value = value(algorithm).map(Promise::Value);
        Some((algorithm, value.or_else(|| in_trailer().then_some(Promise::Trailer))?))
    };
    Ok(Declared {
        length,
        md5: md5.cloned(),
        checksums: Algorithm::ALL.into_iter().filter_map(promise).collect(),
    })
}

/// What an object is to be stored with.
pub(super) fn attributes(
    content_type: Option<String>,
    cache_control: Option<String>,
    metadata: Option<Metadata>,
) -> S3Result<Attributes> {
    let metadata: BTreeMap<_, _> = metadata.into_iter().flatten().collect();
    let bytes: usize = metadata.iter().map(|(k, v)| k.len() + v.len()).sum();
    if bytes > MAX_METADATA_BYTES {
        return Err(s3_error!(MetadataTooLarge));
    }
    Ok(Attributes { content_type, cache_control, metadata })
}

/// The condition on a write.
pub(super) fn overwrite(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<Overwrite> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Overwrite::Allow),
        (None, Some(ETagCondition::Any)) => Ok(Overwrite::Refuse),
        // Better refused than silently ignored.
        _ => Err(s3_error!(NotImplemented, "the only condition on a write is If-None-Match: *")),
    }
}

/// XML 1.0 cannot carry control characters: such a key would break every
/// listing that shows it.
pub(super) fn check_key(key: &str) -> S3Result<()> {
    if key.contains(char::is_control) {
        return Err(s3_error!(InvalidArgument, "a control character in the key"));
    }
    Ok(())
}

/// How long a page of a listing may be.
pub(super) fn limit(asked: Option<i32>, most: usize) -> S3Result<usize> {
    match asked.map(usize::try_from) {
        None => Ok(most),
        Some(Ok(n)) => Ok(n.min(most)),
        Some(Err(_)) => Err(s3_error!(InvalidArgument, "the length of the page is negative")),
    }
}

/// The key after which a listing goes on. A token is that key in base64, so the
/// server remembers nothing between pages.
pub(super) fn decode_token(token: &str) -> S3Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| S3Error::new(S3ErrorCode::InvalidToken))
}

/// The token for a listing that goes on after `key`.
pub(super) fn encode_token(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}
