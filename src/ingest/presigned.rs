//! Uploads that went straight to the bucket: what landed is read once, and counts as it was read.
//!
//! A client keeps the right to write under his incoming key until the grant expires. So nothing that
//! lies there is ever served or copied.

use super::{Ingest, IngestError, Promise, Spool, Spooled};
use crate::{
    db::uploads::{Promised, UploadRow},
    store::{Object, StoreError},
};

impl Ingest {
    /// Reads what landed, as much of it as was promised.
    pub(super) async fn fetch(
        &self,
        upload: &UploadRow,
        incoming: &Promised,
    ) -> Result<Spooled, IngestError> {
        let promised = u64::try_from(upload.bytes).unwrap_or_default();
        let object = Object::incoming(&incoming.key, incoming.format.content_type());
        let body = match self.store.stream(&object, None).await {
            Err(StoreError::Missing { .. }) => return Err(IngestError::Missing),
            body => body?,
        };
        if body.remaining() != promised {
            return Err(IngestError::Promise(Promise::Size));
        }
        let mut spool = Spool::start(promised).await?;
        Self::pour(body, &mut spool).await?;
        let spooled = spool.finish().await?;
        if incoming.sha256.as_ref().is_some_and(|promised| *promised != spooled.sha256_hex()) {
            return Err(IngestError::Promise(Promise::Sha256));
        }
        Ok(spooled)
    }
}
