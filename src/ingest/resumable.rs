//! Uploads that come piece by piece: every piece is an object of its own, until all have come.
//!
//! Bytes count from the moment at which one transaction moves the upload's offset past them, and not
//! before. So two who write at the same offset need no lock: one of them moves it, and what the other
//! wrote is removed again, as is what somebody wrote whom everybody had given up.

use std::pin::pin;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{Checksum, Ingest, IngestError, Spool, Spooled};
use crate::{
    clock,
    db::{
        chunks::{self, Chunk},
        uploads::UploadRow,
        users,
    },
    gate::Pass,
    id::BlobKey,
    log,
    store::{Object, StoreError},
};

/// How many bytes go to the bucket at once. Until then they wait in a temporary file, and are lost when
/// the program is killed: nobody was told that they count.
const CHUNK_BYTES: u64 = 4 << 20;
/// How many chunks are on their way to the bucket at once; each is in memory for so long. More wait.
pub(super) const CHUNKS_AT_ONCE: usize = 4;
/// How many chunks are asked for before it is their turn to be read.
const READ_AHEAD: usize = 4;
/// How many pieces of a body, as the connection hands them over, wait for the temporary file. Each is as
/// large as the read buffer of a connection at most.
const PIECES_WAITING: usize = 1;
/// What a chunk is stored as: nobody has looked at the bytes yet.
const CHUNK_TYPE: &str = "application/octet-stream";

/// One request's bytes on their way into an upload. Dropped, it keeps what has come.
#[derive(Debug)]
pub struct Receiving {
    pieces: mpsc::Sender<Piece>,
    writer: JoinHandle<Result<(), IngestError>>,
}

/// What the connection hands to the writer.
#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    /// The body has ended as it should.
    End,
}

impl Receiving {
    /// Takes the next bytes. False when no more are wanted: [`Receiving::finish`] says why.
    pub async fn take(&self, bytes: Bytes) -> bool {
        self.pieces.send(Piece::Bytes(bytes)).await.is_ok()
    }

    /// All bytes have come: once this returns, they survive a crash.
    ///
    /// Fails with [`IngestError::OutOfStep`] when somebody else's bytes came first, or the upload is
    /// over; with [`IngestError::ChecksumMismatch`], [`IngestError::TooLong`] and
    /// [`IngestError::TooManyChunks`] for what they say.
    pub async fn finish(self) -> Result<(), IngestError> {
        // Nobody listens when the writer has failed, which is told below.
        let _ = self.pieces.send(Piece::End).await;
        self.writer.await.map_err(std::io::Error::other)?
    }

    /// No more bytes will come: what has come is kept, unless a checksum was promised for all of it.
    pub async fn break_off(self) -> Result<(), IngestError> {
        drop(self.pieces);
        self.writer.await.map_err(std::io::Error::other)?
    }
}

impl Ingest {
    /// Begins to receive a request's bytes, which go on from `offset`.
    ///
    /// They are written by a task of its own, since the handler of a request ends with its connection,
    /// and what came before that is to be kept.
    pub async fn receive(
        &self,
        upload: &UploadRow,
        offset: i64,
        checksum: Option<Checksum>,
    ) -> Result<Receiving, IngestError> {
        let pass = self.receives.enter().await?;
        let left = u64::try_from(upload.bytes - offset).unwrap_or_default();
        let window = if checksum.is_some() { left } else { CHUNK_BYTES };
        let writer = Writer {
            ingest: self.clone(),
            upload: upload.clone(),
            offset,
            left,
            window,
            checksum,
            spool: None,
            _pass: pass,
        };
        let (pieces, coming) = mpsc::channel(PIECES_WAITING);
        Ok(Receiving { pieces, writer: tokio::spawn(log::carry(writer.write(coming))) })
    }

    /// Reads all chunks, in their order, once all bytes have come.
    pub(super) async fn assemble(&self, upload: &UploadRow, received: i64) -> Result<Spooled, IngestError> {
        if received != upload.bytes {
            return Err(IngestError::Missing);
        }
        let chunks = chunks::landed(&mut self.db.read().await?, upload.image).await?;
        let mut spool = Spool::start(u64::try_from(upload.bytes).unwrap_or_default()).await?;
        let mut at = 0;
        let opening = stream::iter(chunks).map(async |chunk| {
            let body = self.store.stream(&Object::incoming(&chunk.key, CHUNK_TYPE), None).await;
            (chunk, body)
        });
        let mut opened = pin!(opening.buffered(READ_AHEAD));
        while let Some((chunk, body)) = opened.next().await {
            let body = match body {
                // Whoever was faster has removed it.
                Err(StoreError::Missing { .. }) => return Err(IngestError::Missing),
                body => body?,
            };
            if chunk.first_byte != at || i64::try_from(body.remaining()) != Ok(chunk.bytes) {
                return Err(IngestError::Missing);
            }
            at += chunk.bytes;
            Self::pour(body, &mut spool).await?;
        }
        if at == upload.bytes { Ok(spool.finish().await?) } else { Err(IngestError::Missing) }
    }

