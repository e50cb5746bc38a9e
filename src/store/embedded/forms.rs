//! How much memory forms may take: s3s holds a form's file in memory, and does so before it
//! refuses whoever has not signed.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use tokio::sync::Semaphore;

use super::xml_error;

/// What a form calls itself.
const FORM: &str = "multipart/form-data";

/// The longest file in a form, in bytes.
pub(super) const MAX_FILE_BYTES: u64 = 128 * 1024 * 1024;
/// The longest field, in bytes.
pub(super) const MAX_FIELD_BYTES: usize = 64 * 1024;
/// All fields together, in bytes; s3s counts as much of the file as comes with
/// the last of them in one piece.
pub(super) const MAX_FIELDS_BYTES: usize = MAX_FIELD_BYTES + PIECE_BYTES;
/// The longest piece of a body that s3s is given. Where a piece ends like the
/// beginning of the form's end, in a CR for instance, s3s joins it with the next,
/// and gives up when that makes more than 64 KiB; a connection hands over 128.
const PIECE_BYTES: usize = 32 * 1024;
/// All forms that are being received, together, in bytes. More have to wait.
const MAX_MEMORY_BYTES: u64 = 2 * MAX_FORM_BYTES;
/// The longest form in bytes.
const MAX_FORM_BYTES: u64 = MAX_FILE_BYTES + MAX_FIELDS_BYTES as u64;
/// How long a form may take from its first byte to its answer: s3s waits for
/// a silent client for ever, and what it holds is counted.
const TIMEOUT: Duration = Duration::from_mins(5);
/// The unit in which memory is counted, in bytes.
const UNIT_BYTES: u64 = 1024;

/// The memory that is left for forms.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    /// A permit is a [`UNIT_BYTES`].
    left: Arc<Semaphore>,
    timeout: Duration,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self { left: Arc::new(Semaphore::new(units(MAX_MEMORY_BYTES) as usize)), timeout: TIMEOUT }
    }

    /// Lets `answer` run, which receives a form of `bytes`, once there is memory
    /// for it.
    pub(super) async fn reserve(
        &self,
        bytes: u64,
        answer: impl Future<Output = Response<s3s::Body>>,
    ) -> Response<s3s::Body> {
        if bytes > MAX_FORM_BYTES {
            return xml_error(StatusCode::BAD_REQUEST, "EntityTooLarge", "The form is too long.");
        }
        let answered = async {
            // It is never closed, so there always is some in the end.
            let _reserved = self.left.acquire_many(units(bytes)).await;
            answer.await
        };
        let late = |_| xml_error(StatusCode::BAD_REQUEST, "RequestTimeout", "The form took too long.");
        tokio::time::timeout(self.timeout, answered).await.unwrap_or_else(late)
    }
}

/// The length of a form; `None` if the request is something else.
pub(super) fn length<B>(request: &Request<B>) -> Option<u64> {
    let header = |name| request.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let content_type = header(header::CONTENT_TYPE)?.trim_start();
    let is_form = content_type.get(..FORM.len()).is_some_and(|start| start.eq_ignore_ascii_case(FORM));
    let length = || header(header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
    // A length that is not told may be any.
    (is_form && request.method() == Method::POST).then(|| length().unwrap_or(MAX_FORM_BYTES))
}

/// A body that comes in pieces of at most [`PIECE_BYTES`].
#[derive(Debug)]
pub(super) struct Pieces<B> {
    body: B,
    rest: Bytes,
}

impl<B> Pieces<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, rest: Bytes::new() }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Pieces<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                None => return Poll::Ready(None),
                Some(Ok(data)) => self.rest = data,
                Some(Err(trailers)) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::{BodyExt, Full};

    use super::*;

    fn asked(method: Method, content_type: &str, length: Option<&str>) -> Option<u64> {
        let request = Request::builder().method(method).header(header::CONTENT_TYPE, content_type);
        let request = length.into_iter().fold(request, |r, n| r.header(header::CONTENT_LENGTH, n));
        super::length(&request.body(()).unwrap())
    }

    #[test]
    fn forms_are_counted_as_long_as_they_can_be() {
        assert_eq!(asked(Method::POST, "multipart/form-data; boundary=x", Some("7")), Some(7));
        assert_eq!(asked(Method::POST, " Multipart/Form-Data;boundary=x", None), Some(MAX_FORM_BYTES));
        assert_eq!(asked(Method::POST, "application/xml", Some("7")), None);
        assert_eq!(asked(Method::PUT, "multipart/form-data; boundary=x", Some("7")), None);
    }

    fn done() -> impl Future<Output = Response<s3s::Body>> {
        std::future::ready(Response::new(s3s::Body::empty()))
    }

    #[tokio::test]
    async fn a_form_waits_until_there_is_memory_for_it() {
        let memory = Memory::new();
        let too_long = memory.reserve(MAX_FORM_BYTES + 1, done()).await;
        assert_eq!(too_long.status(), StatusCode::BAD_REQUEST);

        let silent = || Box::pin(memory.reserve(MAX_FORM_BYTES, std::future::pending()));
        let (mut first, mut second) = (silent(), silent());
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        let mut third = Box::pin(memory.reserve(1, done()));
        assert!(third.as_mut().now_or_never().is_none(), "there was memory for a third");
        drop(second);
        assert_eq!(third.await.status(), StatusCode::OK);
        drop(first);
    }

    #[tokio::test]
    async fn a_form_that_takes_too_long_is_given_up() {
        let hasty = Memory { timeout: Duration::from_millis(5), ..Memory::new() };
        for _ in 0..3 {
            let late = hasty.reserve(MAX_FORM_BYTES, std::future::pending()).await;
            assert_eq!(late.status(), StatusCode::BAD_REQUEST);
        }
    }

    #[tokio::test]
    async fn a_body_is_the_same_in_pieces() {
        let whole: Bytes = (0..=u8::MAX).cycle().take(3 * PIECE_BYTES + 1).collect();
        let mut pieces = Pieces::new(Full::new(whole.clone()));
        let mut seen = Vec::new();
        while let Some(piece) = pieces.frame().await {
            let piece = piece.unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE_BYTES);
            seen.extend(piece);
        }
        assert!(seen == whole);
    }
}
