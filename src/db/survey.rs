//! What the bucket should hold, as the ledger knows it, for reconciling the two.
//!
//! Pages come in the order of the primary keys. PostgreSQL sorts text by its locale; for keys, which
//! are hexadecimal, lower case and all of one length, that is the order of their bytes almost
//! everywhere (Danish and Norwegian put `aa` last). `COLLATE "C"` would say so in the query, but
//! SQLite does not know it and neither database could then use its index: whoever reads the pages
//! checks their order instead.

use super::{Conn, DbError, query::parsed, variants};
use crate::id::{BlobKey, ImageId, UserId, VariantName};

/// A key that objects in the bucket may bear.
#[derive(Clone, Debug)]
pub struct KnownKey {
    /// The key.
    pub key: BlobKey,
    /// Whether its objects must be there. Of others the objects may be on their way in or out.
    pub live: bool,
}

/// Every key under which a client's bytes may lie before they are verified: the one list of them, for
/// both questions below.
macro_rules! incoming_keys {
    ($rest:literal) => {
        concat!(
            "SELECT key, live FROM (
                SELECT incoming_key AS key, FALSE AS live FROM uploads WHERE incoming_key IS NOT NULL
                UNION ALL SELECT key, state = 'landed' FROM upload_chunks
             ) AS incoming WHERE ",
            $rest
        )
    };
}

/// The blobs whose keys come after `after` (empty for all), by key, at most `limit`.
pub async fn blobs(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<KnownKey>, DbError> {
    let rows = all!(
        conn,
        (String, String),
        "SELECT key, state FROM blobs WHERE key > $1 ORDER BY key LIMIT $2",
        after,
        limit
    )?;
    rows.iter().map(|(key, state)| known(key, state == "live")).collect()
}

/// The blobs of [`blobs`] that have so many masters or more. A master need not be there: it can be made
/// again.
pub async fn with_masters(
    conn: &mut Conn,
    after: &str,
    least: usize,
    limit: i64,
) -> Result<Vec<KnownKey>, DbError> {
    let rows = all!(
        conn,
        (String,),
        "SELECT key FROM blobs WHERE key > $1 AND masters LIKE $2 ORDER BY key LIMIT $3",
        after,
        has_masters(least),
        limit
    )?;
    rows.iter().map(|(key,)| known(key, false)).collect()
}

/// Whether there is a blob of this key, in whatever state, that has so many masters or more.
pub async fn has_master(conn: &mut Conn, key: &BlobKey, least: usize) -> Result<bool, DbError> {
    let sql = "SELECT key FROM blobs WHERE key = $1 AND masters LIKE $2";
    Ok(optional!(conn, (String,), sql, key.as_str(), has_masters(least))?.is_some())
}

/// A pattern of `blobs.masters`: a format, and a blank before each side.
fn has_masters(least: usize) -> String {
    "% ".repeat(least) + "%"
}

/// The variants that come after the one of this blob and name (both empty for all), by both, at most `limit`.
/// A variant need not be there either.
pub async fn variants(
    conn: &mut Conn,
    (blob, name): (&str, &str),
    limit: i64,
) -> Result<Vec<variants::Name>, DbError> {
    let rows = all!(
        conn,
        (String, String),
        "SELECT blob_key, name FROM variants WHERE (blob_key, name) > ($1, $2) ORDER BY blob_key, name LIMIT $3",
        blob,
        name,
        limit
    )?;
    variants::read(&rows)
}

/// Whether there is such a variant, in whatever state.
pub async fn is_variant(conn: &mut Conn, blob: &BlobKey, name: &VariantName) -> Result<bool, DbError> {
    let sql = "SELECT name FROM variants WHERE blob_key = $1 AND name = $2";
    Ok(optional!(conn, (String,), sql, blob.as_str(), name.as_str())?.is_some())
}

/// The keys of uploads under way that come after `after`, likewise.
pub async fn incoming(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<KnownKey>, DbError> {
    let sql = incoming_keys!("key > $1 ORDER BY key LIMIT $2");
    let rows = all!(conn, (String, bool), sql, after, limit)?;
    rows.iter().map(|(key, live)| known(key, *live)).collect()
}

/// Whether there is a blob of this key, in whatever state.
pub async fn is_blob(conn: &mut Conn, key: &BlobKey) -> Result<bool, DbError> {
    Ok(optional!(conn, (String,), "SELECT key FROM blobs WHERE key = $1", key.as_str())?.is_some())
}

/// Whether an upload under way has this key.
pub async fn is_incoming(conn: &mut Conn, key: &BlobKey) -> Result<bool, DbError> {
    Ok(optional!(conn, (String, bool), incoming_keys!("key = $1"), key.as_str())?.is_some())
}

/// Whose blob, or whose piece of an upload, this is, if its object must be there.
pub async fn live_owner(conn: &mut Conn, key: &BlobKey) -> Result<Option<UserId>, DbError> {
    let sql = "SELECT owner_id FROM blobs WHERE key = $1 AND state = 'live'
               UNION ALL SELECT u.owner_id FROM upload_chunks c JOIN uploads u ON u.image_id = c.image_id
               WHERE c.key = $1 AND c.state = 'landed'";
    let row = optional!(conn, (String,), sql, key.as_str())?;
    row.map(|(owner,)| parsed("user id", &owner, UserId::parse)).transpose()
}

/// The images that use a blob, or that a piece of an upload is for, oldest first, at most `limit`.
pub async fn images_using(conn: &mut Conn, key: &BlobKey, limit: i64) -> Result<Vec<ImageId>, DbError> {
    let sql = "SELECT id FROM images WHERE blob_key = $1
               UNION ALL SELECT image_id FROM upload_chunks WHERE key = $1 ORDER BY 1 LIMIT $2";
    let rows = all!(conn, (String,), sql, key.as_str(), limit)?;
    rows.iter().map(|(id,)| parsed("image id", id, ImageId::parse)).collect()
}

fn known(key: &str, live: bool) -> Result<KnownKey, DbError> {
    Ok(KnownKey { key: parsed("blob key", key, BlobKey::parse)?, live })
}
