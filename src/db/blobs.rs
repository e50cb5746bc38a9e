//! The bytes behind images, as the ledger knows them: written, used, released, gone.
//!
//! A blob's row is written before its objects and removed after them, so that no object is ever
//! without a row. Its deadline is when the sweeper looks at it again: while an image uses it there is
//! none, while somebody is about to use it the deadline is a lease, and to let go of a blob is to set
//! its deadline to now.

use super::{Conn, DbError};
use crate::{
    access::Contents,
    id::{BlobKey, UserId, hex},
    render::{Format, Masters, Placeholder},
};

/// What ingest found out about a file.
#[derive(Clone, Debug)]
pub struct NewBlob {
    /// Names its objects in the bucket.
    pub key: BlobKey,
    /// Whose it is.
    pub owner: UserId,
    /// SHA-256 of the uploaded file, in hexadecimal.
    pub sha256: String,
    /// What it is without its metadata, as it is served.
    pub original: Contents,
    /// The verified format.
    pub format: Format,
    /// The size of the uploaded file in bytes.
    pub bytes: u64,
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
    /// How many frames; 1 unless animated.
    pub frames: u32,
    /// What is shown until it has come.
    pub placeholder: Placeholder,
    /// The masters that variants are made from.
    pub masters: Masters,
}

/// A blob by the names of its objects.
#[derive(Clone, Debug)]
pub struct StoredBlob {
    /// Names its objects in the bucket.
    pub key: BlobKey,
    /// Their format.
    pub format: Format,
    /// Whose it is.
    pub owner: UserId,
    /// Its masters.
    pub masters: Masters,
}

/// Announces a blob whose objects are about to be written.
pub async fn announce(
    conn: &mut Conn,
    blob: &NewBlob,
    now_micros: i64,
    deadline_micros: i64,
) -> Result<(), DbError> {
    execute!(
        conn,
        "INSERT INTO blobs (key, owner_id, state, deadline, sha256, content_type, bytes, width, height, frames,
                            thumbhash, dominant_color, masters, original_bytes, original_sha256, created_at)
         VALUES ($1, $2, 'writing', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        blob.key.as_str(),
        blob.owner.as_str(),
        deadline_micros,
        blob.sha256.as_str(),
        blob.format.content_type(),
        i64::try_from(blob.bytes).unwrap_or(i64::MAX),
        i64::from(blob.width),
        i64::from(blob.height),
        i64::from(blob.frames),
        blob.placeholder.thumbhash.as_str(),
        blob.placeholder.dominant_color.as_deref(),
        blob.masters.to_string(),
        i64::try_from(blob.original.bytes).unwrap_or(i64::MAX),
        hex(&blob.original.sha256),
        now_micros
    )?;
    Ok(())
}

/// Writes down what the original is of a blob that came in before that was done. What is written stays.
pub async fn describe_original(conn: &mut Conn, key: &BlobKey, original: &Contents) -> Result<(), DbError> {
    execute!(
        conn,
        "UPDATE blobs SET original_bytes = $2, original_sha256 = $3 WHERE key = $1 AND original_sha256 IS NULL",
        key.as_str(),
        i64::try_from(original.bytes).unwrap_or(i64::MAX),
        hex(&original.sha256)
    )?;
    Ok(())
}

/// Finds the owner's live blob with these bytes and takes a lease on it, so that it is not released
/// before the lease ends, or before another use of it has come and gone.
pub async fn lease(
    conn: &mut Conn,
    owner: &UserId,
    sha256: &str,
    deadline_micros: i64,
) -> Result<Option<BlobKey>, DbError> {
    let row = optional!(
        conn,
        (String,),
        "UPDATE blobs SET deadline = $3 WHERE owner_id = $1 AND sha256 = $2 AND state = 'live' RETURNING key",
        owner.as_str(),
        sha256,
        deadline_micros
    )?;
    row.map(|(key,)| parse_key(&key)).transpose()
}

/// What the objects of a blob have to be.
#[derive(Clone, Debug)]
pub struct Hashes {
    /// Their format.
    pub format: Format,
    /// SHA-256 of the uploaded file, in hexadecimal.
    pub raw: String,
    /// The same of what it is without its metadata; `None` where that was never written down.
    pub original: Option<String>,
}

/// What a blob's objects have to be, unless it is gone or going.
pub async fn hashes(conn: &mut Conn, key: &BlobKey) -> Result<Option<Hashes>, DbError> {
    let row = optional!(
        conn,
        (String, String, Option<String>),
        "SELECT content_type, sha256, original_sha256 FROM blobs WHERE key = $1 AND state <> 'dying'",
        key.as_str()
    )?;
    row.map(|(content_type, raw, original)| {
        let format =
            Format::from_content_type(&content_type).ok_or(DbError::Unknown("content type", content_type))?;
        Ok(Hashes { format, raw, original })
    })
    .transpose()
}

/// Takes a lease on a live blob, so that it is not released while a master of it is written. False when
/// it is not live any more.
pub async fn lease_live(conn: &mut Conn, key: &BlobKey, deadline_micros: i64) -> Result<bool, DbError> {
    let sql = "UPDATE blobs SET deadline = $2 WHERE key = $1 AND state = 'live'";
    Ok(execute!(conn, sql, key.as_str(), deadline_micros)? == 1)
}

