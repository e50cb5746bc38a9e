//! An image that was reserved, and what becomes of it once its bytes have come: whichever way they came,
//! they are verified like any other file, and published by putting those very bytes under another key.

use futures_util::StreamExt as _;
use http_body_util::BodyStream;

use super::{Ingest, IngestError, Promise, Spool, Taken};
use crate::{
    access::State,
    clock,
    db::{
        images,
        uploads::{Landing, UploadRow},
    },
    log,
    store::ObjectBody,
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
    /// Bytes that are refused are refused for good: the image is `rejected`. Either way what landed is
    /// removed. It goes on when the caller does not, so that a client who hangs up leaves nothing half
    /// done.
    pub async fn complete(&self, upload: &UploadRow) -> Result<Completed, IngestError> {
        let (ingest, upload) = (self.clone(), upload.clone());
        let completing = tokio::spawn(log::carry(async move { ingest.complete_here(&upload).await }));
        completing.await.map_err(std::io::Error::other)?
    }

    async fn complete_here(&self, upload: &UploadRow) -> Result<Completed, IngestError> {
        // Before anything is read: each takes as much room in the temporary folder as a file may have.
        let _pass = self.completions.enter().await?;
        let standing = images::standing(&mut self.db.read().await?, upload.image, &upload.owner).await?;
        if !standing.is_some_and(|(state, _)| matches!(state, State::Reserved | State::Uploaded)) {
            return Ok(Completed::Otherwise);
        }
        let (spooled, promised) = match &upload.landing {
            Landing::Incoming(incoming) => (self.fetch(upload, incoming).await, Some(incoming.format)),
            Landing::Chunks { received, .. } => (self.assemble(upload, *received).await, None),
        };
        if let Err(IngestError::Missing) = spooled {
            return Err(IngestError::Missing);
        }
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
            Ok(spooled) => self.prepare(&upload.owner, spooled, filename, promised).await,
            Err(error) => Err(error),
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) if error.is_refusal() => return self.reject(upload, error).await,
            Err(error) => return Err(error),
        };
        let admitting = async {
            let mut tx = self.db.begin().await?;
            let admitted = prepared.admit_as(&mut tx, upload.image, self.upload.unattached_secs).await?;
            if admitted {
                tx.commit().await?;
            }
            Ok(admitted)
        };
        let admitted: Result<bool, IngestError> = admitting.await;
        if !matches!(admitted, Ok(true)) {
            self.abandon([prepared.blob()]).await;
        }
        if !admitted? {
            return Ok(Completed::Otherwise);
        }
        self.clear(upload).await;
        Ok(Completed::Now)
    }

    /// Reads an object to a file that has room for it.
    pub(super) async fn pour(body: ObjectBody, spool: &mut Spool) -> Result<(), IngestError> {
        let mut frames = BodyStream::new(body);
        while let Some(frame) = frames.next().await {
            if let Ok(bytes) = frame?.into_data()
                && spool.write(&bytes).await? == Taken::TooLarge
            {
                return Err(IngestError::Promise(Promise::Size));
            }
        }
        Ok(())
    }

    async fn reject(&self, upload: &UploadRow, why: IngestError) -> Result<Completed, IngestError> {
        let mut tx = self.db.begin().await?;
        images::set_failed(&mut tx, upload.image, State::Rejected).await?;
        tx.commit().await?;
        self.clear(upload).await;
        Err(match (why, &upload.landing) {
            // It is not this request's type that is wrong.
            (IngestError::UnsupportedType | IngestError::Heic, Landing::Incoming(_)) => {
                IngestError::Promise(Promise::ContentType)
            }
            (IngestError::UnsupportedType | IngestError::Heic, Landing::Chunks { .. }) => {
                IngestError::NotAnImage
            }
            (other, _) => other,
        })
    }

    /// Removes what landed. What cannot be removed now is the sweeper's, who looks again as well when a
    /// client's grant has expired.
    async fn clear(&self, upload: &UploadRow) {
        if let Err(error) = self.sweeper.clear(upload, clock::now_micros()).await {
            tracing::warn!("what landed of an upload is left to the sweeper: {error}");
        }
    }
}

impl IngestError {
    /// Whether the file itself is at fault, so that trying again is no use.
    fn is_refusal(&self) -> bool {
        use crate::gate::GateError::Panicked;
        matches!(
            self,
            Self::UnsupportedType | Self::Heic | Self::Promise(_) | Self::Gate(Panicked) | Self::Rejected(_)
        )
    }
}
