//! The one place where what went wrong inside becomes what the outside is told.
//!
//! Every error is a problem document (RFC 9457) with a stable `code`, never cacheable. The public
//! text names what to change; what only the operator may know goes to the log.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::{
    access::{Denial, Scope},
    db::DbError,
    gate::GateError,
    ingest::IngestError,
    link::LinkError,
    log::RequestId,
    render::{BadOptions, RenderError},
    store::StoreError,
    variants::VariantError,
};

/// What a client is told instead of what he asked for.
#[derive(Debug)]
pub struct Error {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
    close: bool,
}

#[derive(Serialize)]
struct Problem<'a> {
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    /// An extension member (section 3.2): what to ask the operator about. Only of what is his to mend, since what is
    /// not there and what is not allowed are one answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

/// The `code` of the problem document that an answer holds, among the answer's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Code(pub &'static str);

/// The `code` of what was shed: more work waits than may.
pub const BUSY: &str = "busy";

/// Seconds after which a client that was shed may try again.
const RETRY_AFTER_SECS: u64 = 2;
/// The same for a picture that took too long.
const RETRY_RENDER_AFTER_SECS: u64 = 10;

impl Error {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, detail: detail.into(), header: None, close: false }
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// Closes the connection after the answer: its body cannot be read on.
    fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// 404: not there, or not for the asker. One answer for both, byte for byte.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here for you.")
    }

    /// 400: the request as a whole cannot be understood.
    pub fn bad_request(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 400: one field or parameter is wrong.
    pub fn invalid_field(field: &str, rule: impl std::fmt::Display) -> Self {
        Self::bad_request("invalid_field", format!("`{field}`: {rule}."))
    }

    /// 401, with the scheme to use.
    pub fn unauthenticated(detail: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 401: the account is gone for good.
    pub fn erased() -> Self {
        Self::unauthenticated("This account was erased.")
    }

    /// 403: known, but not entitled.
    pub fn forbidden(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// The status that the outside is told.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// 403: the service's key is good, though not for this.
    pub fn forbidden_to_key(needed: Scope) -> Self {
        let detail =
            format!("This service key is not good for this: it needs the scope `{}`.", needed.as_str());
        Self::new(StatusCode::FORBIDDEN, "key_scope", detail)
    }

    /// 405, with the methods that are allowed.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("Use {allow} here."))
            .with(header::ALLOW, HeaderValue::from_static(allow))
    }

    /// 408: the body stopped coming, or came too slowly.
    pub fn body_timeout() -> Self {
        let detail = "The request's body stopped coming, or came too slowly.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail).closing()
    }

    /// 412: another version of the tus protocol, with the one that is spoken here.
    pub fn tus_version(versions: &'static str) -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "tus_version",
            format!("`Tus-Resumable`: must be {versions}, the version of the protocol that is spoken here."),
        )
        .with(HeaderName::from_static("tus-version"), HeaderValue::from_static(versions))
    }

    /// 413, with the limit.
    pub fn too_large(what: &str, max_bytes: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("{what} is larger than the {max_bytes} bytes that are taken here."),
        )
    }

    /// 415, with what is taken.
    pub fn unsupported_type(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_type", detail)
    }

    /// 412 (RFC 9110 §15.5.13): it is not the one that the client means.
    pub fn precondition_failed() -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition_failed",
            "What is there is not what `If-Match` names; ask for it without.",
        )
    }

    /// 416 (RFC 9110 §15.5.17), with the size there is.
    pub fn range_not_satisfiable(length: u64) -> Self {
        let error = Self::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "range_not_satisfiable",
            format!("The image has {length} bytes; ask for a range within them."),
        );
        match HeaderValue::try_from(format!("bytes */{length}")) {
            Ok(value) => error.with(header::CONTENT_RANGE, value),
            Err(_) => error,
        }
    }

    /// 421: the `Host` is not one that this server answers for.
    pub fn misdirected() -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            "This server answers only for loopback hosts: use 127.0.0.1 or localhost.",
        )
    }

    /// 422 for an image that cannot be attached: not there, not ready, or not the caller's.
    pub fn image_unknown(field: &str) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "image_unknown",
            format!("`{field}`: name a ready image that you uploaded yourself."),
        )
    }

    /// 409: the first request with this idempotency key is still under way.
    pub fn idempotency_key_in_use() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "idempotency_key_in_use",
            "A request with this Idempotency-Key is under way; send yours again in a moment.",
        )
        .with(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS))
    }

    /// 422: the idempotency key named another request before.
    pub fn idempotency_key_reused() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "You sent this Idempotency-Key with another request; choose a new key for this one.",
        )
    }

    /// 429 (RFC 6585 §4): more requests than one client may make; when the next one may come.
    pub fn too_many_requests(wait: Duration) -> Self {
        let detail = "You ask more often than is allowed here; wait as long as `Retry-After` says.";
        let secs = wait.as_secs() + 1;
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail)
            .with(header::RETRY_AFTER, HeaderValue::from(secs))
    }

    /// 429: as many uploads are open as one user may have.
    pub fn too_many_uploads(max: i64) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_uploads",
            format!("You have {max} uploads open already; complete or cancel one first."),
        )
        .with(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS))
    }

    /// 422: the upload was refused before.
    pub fn upload_rejected() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "upload_rejected",
            "This upload was refused when it was completed; start another one.",
        )
    }

    /// 500: the log says what it was.
    pub fn internal(log: &dyn std::fmt::Display) -> Self {
        tracing::error!("{log}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something failed here; it has been logged.")
    }

    /// 423 instead of what will have passed when the request is sent again.
    #[must_use]
    pub fn locked_if_passing(self) -> Self {
        if !self.status.is_server_error() && self.code != "upload_missing" {
            return self;
        }
        Self::new(
            StatusCode::LOCKED,
            "upload_busy",
            "All bytes have come and cannot be looked at now; ask again soon.",
        )
        .with(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS))
    }

    /// 503: it was given up after as long as a request may take.
    pub fn took_too_long() -> Self {
        Self::unavailable("took_too_long", "The request took too long and was given up; send it again.")
    }

    /// 504: the picture is not ready after as long as one may wait for it. Perhaps it is soon.
    fn render_timeout() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "render_timeout",
            "The picture takes too long to make; try again later, or ask for a smaller one.",
        )
        .with(header::RETRY_AFTER, HeaderValue::from(RETRY_RENDER_AFTER_SECS))
    }

    /// 503: try again soon.
    fn unavailable(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
            .with(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS))
    }

    /// The `code`, for answers that carry several results.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The public text, likewise.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The answer as sent to a request.
    pub fn into_response(self, request: &RequestId) -> Response<Bytes> {
        let problem = Problem {
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            request_id: self.status.is_server_error().then(|| request.to_string()),
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        response.extensions_mut().insert(Code(self.code));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// 460, tus's own (<https://tus.io/protocols/resumable-upload#checksum>).
fn checksum_mismatch() -> StatusCode {
    StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST)
}

/// An inner error's words as a public sentence.
fn sentence(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| {
        format!("{}{}.", first.to_uppercase(), rest.as_str().trim_end_matches('.'))
    })
}

