//! Uploads that went straight to the bucket: what landed is read once, verified like any other file,
//! and published by putting those very bytes under another key.
//!
//! A client keeps the right to write under his incoming key until the grant expires. So nothing that
//! lies there is ever served or copied: what counts is what was read here, once.

use futures_util::StreamExt as _;
use http_body_util::BodyStream;

use super::{Ingest, IngestError, Promise, Spool, Taken};
use crate::{
    access::State,
    clock,
    db::{images, uploads::UploadRow},
    store::{Object, StoreError},
};

/// What became of an upload that was to be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completed {
    /// It has just become an image.
    Now,
    /// It is not waiting any more: somebody completed or cancelled it meanwhile.
    Otherwise,
}

impl Ingest {
    /// Completes an upload whose bytes are in the bucket.
    ///
    /// Bytes that are not what was promised are refused for good: the image is `rejected`, and what
    /// landed is removed.
    pub async fn complete(&self, upload: &UploadRow) -> Result<Completed, IngestError> {
        let object = Object::incoming(&upload.incoming, upload.format.content_type());
        let spooled = match self.fetch(upload, &object).await {
            Err(IngestError::Store(StoreError::Missing { .. })) => return Err(IngestError::Missing),
            other => other,
        };
        let now = clock::now_micros();
        let mut tx = self.db.begin().await?;
        let deadline = clock::after(now, self.upload.reserved_secs);
        let waiting = images::set_uploaded(&mut tx, upload.image, now, deadline).await?;
        let filename = images::filename(&mut tx, upload.image).await?;
        tx.commit().await?;
        if !waiting {
            return Ok(Completed::Otherwise);
        }

        let prepared = match spooled {
            Ok(spooled) => self.prepare(&upload.owner, spooled, filename, Some(upload.format)).await,
            Err(error) => Err(error),
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) if error.is_refusal() => return self.reject(upload, &object, error).await,
            Err(error) => return Err(error),
        };
        let mut tx = self.db.begin().await?;
        let completed = prepared.admit_as(&mut tx, upload.image, self.upload.unattached_secs).await?;
        if completed {
            tx.commit().await?;
        }
        self.remove(&object).await;
        Ok(if completed { Completed::Now } else { Completed::Otherwise })
    }

    /// Reads what landed, as much of it as was promised.
    async fn fetch(&self, upload: &UploadRow, object: &Object) -> Result<super::Spooled, IngestError> {
        let promised = u64::try_from(upload.bytes).unwrap_or_default();
        let body = self.store.stream(object, None).await?;
        if body.remaining() != promised {
            return Err(IngestError::Promise(Promise::Size));
        }
        let mut spool = Spool::start(promised).await?;
        let mut frames = BodyStream::new(body);
        while let Some(frame) = frames.next().await {
            if let Ok(chunk) = frame?.into_data()
                && spool.write(&chunk).await? == Taken::TooLarge
            {
                return Err(IngestError::Promise(Promise::Size));
            }
        }
        let spooled = spool.finish().await?;
        if upload.sha256.as_ref().is_some_and(|promised| *promised != spooled.sha256_hex()) {
            return Err(IngestError::Promise(Promise::Sha256));
        }
        Ok(spooled)
    }

    async fn reject(
        &self,
        upload: &UploadRow,
        object: &Object,
        why: IngestError,
    ) -> Result<Completed, IngestError> {
        let mut tx = self.db.begin().await?;
        images::set_failed(&mut tx, upload.image, State::Rejected).await?;
        tx.commit().await?;
        self.remove(object).await;
        Err(match why {
            // Here the type was promised, so it is not the request's type that is wrong.
            IngestError::UnsupportedType => IngestError::Promise(Promise::ContentType),
            other => other,
        })
    }

    /// Removes what landed. The sweeper does so again when the client's grant has expired.
    async fn remove(&self, object: &Object) {
        if let Err(error) = self.store.delete(std::slice::from_ref(object)).await {
            tracing::warn!("an incoming object is left to the sweeper: {error}");
        }
    }
}

impl IngestError {
    /// Whether the file itself is at fault, so that trying again is no use.
    fn is_refusal(&self) -> bool {
        use crate::gate::GateError::Panicked;
        matches!(self, Self::UnsupportedType | Self::Promise(_) | Self::Gate(Panicked) | Self::Rejected(_))
    }
}
