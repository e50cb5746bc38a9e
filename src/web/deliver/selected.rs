//! What a client is sent of a representation, by its conditions and range: status, bytes and headers.

use std::{ops::Range, time::Duration};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::{
    error::Error,
    variants::{Representation, Tier},
    web::{
        Body, Context,
        conditional::{self, Selection},
        headers,
    },
};

/// So many bytes of a representation, and the status that goes with them.
#[derive(Debug)]
pub(super) struct Selected {
    status: StatusCode,
    /// Which bytes; none of what the client has.
    pub(super) range: Range<u64>,
    /// Of how many.
    length: u64,
}

impl Selected {
    /// Decides on the headers alone.
    pub(super) fn of(cx: &Context<'_>, about: &Representation) -> Result<Self, Error> {
        let (etag, length) = (about.etag.to_str().unwrap_or_default(), about.bytes);
        let (status, range) = match conditional::evaluate(cx.method, cx.headers, etag, length) {
            Selection::Whole => (StatusCode::OK, 0..length),
            Selection::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Selection::NotModified => (StatusCode::NOT_MODIFIED, 0..0),
            Selection::Unsatisfiable => return Err(Error::range_not_satisfiable(length)),
            Selection::PreconditionFailed => return Err(Error::precondition_failed()),
        };
        Ok(Self { status, range, length })
    }

    /// Where the bytes are in a buffer of the whole.
    pub(super) fn within(&self, whole: usize) -> Range<usize> {
        let place = |n: u64| usize::try_from(n).unwrap_or(whole).min(whole);
        place(self.range.start)..place(self.range.end)
    }

    /// The answer, from the headers of the whole and the bytes that were selected.
    pub(super) fn answer(
        &self,
        headers: HeaderMap,
        body: Body,
        access: Duration,
        tier: Tier,
    ) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let out = response.headers_mut();
        *out = headers;
        headers::server_timing(out, access, tier);
        if self.status == StatusCode::PARTIAL_CONTENT {
            let Range { start, end } = self.range;
            let content_range = format!("bytes {start}-{}/{}", end - 1, self.length);
            headers::insert(out, header::CONTENT_RANGE, &content_range);
            out.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
        }
        if self.status == StatusCode::NOT_MODIFIED {
            out.remove(header::CONTENT_TYPE);
            out.remove(header::CONTENT_LENGTH);
        }
        response
    }
}
