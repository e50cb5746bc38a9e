//! Request bodies: read within bounds, JSON with errors that name the field.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Uri, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::paced::{Paced, Stopped};
use crate::error::Error;

/// The largest JSON body taken.
const MAX_JSON_BYTES: usize = 1 << 20;
/// How much of a refused body is still read, so that its sender comes to read the answer.
const MAX_DISCARDED_BYTES: usize = 256 << 20;
/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads the query string into `T`.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Error> {
    let query = uri.query().unwrap_or_default();
    serde_urlencoded::from_str(query)
        .map_err(|error| Error::bad_request("invalid_parameter", format!("The query string: {error}.")))
}

/// Refuses a body that is declared as something else than JSON.
pub(super) fn require_json(headers: &HeaderMap) -> Result<(), Error> {
    let declared = media_type(headers);
    if declared.as_deref().is_some_and(|mime| mime != "application/json") {
        return Err(Error::unsupported_type("Send JSON, with Content-Type: application/json."));
    }
    Ok(())
}

/// Reads a body into memory that is no larger than a JSON body may be.
pub(super) async fn bytes(body: &mut Paced) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = next(body).await? {
        if bytes.len() + chunk.len() > MAX_JSON_BYTES {
            return Err(Error::too_large("The body", MAX_JSON_BYTES as u64));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads a JSON object into `T`.
pub(super) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    // Structs can be read from lists of their fields, which no caller can be meant to send.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Error::bad_request("invalid_field", "The JSON must be an object, not a list."));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        // A number in an enum's place is called a mistake of syntax, so the syntax is looked at alone.
        let is_json = cause.is_data() || serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
        match is_json {
            true if path != "." => Error::invalid_field(&path, cause),
            true => Error::bad_request("invalid_field", format!("The JSON: {cause}.")),
            false => Error::bad_request("invalid_json", format!("The body is not JSON: {cause}.")),
        }
    })?;
    deserializer
        .end()
        .map_err(|error| Error::bad_request("invalid_json", format!("The body is not JSON: {error}.")))?;
    Ok(value)
}

/// Refuses a body that says itself that it is too large, before a byte of it is read.
pub(super) fn refuse_declared_size(
    body: &Paced,
    max_body_bytes: u64,
    max_file_bytes: u64,
) -> Result<(), Error> {
    if body.size_hint().lower() > max_body_bytes {
        return Err(Error::too_large("The image", max_file_bytes));
    }
    Ok(())
}

/// The declared media type, without parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// The next bytes of a body, or `None` at its end.
pub(super) async fn next(body: &mut Paced) -> Result<Option<Bytes>, Error> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|stopped| match stopped {
            Stopped::TooSlow => Error::body_timeout(),
            Stopped::Broken(error) => {
                Error::bad_request("incomplete_body", format!("The body broke off: {error}."))
            }
        })?;
        // What is not data is a trailer, which means nothing here.
        if let Ok(bytes) = frame.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Reads the rest of a body that nobody wants and throws it away, within bounds. Without this, a
/// client that is still sending sees its connection reset instead of the answer.
pub(super) async fn discard(mut body: Paced) {
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > MAX_DISCARDED_BYTES {
                break;
            }
        }
    };
    // Past the time, dropping the body closes the connection.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, reading).await;
}
