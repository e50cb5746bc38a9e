//! Renditions in the bucket, as the ledger knows them.
//!
//! A row is written before its object and removed after it. One writer at a time has leave to put a variant
//! there, until the row's deadline; nobody removes the row, or its blob, before he is done or that has
//! passed. Else what he writes would lie there with nobody knowing of it.

use super::{Conn, DbError, query::parsed};
use crate::{
    id::{BlobKey, VariantName},
    render::Format,
};

/// A variant's name: of which blob, and which.
pub type Name = (BlobKey, VariantName);

/// What the ledger knows of a variant's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it was encoded as.
    pub format: Format,
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256 of it, in hexadecimal.
    pub sha256: String,
}

/// A variant that has landed, and is not over.
pub async fn get(
    conn: &mut Conn,
    blob: &BlobKey,
    name: &VariantName,
    now_micros: i64,
) -> Result<Option<Known>, DbError> {
    let row = optional!(
        conn,
        (String, i64, String),
        "SELECT content_type, bytes, sha256 FROM variants
         WHERE blob_key = $1 AND name = $2 AND landed AND deadline > $3",
        blob.as_str(),
        name.as_str(),
        now_micros
    )?;
    let Some((content_type, bytes, sha256)) = row else { return Ok(None) };
    Ok(Some(Known {
        format: parsed("content type", &content_type, Format::from_content_type)?,
        bytes: u64::try_from(bytes).unwrap_or_default(),
        sha256,
    }))
}

/// Announces a variant whose object is about to be written, by `deadline_micros` at the latest. False when it
/// must not be: the blob is not live any more, or somebody else is writing it.
pub async fn announce(
    conn: &mut Conn,
    blob: &BlobKey,
    name: &VariantName,
    known: &Known,
    now_micros: i64,
    deadline_micros: i64,
) -> Result<bool, DbError> {
    // Locked: whoever releases the blob sees this row, or we see that he has.
    let live = "UPDATE blobs SET key = key WHERE key = $1 AND state = 'live'";
    if execute!(conn, live, blob.as_str())? == 0 {
        return Ok(false);
    }
    let announced = execute!(
        conn,
        "INSERT INTO variants (blob_key, name, content_type, bytes, sha256, landed, deadline, created_at)
         VALUES ($1, $2, $3, $4, $5, FALSE, $6, $7)
         ON CONFLICT (blob_key, name) DO UPDATE SET
            content_type = excluded.content_type, bytes = excluded.bytes, sha256 = excluded.sha256,
            landed = FALSE, deadline = excluded.deadline, created_at = excluded.created_at
         WHERE variants.landed OR variants.deadline <= $7",
        blob.as_str(),
        name.as_str(),
        known.format.content_type(),
        i64::try_from(known.bytes).unwrap_or(i64::MAX),
        known.sha256.as_str(),
        deadline_micros,
        now_micros
    )?;
    Ok(announced == 1)
}

/// Says that an announced variant is there whole, and until when it is kept.
pub async fn land(
    conn: &mut Conn,
    blob: &BlobKey,
    name: &VariantName,
    announced_until_micros: i64,
    deadline_micros: i64,
) -> Result<(), DbError> {
    execute!(
        conn,
        "UPDATE variants SET landed = TRUE, deadline = $4
         WHERE blob_key = $1 AND name = $2 AND NOT landed AND deadline = $3",
        blob.as_str(),
        name.as_str(),
        announced_until_micros,
        deadline_micros
    )?;
    Ok(())
}

/// Variants that are over.
pub async fn due(conn: &mut Conn, now_micros: i64, limit: i64) -> Result<Vec<Name>, DbError> {
    let sql = "SELECT blob_key, name FROM variants WHERE deadline <= $1 ORDER BY deadline LIMIT $2";
    read(&all!(conn, (String, String), sql, now_micros, limit)?)
}

/// How many variants [`due`] has in all.
pub async fn count_due(conn: &mut Conn, now_micros: i64) -> Result<i64, DbError> {
    Ok(one!(conn, (i64,), "SELECT COUNT(*) FROM variants WHERE deadline <= $1", now_micros)?.0)
}

/// A blob's variants, in whatever state.
pub async fn of_blob(conn: &mut Conn, blob: &BlobKey, limit: i64) -> Result<Vec<Name>, DbError> {
    let sql = "SELECT blob_key, name FROM variants WHERE blob_key = $1 LIMIT $2";
    read(&all!(conn, (String, String), sql, blob.as_str(), limit)?)
}

/// Forgets a variant that is over, once its object is gone. False when somebody else did, or it is being
/// written anew.
pub async fn forget_due(conn: &mut Conn, (blob, name): &Name, now_micros: i64) -> Result<bool, DbError> {
    let sql = "DELETE FROM variants WHERE blob_key = $1 AND name = $2 AND deadline <= $3";
    Ok(execute!(conn, sql, blob.as_str(), name.as_str(), now_micros)? == 1)
}

/// Forgets a variant of a dying blob, likewise.
pub async fn forget_with_blob(conn: &mut Conn, (blob, name): &Name) -> Result<bool, DbError> {
    let sql = "DELETE FROM variants WHERE blob_key = $1 AND name = $2
                  AND EXISTS (SELECT 1 FROM blobs WHERE key = $1 AND state = 'dying')";
    Ok(execute!(conn, sql, blob.as_str(), name.as_str())? == 1)
}

pub(super) fn read(rows: &[(String, String)]) -> Result<Vec<Name>, DbError> {
    let name = |(blob, name): &(String, String)| {
        Ok((parsed("blob key", blob, BlobKey::parse)?, parsed("variant", name, VariantName::parse)?))
    };
    rows.iter().map(name).collect()
}
