//! The chunks of resumable uploads: objects in the bucket that together are a file to be.
//!
//! As with blobs, a chunk's row is written before its object and removed after it, and its deadline is
//! when the sweeper looks at it. While a chunk is being written the deadline is far enough away for the
//! write to have ended one way or the other; while its bytes count there is none.

use super::{Conn, DbError, query::parsed};
use crate::id::{BlobKey, ImageId, UserId};

/// A piece of an upload.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Names its object in the bucket.
    pub key: BlobKey,
    /// The image that the upload will become.
    pub image: ImageId,
    /// Where in the file it begins.
    pub first_byte: i64,
    /// How many bytes it has.
    pub bytes: i64,
}

/// How many chunks an upload may have, in whatever state.
pub const MAX_CHUNKS: i64 = 1000;
/// A deadline that has always passed.
const AT_ONCE: i64 = 0;

/// Announces a chunk whose object is about to be written. False when the upload does not stand where the
/// chunk begins, is over, or has [`MAX_CHUNKS`] already.
pub async fn announce(
    conn: &mut Conn,
    chunk: &Chunk,
    now_micros: i64,
    deadline_micros: i64,
) -> Result<bool, DbError> {
    let touched = execute!(
        conn,
        "INSERT INTO upload_chunks (key, image_id, first_byte, bytes, state, deadline)
         SELECT $1, u.image_id, $3, $4, 'writing', $7
         FROM uploads u JOIN images i ON i.id = u.image_id
         WHERE u.image_id = $2 AND u.method = 'tus' AND u.received = $3 AND i.state = 'reserved'
           AND i.deadline > $6 AND (SELECT COUNT(*) FROM upload_chunks c WHERE c.image_id = $2) < $5",
        chunk.key.as_str(),
        chunk.image.to_string(),
        chunk.first_byte,
        chunk.bytes,
        MAX_CHUNKS,
        now_micros,
        deadline_micros
    )?;
    Ok(touched == 1)
}

/// How many chunks an upload has, in whatever state.
pub async fn count(conn: &mut Conn, image: ImageId) -> Result<i64, DbError> {
    let (chunks,) =
        one!(conn, (i64,), "SELECT COUNT(*) FROM upload_chunks WHERE image_id = $1", image.to_string())?;
    Ok(chunks)
}

/// Makes the bytes of a written chunk count, and gives the upload until `deadline_micros` for the next;
/// so long it is remembered when this was the last.
/// False when the upload has gone on from where the chunk begins, or is over, or the write took too
/// long; the transaction must then be given up.
pub async fn land(
    conn: &mut Conn,
    chunk: &Chunk,
    now_micros: i64,
    deadline_micros: i64,
) -> Result<bool, DbError> {
    // The image first, as everywhere: it is what ends an upload.
    let open = execute!(
        conn,
        "UPDATE images SET deadline = $3 WHERE id = $1 AND state = 'reserved' AND deadline > $2",
        chunk.image.to_string(),
        now_micros,
        deadline_micros
    )?;
    let in_place = execute!(
        conn,
        "UPDATE uploads SET received = received + $3, granted_until = $4 WHERE image_id = $1 AND received = $2",
        chunk.image.to_string(),
        chunk.first_byte,
        chunk.bytes,
        deadline_micros
    )?;
    let in_time = execute!(
        conn,
        "UPDATE upload_chunks SET state = 'landed', deadline = NULL
         WHERE key = $1 AND state = 'writing' AND deadline > $2",
        chunk.key.as_str(),
        now_micros
    )?;
    Ok((open, in_place, in_time) == (1, 1, 1))
}

/// The chunks of an upload whose bytes count, in order.
pub async fn landed(conn: &mut Conn, image: ImageId) -> Result<Vec<Chunk>, DbError> {
    let rows = all!(
        conn,
        (String, i64, i64),
        "SELECT key, first_byte, bytes FROM upload_chunks WHERE image_id = $1 AND state = 'landed'
         ORDER BY first_byte LIMIT $2",
        image.to_string(),
        MAX_CHUNKS
    )?;
    rows.into_iter()
        .map(|(key, first_byte, bytes)| Ok(Chunk { key: parse_key(&key)?, image, first_byte, bytes }))
        .collect()
}

