//! Users who are being, or were, erased: the tombstone and the receipt.

use super::{Change, Conn, DbError, idempotency, imports, outbox};
use crate::id::{ErasureId, ImageId, UserId};

/// An erasure's receipt.
#[derive(Clone, Debug)]
pub struct ErasureRow {
    /// Its id.
    pub id: ErasureId,
    /// Who is erased.
    pub user: UserId,
    /// Whether everything is verified gone.
    pub done: bool,
    /// Originals that were found.
    pub originals: i64,
    /// Stored variants that were found.
    pub variants: i64,
    /// Uploads that were open.
    pub open_uploads: i64,
    /// Purges that edges were sent.
    pub edge_purges: i64,
    /// Objects that were looked for in the bucket after their removal, and not found.
    pub verified_gone: i64,
    /// When the last right of a client to write to the bucket ends, in microseconds since the Unix epoch.
    pub grants_until_micros: Option<i64>,
    /// When the erasure was asked for, likewise.
    pub requested_micros: i64,
    /// When everything was verified gone, likewise.
    pub done_micros: Option<i64>,
}

/// Begins to erase a user: from the commit on nobody sees his images, and his name is never used again.
/// The id of the erasure, which is the first one's when it is asked for again.
pub async fn begin(conn: &mut Conn, user: &UserId, now_micros: i64) -> Result<ErasureId, DbError> {
    execute!(
        conn,
        "INSERT INTO users (id, created_at, erased_at) VALUES ($1, $2, $2)
         ON CONFLICT (id) DO UPDATE SET
            erased_at = COALESCE(users.erased_at, $2), display_name = '', avatar_image_id = NULL",
        user.as_str(),
        now_micros
    )?;
    let begun = execute!(
        conn,
        "INSERT INTO erasures (id, user_id, state, requested_at, originals, variants, open_uploads, grants_until)
         VALUES ($1, $2, 'running', $3,
            (SELECT COUNT(*) FROM images WHERE owner_id = $2 AND state = 'ready'),
            (SELECT COUNT(*) FROM variants WHERE landed AND blob_key IN
                (SELECT key FROM blobs WHERE owner_id = $2)),
            (SELECT COUNT(*) FROM images WHERE owner_id = $2 AND state IN ('reserved', 'uploaded')),
            (SELECT MAX(granted_until) FROM uploads
             WHERE owner_id = $2 AND granted_until > $3 AND method <> 'tus'))
         ON CONFLICT (user_id) DO NOTHING",
        ErasureId::new().to_string(),
        user.as_str(),
        now_micros
    )?;
    if begun == 1 {
        // From here on edges may show none of his images, however long it takes to delete them.
        let purges = i64::try_from(outbox::erased(conn, user).await?).unwrap_or(i64::MAX);
        execute!(conn, "UPDATE erasures SET edge_purges = $2 WHERE user_id = $1", user.as_str(), purges)?;
    }
    // What is known of his images tells whose they are, and not that he is gone.
    conn.changes(Change::Everything);
    // A request of his that is under way finds its claim gone, and keeps no answer.
    idempotency::forget_user(conn, user).await?;
    // Nor does anything tell what his files were called.
    imports::forget_user(conn, user).await?;
    // Whom he followed he follows no more, from this commit on.
    execute!(conn, "DELETE FROM follows WHERE follower_id = $1 OR followee_id = $1", user.as_str())?;
    let (id,) = one!(conn, (String,), "SELECT id FROM erasures WHERE user_id = $1", user.as_str())?;
    ErasureId::parse(&id).ok_or(DbError::Unknown("erasure id", id))
}

type ErasureTuple = (String, String, String, i64, i64, i64, i64, i64, Option<i64>, i64, Option<i64>);

macro_rules! select_erasure {
    ($rest:literal) => {
        concat!(
            "SELECT id, user_id, state, originals, variants, open_uploads, edge_purges, verified_gone, grants_until,
                    requested_at, done_at FROM erasures WHERE ",
            $rest
        )
    };
}

