//! How a ready image ends: deleted, erased with its owner, or expired; each with its links, uses and purges.

use super::{
    super::{
        Change, Conn, DbError, blobs,
        imports::{self, End},
        outbox::{self, Reason},
        query::parsed,
        rules,
    },
    lock,
};
use crate::id::{BlobKey, ImageId, UserId};

/// Ends a ready image and gives its blob's key and its epoch; what its callers share is everything but whose, and
/// when.
macro_rules! delete_where {
    ($where:literal) => {
        concat!(
            "UPDATE images SET state = 'deleted', epoch = epoch + 1, audience = 0, deadline = NULL WHERE ",
            $where,
            " RETURNING blob_key, epoch"
        )
    };
}

type DeletedTuple = (String, i64);

/// Deletes an image: detached everywhere, its links dead, its blob let go. `owner` limits it to that
/// user's own. The blob that was let go; `None` when there was nothing to delete.
pub async fn delete(
    conn: &mut Conn,
    image: ImageId,
    owner: Option<&UserId>,
    now_micros: i64,
) -> Result<Option<BlobKey>, DbError> {
    rules::keep(conn, image, now_micros).await?;
    let row = optional!(
        conn,
        DeletedTuple,
        delete_where!(
            "id = $1 AND ($2 = '' OR owner_id = $2) AND state = 'ready' AND (deadline IS NULL OR deadline > $3)"
        ),
        image.to_string(),
        owner.map_or("", UserId::as_str),
        now_micros
    )?;
    detach_deleted(conn, image, row, Some(Reason::Deleted), End::Deleted, now_micros).await
}

/// Deletes a ready image whose owner is being erased.
pub async fn erase(conn: &mut Conn, image: ImageId, now_micros: i64) -> Result<Option<BlobKey>, DbError> {
    let row = optional!(conn, DeletedTuple, delete_where!("id = $1 AND state = 'ready'"), image.to_string())?;
    // Its purges were written when the erasure began: nobody has seen it since.
    detach_deleted(conn, image, row, None, End::Deleted, now_micros).await
}

/// Deletes a ready image whose deadline has passed; it has no uses.
pub async fn expire(conn: &mut Conn, image: ImageId, now_micros: i64) -> Result<Option<BlobKey>, DbError> {
    // The app may have come to use it after its deadline was last put off.
    lock(conn, image).await?;
    if rules::is_used(conn, image).await? {
        return Ok(None);
    }
    let row = optional!(
        conn,
        DeletedTuple,
        delete_where!("id = $1 AND state = 'ready' AND deadline <= $2"),
        image.to_string(),
        now_micros
    )?;
    detach_deleted(conn, image, row, Some(Reason::Expired), End::Expired, now_micros).await
}

async fn detach_deleted(
    conn: &mut Conn,
    image: ImageId,
    deleted: Option<DeletedTuple>,
    to_purge: Option<Reason>,
    end: End,
    now_micros: i64,
) -> Result<Option<BlobKey>, DbError> {
    let Some((blob, epoch)) = deleted else { return Ok(None) };
    if let Some(reason) = to_purge {
        outbox::narrowed(conn, image, epoch, reason).await?;
    }
    conn.changes(Change::Image(image));
    let blob = parsed("blob key", &blob, BlobKey::parse)?;
    execute!(conn, "DELETE FROM attachments WHERE image_id = $1", image.to_string())?;
    execute!(conn, "UPDATE users SET avatar_image_id = NULL WHERE avatar_image_id = $1", image.to_string())?;
    execute!(conn, "UPDATE images SET blob_key = NULL WHERE id = $1", image.to_string())?;
    imports::forget_image(conn, image, end).await?;
    blobs::let_go(conn, &blob, now_micros).await?;
    Ok(Some(blob))
}