/// Lets go of a chunk that did not land; only who wrote it can know that nothing is written any more.
pub async fn let_go(conn: &mut Conn, key: &BlobKey) -> Result<(), DbError> {
    execute!(
        conn,
        "UPDATE upload_chunks SET deadline = $2 WHERE key = $1 AND state = 'writing'",
        key.as_str(),
        AT_ONCE
    )?;
    Ok(())
}

/// Lets go of all chunks that counted, once their upload is over.
pub(super) async fn let_go_of_upload(conn: &mut Conn, image: ImageId) -> Result<(), DbError> {
    execute!(
        conn,
        "UPDATE upload_chunks SET deadline = $2 WHERE image_id = $1 AND state = 'landed'",
        image.to_string(),
        AT_ONCE
    )?;
    Ok(())
}

/// The keys of chunks whose deadline has passed.
pub async fn due(conn: &mut Conn, now_micros: i64, limit: i64) -> Result<Vec<BlobKey>, DbError> {
    let sql = "SELECT key FROM upload_chunks WHERE deadline <= $1 ORDER BY deadline LIMIT $2";
    let rows = all!(conn, (String,), sql, now_micros, limit)?;
    rows.iter().map(|(key,)| parse_key(key)).collect()
}

/// How many chunks [`due`] has in all.
pub async fn count_due(conn: &mut Conn, now_micros: i64) -> Result<i64, DbError> {
    Ok(one!(conn, (i64,), "SELECT COUNT(*) FROM upload_chunks WHERE deadline <= $1", now_micros)?.0)
}

/// The keys of chunks of one upload whose deadline has passed.
pub async fn due_of(conn: &mut Conn, image: ImageId, now_micros: i64) -> Result<Vec<BlobKey>, DbError> {
    let sql = "SELECT key FROM upload_chunks WHERE image_id = $1 AND deadline <= $2 LIMIT $3";
    let rows = all!(conn, (String,), sql, image.to_string(), now_micros, MAX_CHUNKS)?;
    rows.iter().map(|(key,)| parse_key(key)).collect()
}

/// Whether a user has chunks, in whatever state.
pub async fn has_any(conn: &mut Conn, owner: &UserId) -> Result<bool, DbError> {
    let row = optional!(
        conn,
        (i64,),
        "SELECT CAST(1 AS BIGINT) FROM upload_chunks c JOIN uploads u ON u.image_id = c.image_id
         WHERE u.owner_id = $1 LIMIT 1",
        owner.as_str()
    )?;
    Ok(row.is_some())
}

/// Decides about a due chunk: dying, unless it has landed meanwhile. From then on it never can.
pub async fn release(conn: &mut Conn, key: &BlobKey, now_micros: i64) -> Result<bool, DbError> {
    let touched = execute!(
        conn,
        "UPDATE upload_chunks SET state = 'dying' WHERE key = $1 AND deadline <= $2",
        key.as_str(),
        now_micros
    )?;
    Ok(touched == 1)
}

/// Forgets a dying chunk, once its object is gone. Whose it was; `None` when somebody else forgot it.
pub async fn forget(conn: &mut Conn, key: &BlobKey) -> Result<Option<UserId>, DbError> {
    let owner = optional!(
        conn,
        (String,),
        "DELETE FROM upload_chunks WHERE key = $1 AND state = 'dying'
         RETURNING (SELECT u.owner_id FROM uploads u WHERE u.image_id = upload_chunks.image_id)",
        key.as_str()
    )?;
    owner.map(|(owner,)| parsed("user id", &owner, UserId::parse)).transpose()
}

fn parse_key(text: &str) -> Result<BlobKey, DbError> {
    BlobKey::parse(text).ok_or_else(|| DbError::Unknown("chunk key", text.to_owned()))
}
