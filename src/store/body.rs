//! An object's bytes on their way from the bucket, usable as a response body.

use std::{
    ops::RangeInclusive,
    pin::Pin,
    task::{Context, Poll, ready},
};

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::StoreError;

/// A streamed object, or a range of one. Its length is known before its first
/// byte, and it yields exactly that many bytes or an error: a truncated picture
/// can never pass for a whole one.
#[derive(Debug)]
pub struct ObjectBody {
    inner: ByteStream,
    remaining: u64,
    of: u64,
}

impl ObjectBody {
    /// `length` bytes of an object that has `of`.
    pub(super) fn new(inner: ByteStream, length: u64, of: u64) -> Self {
        Self { inner, remaining: length, of }
    }

    /// The length of the whole object in bytes.
    pub fn object_bytes(&self) -> u64 {
        self.of
    }

    /// Bytes still to come.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }
}

impl Body for ObjectBody {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        let Some(next) = ready!(Pin::new(&mut self.inner).poll_next(cx)) else {
            if self.remaining == 0 {
                return Poll::Ready(None);
            }
            let missing = std::mem::take(&mut self.remaining);
            return Poll::Ready(Some(Err(broken(&format!("{missing} bytes are missing")))));
        };
        let frame = next.map_err(|e| broken(&e)).and_then(|bytes| {
            self.remaining = (self.remaining)
                .checked_sub(bytes.len() as u64)
                .ok_or_else(|| broken(&"more bytes than announced"))?;
            Ok(Frame::data(bytes))
        });
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

/// Reads `bytes 0-3/10` (RFC 9110, section 14.4): which bytes, and of how many.
pub(super) fn parse_content_range(text: &str) -> Option<(RangeInclusive<u64>, u64)> {
    let (range, of) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, of) = (first.parse().ok()?, last.parse().ok()?, of.parse().ok()?);
    (first <= last && last < of).then_some((first..=last, of))
}

fn broken(why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("the object's body broke off: {why}"))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn read(announced: u64) -> Result<Bytes, StoreError> {
        let body = ObjectBody::new(ByteStream::from_static(b"pixels"), announced, 6);
        Ok(body.collect().await?.to_bytes())
    }

    #[tokio::test]
    async fn yields_exactly_what_was_announced_or_an_error() {
        assert_eq!(read(6).await.unwrap(), "pixels");
        for announced in [5, 7] {
            let error = read(announced).await.unwrap_err();
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        }
    }

    #[test]
    fn a_range_that_makes_no_sense_is_none() {
        assert_eq!(parse_content_range("bytes 0-3/10"), Some((0..=3, 10)));
        assert_eq!(parse_content_range("bytes 9-9/10"), Some((9..=9, 10)));
        for text in
            ["", "bytes 0-3", "bytes 0-3/*", "bytes */10", "bytes 4-3/10", "bytes 0-10/10", "items 0-3/10"]
        {
            assert_eq!(parse_content_range(text), None, "{text}");
        }
    }
}
