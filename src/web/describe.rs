//! `GET /openapi.json`: what can be asked for, for everybody to read.

use http::{HeaderValue, Method, Response, StatusCode, header};

use super::{
    Answer, Context,
    conditional::{self, Selection},
    full, headers,
};
use crate::error::Error;

/// Answers with the document, which is the same for everybody: nobody has to say who he is.
pub(super) fn describe(cx: &Context<'_>) -> Answer {
    let document = &cx.app.description;
    let length = document.bytes.len() as u64;
    // As for a HEAD: ranges of a document that is no picture are nobody's need.
    let selected = conditional::evaluate(&Method::HEAD, cx.headers, &document.etag, length);
    if selected == Selection::PreconditionFailed {
        return Err(Error::precondition_failed());
    }
    let is_known = selected == Selection::NotModified;
    let mut response =
        Response::new(full(if is_known { bytes::Bytes::new() } else { document.bytes.clone() }));
    let out = response.headers_mut();
    headers::insert(out, header::ETAG, &document.etag);
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        out.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        out.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    Ok(response)
}
