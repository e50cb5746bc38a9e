//! What is said of bytes: the headers that describe them, whether they are at hand or still in the bucket.

use std::sync::OnceLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue};

use crate::{access::Contents, render::Format};

/// A representation's metadata (RFC 9110 §8). It follows from the bytes alone, so it is the same wherever they
/// come from.
#[derive(Clone, Debug)]
pub struct Representation {
    /// The media type.
    pub content_type: HeaderValue,
    /// The strong validator (RFC 9110 §8.8.3): a hash of the bytes.
    pub etag: HeaderValue,
    /// How many bytes there are.
    pub bytes: u64,
    /// All that they are sent with, whoever asks; put together when they are first sent.
    pub headers: OnceLock<HeaderMap>,
}

impl Representation {
    /// That of a file in a format.
    pub fn new(contents: &Contents, format: Format) -> Self {
        let tag = URL_SAFE_NO_PAD.encode(&contents.sha256[..16]);
        let etag = HeaderValue::try_from(format!("\"{tag}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        let content_type = HeaderValue::from_static(format.content_type());
        Self { content_type, etag, bytes: contents.bytes, headers: OnceLock::new() }
    }
}
