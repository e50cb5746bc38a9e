//! A file that is brought in by an operator: verified and stored as an upload is, and read back besides before it is
//! an image, since whoever brings in a folder may be about to delete it.

use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};

use super::{Ingest, IngestError, Spooled};
use crate::{
    clock,
    db::{
        blobs::{self, Hashes},
        imports::{self, File},
    },
    id::{BlobKey, ImageId, hex},
    store::{Object, StoreError},
};

/// How often the blob may turn out to be another one, since equal bytes of the owner's went live meanwhile.
const TWINS: usize = 4;

/// What became of a file that was brought in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// An image, whose objects were read back and have their hashes.
    As(ImageId),
    /// Nothing: another import of the same file was faster.
    Otherwise,
}

impl Ingest {
    /// Makes a file an image that is kept for `keep_secs` unless something comes to use it, and writes down in the same
    /// transaction that it is. `before` is the image that the file was known to be.
    pub async fn import(
        &self,
        file: &File<'_>,
        before: Option<ImageId>,
        spooled: Spooled,
        filename: Option<String>,
        keep_secs: u64,
    ) -> Result<Kept, IngestError> {
        let prepared = self.prepare(file.owner, spooled, filename, None).await?;
        let admitting = async {
            let mut verified = prepared.blob().clone();
            self.verify(&verified).await?;
            for _ in 0..TWINS {
                let mut tx = self.db.begin().await?;
                let blob = prepared.put_into_use(&mut tx).await?;
                if blob != verified {
                    // Nothing has been done yet: first its twin is looked at.
                    drop(tx);
                    self.verify(&blob).await?;
                    verified = blob;
                    continue;
                }
                let image = prepared.admit_with(&mut tx, &blob, keep_secs).await?;
                if !imports::record(&mut tx, file, image, before, clock::now_micros()).await? {
                    return Ok(Kept::Otherwise);
                }
                tx.commit().await?;
                return Ok(Kept::As(image));
            }
            Err(IngestError::Expired)
        };
        let admitted = admitting.await;
        if !matches!(admitted, Ok(Kept::As(_))) {
            self.abandon([prepared.blob()]).await;
        }
        admitted
    }

    /// Reads the objects of a blob back, and compares their hashes with what the ledger says. Masters are left out:
    /// they can be made again.
    async fn verify(&self, blob: &BlobKey) -> Result<(), IngestError> {
        let hashes = blobs::hashes(&mut self.db.read().await?, blob).await?;
        let Hashes { format, raw, original } = hashes.ok_or(IngestError::Expired)?;
        let objects = Object::published(blob, format.content_type());
        for (object, sha256) in objects.iter().zip([Some(raw), original]) {
            if let Some(sha256) = sha256
                && self.hash_of(object).await? != sha256
            {
                return Err(StoreError::Damaged { key: object.key() }.into());
            }
        }
        Ok(())
    }

    /// SHA-256 of an object, in hexadecimal.
    async fn hash_of(&self, object: &Object) -> Result<String, StoreError> {
        let (mut body, mut hash) = (self.store.stream(object, None).await?, Sha256::new());
        while let Some(frame) = body.frame().await.transpose()? {
            if let Some(chunk) = frame.data_ref() {
                hash.update(chunk);
            }
        }
        Ok(hex(&hash.finalize()))
    }
}