    /// Keeps the next bytes of an upload: in the bucket first, and then they count.
    async fn keep(&self, upload: &UploadRow, first_byte: i64, bytes: Bytes) -> Result<(), IngestError> {
        let chunk = Chunk {
            key: BlobKey::random(),
            image: upload.image,
            first_byte,
            bytes: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        };
        self.announce(upload, &chunk).await?;
        // When this fails the object may be there, or still come to be. So the row stays, and the sweeper
        // looks when no write can take any longer.
        self.store.put(&Object::incoming(&chunk.key, CHUNK_TYPE), bytes).await?;
        let landed = self.land(upload, &chunk).await;
        if landed.is_err() {
            self.discard(&chunk.key).await;
        }
        landed
    }

    async fn announce(&self, upload: &UploadRow, chunk: &Chunk) -> Result<(), IngestError> {
        let now = clock::now_micros();
        let deadline = clock::after(now, self.upload.reserved_secs);
        let mut tx = self.db.begin().await?;
        if !users::lock_alive(&mut tx, &upload.owner).await? {
            return Err(IngestError::OwnerGone);
        }
        if chunks::announce(&mut tx, chunk, now, deadline).await? {
            return Ok(tx.commit().await?);
        }
        let is_full = chunks::count(&mut tx, upload.image).await? >= chunks::MAX_CHUNKS;
        Err(if is_full { IngestError::TooManyChunks } else { IngestError::OutOfStep })
    }

    async fn land(&self, upload: &UploadRow, chunk: &Chunk) -> Result<(), IngestError> {
        let now = clock::now_micros();
        let deadline = clock::after(now, self.upload.reserved_secs);
        let mut tx = self.db.begin().await?;
        if !users::lock_alive(&mut tx, &upload.owner).await? {
            return Err(IngestError::OwnerGone);
        }
        if !chunks::land(&mut tx, chunk, now, deadline).await? {
            return Err(IngestError::OutOfStep);
        }
        Ok(tx.commit().await?)
    }

    /// Removes a chunk that was written and did not land. One that landed after all stays.
    async fn discard(&self, key: &BlobKey) {
        let discarding = async {
            let mut tx = self.db.begin().await?;
            chunks::let_go(&mut tx, key).await?;
            tx.commit().await?;
            self.sweeper.sweep_chunk(key, clock::now_micros()).await
        };
        if let Err(error) = discarding.await {
            tracing::warn!("a chunk that came to nothing is left to the sweeper: {error}");
        }
    }
}

/// Takes bytes to a temporary file, and from there to the bucket.
struct Writer {
    ingest: Ingest,
    upload: UploadRow,
    /// Where the bytes in the spool begin.
    offset: i64,
    /// How many bytes may still come.
    left: u64,
    /// How many bytes the spool takes: a chunk, or everything that a checksum is to be checked of.
    window: u64,
    checksum: Option<Checksum>,
    /// What has come and is not stored; a temporary file is there only while there is something in it.
    spool: Option<Spool>,
    _pass: Pass,
}

impl Writer {
    async fn write(mut self, mut coming: mpsc::Receiver<Piece>) -> Result<(), IngestError> {
        let is_whole = loop {
            match coming.recv().await {
                Some(Piece::Bytes(bytes)) => self.take(bytes).await?,
                Some(Piece::End) => break true,
                None => break false,
            }
        };
        if let Some(checksum) = self.checksum.take() {
            if !is_whole {
                return Ok(());
            }
            if !checksum.holds() {
                return Err(IngestError::ChecksumMismatch);
            }
        }
        self.store().await
    }

    async fn take(&mut self, mut bytes: Bytes) -> Result<(), IngestError> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(IngestError::TooLong)?;
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&bytes);
        }
        while !bytes.is_empty() {
            // Stored when more comes and not when it is full, so that a body which is too long never
            // completes an upload.
            if self.spool.as_ref().is_some_and(|spool| spool.received() == self.window) {
                self.store().await?;
            }
            let spool = match &mut self.spool {
                Some(spool) => spool,
                none => none.insert(Spool::start(self.window).await?),
            };
            let room = usize::try_from(self.window - spool.received()).unwrap_or(usize::MAX);
            spool.write(&bytes.split_to(room.min(bytes.len()))).await?;
        }
        Ok(())
    }

    /// Keeps what is in the spool, and empties it.
    async fn store(&mut self) -> Result<(), IngestError> {
        let Some(spool) = self.spool.take() else { return Ok(()) };
        let mut spooled = spool.finish().await?;
        loop {
            let _turn = self.ingest.chunks.acquire().await.map_err(std::io::Error::other)?;
            let bytes;
            (spooled, bytes) = spooled.next_piece(CHUNK_BYTES).await?;
            if bytes.is_empty() {
                return Ok(());
            }
            let first_byte = self.offset;
            self.offset += i64::try_from(bytes.len()).unwrap_or(i64::MAX);
            self.ingest.keep(&self.upload, first_byte, bytes).await?;
        }
    }
}