impl From<Denial> for Error {
    fn from(denial: Denial) -> Self {
        tracing::debug!(?denial, "denied");
        Self::not_found()
    }
}

impl From<LinkError> for Error {
    fn from(error: LinkError) -> Self {
        let code = if error == LinkError::Expired { "link_expired" } else { "link_invalid" };
        Self::new(StatusCode::FORBIDDEN, code, sentence(&error))
    }
}

impl From<BadOptions> for Error {
    fn from(error: BadOptions) -> Self {
        Self::bad_request("bad_options", sentence(&error))
    }
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Self {
        if error.is_outage() {
            tracing::error!("{error}");
            return Self::unavailable("unavailable", "The database is away; try again soon.");
        }
        Self::internal(&error)
    }
}

impl From<&StoreError> for Error {
    fn from(error: &StoreError) -> Self {
        if matches!(error, StoreError::Missing { .. } | StoreError::Damaged { .. }) {
            // Every ready row's object exists and is what the row says: else it is our fault, not the client's.
            return Self::internal(error);
        }
        tracing::error!("{error}");
        Self::unavailable("unavailable", "The bucket is away; try again soon.")
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        (&error).into()
    }
}

impl From<GateError> for Error {
    fn from(error: GateError) -> Self {
        match error {
            GateError::Full | GateError::NoThread => {
                Self::unavailable(BUSY, "Too much work waits already; try again soon.")
            }
            GateError::Panicked => Self::internal(&error),
        }
    }
}

