//! An object's bytes on their way from the bucket, usable as a response body.

use std::{
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
}

impl ObjectBody {
    pub(super) fn new(inner: ByteStream, length: u64) -> Self {
        Self { inner, remaining: length }
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

fn broken(why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("the object's body broke off: {why}"))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn read(announced: u64) -> Result<Bytes, StoreError> {
        let body = ObjectBody::new(ByteStream::from_static(b"pixels"), announced);
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
}