/// Puts a blob into use, once its objects are in the bucket: it is live, and has no deadline. The key
/// of the blob to use, which is another one when equal bytes of the owner's went live meanwhile; `None`
/// when the blob's time ran out.
pub async fn put_into_use(conn: &mut Conn, key: &BlobKey) -> Result<Option<BlobKey>, DbError> {
    let touched = execute!(
        conn,
        "UPDATE blobs SET state = 'live', deadline = NULL
         WHERE key = $1 AND (state = 'live' OR (state = 'writing' AND NOT EXISTS (
            SELECT 1 FROM blobs twin
            WHERE twin.owner_id = blobs.owner_id AND twin.sha256 = blobs.sha256 AND twin.state = 'live')))",
        key.as_str()
    )?;
    if touched == 1 {
        return Ok(Some(key.clone()));
    }
    let twin = optional!(
        conn,
        (String,),
        "UPDATE blobs SET deadline = NULL
         WHERE state = 'live' AND (owner_id, sha256) = (SELECT owner_id, sha256 FROM blobs WHERE key = $1)
         RETURNING key",
        key.as_str()
    )?;
    twin.map(|(key,)| parse_key(&key)).transpose()
}

/// Lets go of a blob: the sweeper looks whether anything still uses it.
pub async fn let_go(conn: &mut Conn, key: &BlobKey, now_micros: i64) -> Result<(), DbError> {
    execute!(
        conn,
        "UPDATE blobs SET deadline = CASE WHEN state = 'writing' THEN $2 ELSE COALESCE(deadline, $2) END
         WHERE key = $1 AND state <> 'dying'",
        key.as_str(),
        now_micros
    )?;
    Ok(())
}

/// The keys of blobs whose deadline has passed.
pub async fn due(conn: &mut Conn, now_micros: i64, limit: i64) -> Result<Vec<BlobKey>, DbError> {
    let rows = all!(
        conn,
        (String,),
        "SELECT key FROM blobs WHERE deadline <= $1 ORDER BY deadline LIMIT $2",
        now_micros,
        limit
    )?;
    rows.iter().map(|(key,)| parse_key(key)).collect()
}

/// How many blobs [`due`] has in all.
pub async fn count_due(conn: &mut Conn, now_micros: i64) -> Result<i64, DbError> {
    Ok(one!(conn, (i64,), "SELECT COUNT(*) FROM blobs WHERE deadline <= $1", now_micros)?.0)
}

/// A user's blobs, in whatever state.
pub async fn of_user(conn: &mut Conn, owner: &UserId, limit: i64) -> Result<Vec<BlobKey>, DbError> {
    let sql = "SELECT key FROM blobs WHERE owner_id = $1 LIMIT $2";
    let rows = all!(conn, (String,), sql, owner.as_str(), limit)?;
    rows.iter().map(|(key,)| parse_key(key)).collect()
}

/// Decides about a due blob: dying when no image uses it, and then it is returned; else left alone. While a
/// variant of it is being written, it stays due.
pub async fn release(conn: &mut Conn, key: &BlobKey, now_micros: i64) -> Result<Option<StoredBlob>, DbError> {
    // Locked first: what follows must see what a racing change to the blob's uses has committed.
    execute!(conn, "UPDATE blobs SET key = key WHERE key = $1", key.as_str())?;
    let dying = optional!(
        conn,
        StoredTuple,
        "UPDATE blobs SET state = 'dying' WHERE key = $1 AND deadline <= $2
           AND NOT EXISTS (SELECT 1 FROM images WHERE blob_key = $1)
           AND NOT EXISTS (SELECT 1 FROM variants WHERE blob_key = $1 AND NOT landed AND deadline > $2)
         RETURNING key, content_type, owner_id, masters",
        key.as_str(),
        now_micros
    )?;
    if let Some(dying) = dying {
        return read_stored(dying).map(Some);
    }
    // A lease that ended while an image came to use the blob.
    execute!(
        conn,
        "UPDATE blobs SET deadline = NULL WHERE key = $1 AND state = 'live' AND deadline <= $2
           AND EXISTS (SELECT 1 FROM images WHERE blob_key = $1)",
        key.as_str(),
        now_micros
    )?;
    Ok(None)
}

/// Forgets a dying blob, once its objects are gone. False when somebody else did.
pub async fn forget(conn: &mut Conn, key: &BlobKey) -> Result<bool, DbError> {
    Ok(execute!(conn, "DELETE FROM blobs WHERE key = $1 AND state = 'dying'", key.as_str())? == 1)
}

type StoredTuple = (String, String, String, String);

fn read_stored((key, content_type, owner, masters): StoredTuple) -> Result<StoredBlob, DbError> {
    Ok(StoredBlob {
        key: parse_key(&key)?,
        format: Format::from_content_type(&content_type)
            .ok_or(DbError::Unknown("content type", content_type))?,
        owner: UserId::parse(&owner).ok_or(DbError::Unknown("user id", owner))?,
        masters: Masters::parse(&masters).ok_or(DbError::Unknown("masters", masters))?,
    })
}

fn parse_key(text: &str) -> Result<BlobKey, DbError> {
    BlobKey::parse(text).ok_or_else(|| DbError::Unknown("blob key", text.to_owned()))
}