impl From<&RenderError> for Error {
    fn from(error: &RenderError) -> Self {
        match error {
            RenderError::OutOfTime => Self::render_timeout(),
            RenderError::OutputTooLarge { .. }
            | RenderError::AvifTooLarge { .. }
            | RenderError::NothingLeft(_)
            | RenderError::AnimationTooLarge { .. } => Self::bad_request("bad_options", sentence(&error)),
            _ => Self::internal(error),
        }
    }
}

impl From<Arc<VariantError>> for Error {
    fn from(error: Arc<VariantError>) -> Self {
        match &*error {
            VariantError::Shared(error) => Arc::clone(error).into(),
            VariantError::Gate(error) => (*error).into(),
            VariantError::Store(error) => error.into(),
            VariantError::Render(error) => error.into(),
            // The one to be made behind others was asked for by its name, too: now it can be awaited.
            VariantError::TooDear => GateError::Full.into(),
            VariantError::NotReady => Self::render_timeout(),
        }
    }
}

impl From<IngestError> for Error {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::UnsupportedType | IngestError::Heic => Self::unsupported_type(sentence(&error)),
            IngestError::Rejected(_) | IngestError::NotAnImage => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "image_invalid", sentence(&error))
            }
            IngestError::Promise(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "upload_mismatch", sentence(&error))
            }
            IngestError::QuotaExceeded => {
                Self::new(StatusCode::FORBIDDEN, "quota_exceeded", sentence(&error))
            }
            IngestError::OwnerGone => Self::erased(),
            IngestError::Missing => Self::new(StatusCode::CONFLICT, "upload_missing", sentence(&error)),
            IngestError::OutOfStep => Self::new(StatusCode::CONFLICT, "offset_mismatch", sentence(&error)),
            IngestError::TooLong => Self::bad_request("too_long", sentence(&error)),
            IngestError::TooManyChunks => Self::bad_request("too_many_chunks", sentence(&error)),
            IngestError::ChecksumMismatch => {
                Self::new(checksum_mismatch(), "checksum_mismatch", sentence(&error))
            }
            IngestError::Gate(GateError::Panicked) => {
                tracing::error!("a decoder panicked");
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "image_invalid", "The image cannot be decoded.")
            }
            IngestError::Gate(error) => error.into(),
            IngestError::Store(error) => (&error).into(),
            IngestError::Db(error) => error.into(),
            IngestError::Expired => {
                Self::unavailable("upload_expired", "The upload took too long; send it again.")
            }
            IngestError::Spool(_) => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_the_files_fault_where_it_comes_in_and_ours_where_it_goes_out() {
        let taken = Error::from(IngestError::Gate(GateError::Panicked));
        assert_eq!((taken.status, taken.code), (StatusCode::UNPROCESSABLE_ENTITY, "image_invalid"));
        let made = Error::from(Arc::new(VariantError::Gate(GateError::Panicked)));
        assert_eq!((made.status, made.code), (StatusCode::INTERNAL_SERVER_ERROR, "internal"));
    }

    #[test]
    fn who_waited_too_long_for_a_picture_may_come_again() {
        for error in [VariantError::NotReady, VariantError::Render(RenderError::OutOfTime)] {
            let told = Error::from(Arc::new(error)).into_response(&RequestId::fresh());
            assert_eq!(told.status(), StatusCode::GATEWAY_TIMEOUT);
            assert_eq!(told.headers()[header::RETRY_AFTER], "10");
            assert_eq!(told.headers()[header::CACHE_CONTROL], "no-store");
        }
    }
}