/// A receipt.
pub async fn get(conn: &mut Conn, id: ErasureId) -> Result<Option<ErasureRow>, DbError> {
    optional!(conn, ErasureTuple, select_erasure!("id = $1"), id.to_string())?.map(read).transpose()
}

/// Erasures that are not done.
pub async fn running(conn: &mut Conn, limit: i64) -> Result<Vec<ErasureRow>, DbError> {
    let sql = select_erasure!("state = 'running' ORDER BY id LIMIT $1");
    all!(conn, ErasureTuple, sql, limit)?.into_iter().map(read).collect()
}

/// How many erasures are not done.
pub async fn count_running(conn: &mut Conn) -> Result<i64, DbError> {
    Ok(one!(conn, (i64,), "SELECT COUNT(*) FROM erasures WHERE state = 'running'")?.0)
}

/// Deletes what a user said, whom he knew, and what he called his files.
pub async fn forget_social(conn: &mut Conn, user: &UserId) -> Result<(), DbError> {
    let user = user.as_str();
    execute!(conn, "UPDATE images SET filename = NULL WHERE owner_id = $1", user)?;
    execute!(conn, "UPDATE uploads SET metadata = NULL WHERE owner_id = $1", user)?;
    execute!(
        conn,
        "DELETE FROM attachments WHERE post_id IN (SELECT id FROM posts WHERE author_id = $1)",
        user
    )?;
    execute!(conn, "DELETE FROM posts WHERE author_id = $1", user)?;
    execute!(conn, "DELETE FROM follows WHERE follower_id = $1 OR followee_id = $1", user)?;
    Ok(())
}

/// A user's images that are not deleted yet.
pub async fn images_left(conn: &mut Conn, user: &UserId, limit: i64) -> Result<Vec<ImageId>, DbError> {
    let rows = all!(
        conn,
        (String,),
        "SELECT id FROM images WHERE owner_id = $1 AND state IN ('reserved', 'uploaded', 'ready') LIMIT $2",
        user.as_str(),
        limit
    )?;
    rows.iter()
        .map(|(id,)| ImageId::parse(id).ok_or_else(|| DbError::Unknown("image id", id.clone())))
        .collect()
}

/// Whether a user has blobs, in whatever state.
pub async fn has_blobs(conn: &mut Conn, user: &UserId) -> Result<bool, DbError> {
    let row = optional!(
        conn,
        (i64,),
        "SELECT CAST(1 AS BIGINT) FROM blobs WHERE owner_id = $1 LIMIT 1",
        user.as_str()
    )?;
    Ok(row.is_some())
}

/// Adds to the count of objects that are verified gone.
pub async fn add_verified(conn: &mut Conn, user: &UserId, objects: i64) -> Result<(), DbError> {
    execute!(
        conn,
        "UPDATE erasures SET verified_gone = verified_gone + $2 WHERE user_id = $1",
        user.as_str(),
        objects
    )?;
    Ok(())
}

/// Closes an erasure: nothing is left.
pub async fn finish(conn: &mut Conn, id: ErasureId, now_micros: i64) -> Result<(), DbError> {
    execute!(
        conn,
        "UPDATE erasures SET state = 'done', done_at = $2 WHERE id = $1 AND state = 'running'",
        id.to_string(),
        now_micros
    )?;
    Ok(())
}

fn read(row: ErasureTuple) -> Result<ErasureRow, DbError> {
    let (
        id,
        user,
        state,
        originals,
        variants,
        open_uploads,
        edge_purges,
        verified_gone,
        grants,
        requested,
        done,
    ) = row;
    Ok(ErasureRow {
        id: ErasureId::parse(&id).ok_or(DbError::Unknown("erasure id", id))?,
        user: UserId::parse(&user).ok_or(DbError::Unknown("user id", user))?,
        done: state == "done",
        originals,
        variants,
        open_uploads,
        edge_purges,
        verified_gone,
        grants_until_micros: grants,
        requested_micros: requested,
        done_micros: done,
    })
}
