//! Files too large to be kept in memory: from the bucket to one client, as fast as he reads.
//!
//! Each has a read of its own. To share one, all would have to wait for the slowest of them, or somebody keep
//! what he has not read yet; and an edge shares them better. So there is no flight here, but a bound: so many
//! at once, each with no more in memory than what is on its way.

use std::{
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{Source, Variants, outcome_of};
use crate::{
    access::{Contents, Permit},
    client::Client,
    gate::{GateError, Pass},
    log,
    metrics::{Read, ReadOutcome},
    store::{Object, ObjectBody, StoreError},
};

/// Which file of an image, as it lies in the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// The uploaded picture without its metadata.
    Original,
    /// The very file that was uploaded.
    Raw,
}

/// What is read of a file, or why no more is.
type Chunk = Result<Bytes, StoreError>;

/// A file on its way, or a part of it. It has exactly as many bytes as it says, or ends in an error: what breaks
/// off can never pass for the whole.
#[derive(Debug)]
pub struct Streamed {
    chunks: mpsc::Receiver<Chunk>,
    remaining: u64,
    /// Counts as a stream as long as somebody reads.
    _pass: Pass,
}

impl Variants {
    /// Whether an original is small enough to be kept in memory. Another one is [streamed](Self::stream).
    pub fn keeps(&self, original: &Contents) -> bool {
        original.bytes <= self.source.max_kept_bytes
    }

    /// Leave to stream to a client. He is refused when he waits too long for it, and at once when the queue is full
    /// or he has more than his share of it.
    pub async fn turn_to_stream(&self, client: Client) -> Result<Pass, GateError> {
        self.source.streams.enter_within(self.source.streams_wait, client).await
    }

    /// Opens a file of the permitted image that is known to have these `contents`, to send the bytes in `range`,
    /// of which there must be some. A whole file never ends well unless it has the hash that it should have; a part
    /// of one cannot be told so.
    pub async fn stream(
        &self,
        permit: &Permit,
        file: File,
        contents: &Contents,
        range: Range<u64>,
        pass: Pass,
    ) -> Result<Streamed, StoreError> {
        let content_type = permit.format().content_type();
        let (object, what) = match file {
            File::Original => (Object::original(permit.blob(), content_type), Read::Original),
            File::Raw => (Object::raw(permit.blob(), content_type), Read::Raw),
        };
        let (source, remaining) = (self.source.clone(), range.end - range.start);
        let is_whole = remaining == contents.bytes;
        let body = match source.open(&object, contents.bytes, range).await {
            Ok(body) => body,
            Err(error) => {
                source.metrics.read(what, outcome_of(&error));
                return Err(error);
            }
        };
        let sha256 = is_whole.then_some(contents.sha256);
        let (to, chunks) = mpsc::channel(1);
        // On the workers: whoever has the connection also serves what is in memory, and is not to hash meanwhile.
        tokio::spawn(log::carry(async move {
            let end = match forward(body, &object, sha256, &to).await {
                // Nobody reads on, which is not the bucket's fault.
                Ok(None) => return source.metrics.read(what, ReadOutcome::Found),
                Ok(Some(last)) => Ok(last),
                Err(error) => {
                    tracing::error!("an answer is broken off: {error}");
                    Err(error)
                }
            };
            source.metrics.read(what, end.as_ref().map_or_else(outcome_of, |_| ReadOutcome::Found));
            // If nobody reads on, nobody needs it.
            drop(to.send(end).await);
        }));
        Ok(Streamed { chunks, remaining, _pass: pass })
    }
}

impl Source {
    /// Opens an object that must have so many bytes, before the first of them is sent.
    async fn open(&self, object: &Object, bytes: u64, range: Range<u64>) -> Result<ObjectBody, StoreError> {
        let wanted = range.end - range.start;
        let part = (wanted < bytes).then(|| range.start..=range.end - 1);
        let body = match self.store.stream(object, part).await {
            // It ends before.
            Err(StoreError::Range { key }) => return Err(StoreError::Damaged { key }),
            body => body?,
        };
        if (body.object_bytes(), body.remaining()) != (bytes, wanted) {
            return Err(StoreError::Damaged { key: object.key() });
        }
        Ok(body)
    }
}

/// Passes on all but the last bytes, and brings those once all have come and are what they should be. `None` when
/// nobody reads on.
async fn forward(
    mut body: ObjectBody,
    object: &Object,
    sha256: Option<[u8; 32]>,
    to: &mpsc::Sender<Chunk>,
) -> Result<Option<Bytes>, StoreError> {
    let (mut hash, mut last) = (Sha256::new(), Bytes::new());
    loop {
        // Nothing is read before there is room for it.
        let Ok(room) = to.reserve().await else { return Ok(None) };
        // Who hangs up while the bucket is slow must not be waited for.
        let frame = tokio::select! {
            biased;
            () = to.closed() => return Ok(None),
            frame = body.frame() => frame,
        };
        let Some(frame) = frame.transpose()? else { break };
        let Ok(chunk) = frame.into_data() else { continue };
        if chunk.is_empty() {
            continue;
        }
        if sha256.is_some() {
            hash.update(&chunk);
        }
        if body.remaining() == 0 {
            last = chunk;
        } else {
            room.send(Ok(chunk));
        }
    }
    if sha256.is_some_and(|sha256| sha256[..] != hash.finalize()[..]) {
        return Err(StoreError::Damaged { key: object.key() });
    }
    Ok(Some(last))
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        let chunk = match ready!(self.chunks.poll_recv(cx)) {
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None if self.remaining == 0 => return Poll::Ready(None),
            None => {
                let why = format!("{} bytes never came", self.remaining);
                return Poll::Ready(Some(Err(StoreError::Unavailable(why))));
            }
        };
        self.remaining = self.remaining.saturating_sub(chunk.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
