//! Images in the ledger: their life, their facts, and the one statement that keeps audiences true.

mod ended;

pub use self::ended::{delete, erase, expire};

use super::{
    AFTER_ALL_IDS, Change, Conn, DbError, chunks,
    outbox::{self, Reason},
    query::parsed,
    rules,
};
use crate::{
    access::State,
    id::{BlobKey, ImageId, UserId},
    render::Format,
};

/// An image's public description.
#[derive(Debug)]
pub struct ImageRow {
    /// Its id.
    pub id: ImageId,
    /// Whose it is.
    pub owner: UserId,
    /// Where it is in its life.
    pub state: State,
    /// The verified format.
    pub format: Format,
    /// The size of the uploaded file in bytes.
    pub bytes: i64,
    /// Width in pixels, upright.
    pub width: i64,
    /// Height in pixels, upright.
    pub height: i64,
    /// How many frames.
    pub frames: i64,
    /// A ThumbHash in base64; none of what came in before there were any.
    pub thumbhash: Option<String>,
    /// `#rrggbb`; none likewise, and of what is fully transparent.
    pub dominant_color: Option<String>,
    /// SHA-256 of the uploaded file, in hexadecimal.
    pub sha256: String,
    /// What the file was called.
    pub filename: Option<String>,
    /// How often it was narrowed, plus one.
    pub epoch: i64,
    /// When it is reclaimed, in microseconds since the Unix epoch.
    pub deadline_micros: Option<i64>,
    /// When it was uploaded, likewise.
    pub created_micros: i64,
}

/// Writes a new image that is ready: its blob is in use.
pub async fn insert_ready(
    conn: &mut Conn,
    image: ImageId,
    owner: &UserId,
    blob: &BlobKey,
    filename: Option<&str>,
    now_micros: i64,
    deadline_micros: i64,
) -> Result<(), DbError> {
    execute!(
        conn,
        "INSERT INTO images (id, owner_id, state, deadline, blob_key, filename, created_at)
         VALUES ($1, $2, 'ready', $3, $4, $5, $6)",
        image.to_string(),
        owner.as_str(),
        deadline_micros,
        blob.as_str(),
        filename,
        now_micros
    )?;
    Ok(())
}

/// Reserves an image whose bytes are still to come by an upload of its own.
pub async fn reserve(
    conn: &mut Conn,
    image: ImageId,
    owner: &UserId,
    filename: Option<&str>,
    now_micros: i64,
    deadline_micros: i64,
) -> Result<(), DbError> {
    execute!(
        conn,
        "INSERT INTO images (id, owner_id, state, deadline, filename, created_at)
         VALUES ($1, $2, 'reserved', $3, $4, $5)",
        image.to_string(),
        owner.as_str(),
        deadline_micros,
        filename,
        now_micros
    )?;
    Ok(())
}

/// The state of an image of the owner's, and its deadline in microseconds since the Unix epoch, for who
/// goes on with its upload.
pub async fn standing(
    conn: &mut Conn,
    image: ImageId,
    owner: &UserId,
) -> Result<Option<(State, Option<i64>)>, DbError> {
    let row = optional!(
        conn,
        (String, Option<i64>),
        "SELECT state, deadline FROM images WHERE id = $1 AND owner_id = $2",
        image.to_string(),
        owner.as_str()
    )?;
    row.map(|(state, deadline)| Ok((parsed("image state", &state, State::parse)?, deadline))).transpose()
}

/// How many ready images a user has, and how many bytes were uploaded for them.
pub async fn usage(conn: &mut Conn, owner: &UserId) -> Result<(i64, i64), DbError> {
    one!(
        conn,
        (i64, i64),
        "SELECT COUNT(*), CAST(COALESCE(SUM(b.bytes), 0) AS BIGINT)
         FROM images i JOIN blobs b ON b.key = i.blob_key WHERE i.owner_id = $1 AND i.state = 'ready'",
        owner.as_str()
    )
}

/// How many of a user's uploads were begun and not completed, and how many bytes they will have.
pub async fn open_uploads(conn: &mut Conn, owner: &UserId) -> Result<(i64, i64), DbError> {
    one!(
        conn,
        (i64, i64),
        "SELECT COUNT(*), CAST(COALESCE(SUM(u.bytes), 0) AS BIGINT) FROM images i JOIN uploads u ON u.image_id = i.id
         WHERE i.owner_id = $1 AND i.state IN ('reserved', 'uploaded')",
        owner.as_str()
    )
}

/// Whether an image is held.
pub async fn is_held(conn: &mut Conn, image: ImageId) -> Result<bool, DbError> {
    let row = optional!(conn, (bool,), "SELECT held FROM images WHERE id = $1", image.to_string())?;
    Ok(row.is_some_and(|(held,)| held))
}

/// What an image's file is called.
pub async fn filename(conn: &mut Conn, image: ImageId) -> Result<Option<String>, DbError> {
    let row =
        optional!(conn, (Option<String>,), "SELECT filename FROM images WHERE id = $1", image.to_string())?;
    Ok(row.and_then(|(filename,)| filename))
}

/// Says that a reserved image's bytes have come, and gives the time to verify them, once. False when it
/// is neither reserved nor uploaded, or its time ran out.
pub async fn set_uploaded(
    conn: &mut Conn,
    image: ImageId,
    now_micros: i64,
    deadline_micros: i64,
) -> Result<bool, DbError> {
    let touched = execute!(
        conn,
        "UPDATE images SET state = 'uploaded', deadline = CASE WHEN state = 'reserved' THEN $3 ELSE deadline END
         WHERE id = $1 AND state IN ('reserved', 'uploaded') AND deadline > $2",
        image.to_string(),
        now_micros,
        deadline_micros
    )?;
    Ok(touched == 1)
}

/// Makes an uploaded image ready with a blob that is in use. False when somebody else did, or its
/// time ran out.
pub async fn set_ready(
    conn: &mut Conn,
    image: ImageId,
    blob: &BlobKey,
    deadline_micros: i64,
) -> Result<bool, DbError> {
    let touched = execute!(
        conn,
        "UPDATE images SET state = 'ready', blob_key = $2, deadline = $3 WHERE id = $1 AND state = 'uploaded'",
        image.to_string(),
        blob.as_str(),
        deadline_micros
    )?;
    conn.changes(Change::Image(image));
    upload_is_over(conn, image, touched).await
}

/// Ends an image that never became ready and whose deadline has passed. False when it was completed
/// or given more time meanwhile.
pub async fn abandon(conn: &mut Conn, image: ImageId, now_micros: i64) -> Result<bool, DbError> {
    let touched = execute!(
        conn,
        "UPDATE images SET state = 'deleted', deadline = NULL
         WHERE id = $1 AND state IN ('reserved', 'uploaded') AND deadline <= $2",
        image.to_string(),
        now_micros
    )?;
    upload_is_over(conn, image, touched).await
}

/// Ends an image that never became ready: refused by ingest, or given up. False when there is none.
pub async fn set_failed(conn: &mut Conn, image: ImageId, state: State) -> Result<bool, DbError> {
    let touched = execute!(
        conn,
        "UPDATE images SET state = $2, deadline = NULL WHERE id = $1 AND state IN ('reserved', 'uploaded')",
        image.to_string(),
        state.as_str()
    )?;
    upload_is_over(conn, image, touched).await
}

/// What an upload left in chunks goes with the change that ends it. Whether there was one.
async fn upload_is_over(conn: &mut Conn, image: ImageId, touched: u64) -> Result<bool, DbError> {
    if touched == 1 {
        chunks::let_go_of_upload(conn, image).await?;
    }
    Ok(touched == 1)
}

/// The columns of [`ImageRow`].
type ImageTuple = (
    String,
    String,
    String,
    String,
    i64,
    i64,
    i64,
    i64,
    Option<String>,
    Option<String>,
    String,
    Option<String>,
    i64,
    Option<i64>,
    i64,
);

macro_rules! select_image {
    ($rest:literal) => {
        concat!(
            "SELECT i.id, i.owner_id, i.state, b.content_type, b.bytes, b.width, b.height, b.frames, b.thumbhash,
                    b.dominant_color, b.sha256, i.filename, i.epoch, i.deadline, i.created_at
             FROM images i JOIN blobs b ON b.key = i.blob_key WHERE ",
            $rest
        )
    };
}

/// An image's description.
pub async fn get(conn: &mut Conn, image: ImageId) -> Result<Option<ImageRow>, DbError> {
    optional!(conn, ImageTuple, select_image!("i.id = $1"), image.to_string())?.map(read_image).transpose()
}

/// A user's ready images, newest first, older than `before`.
pub async fn list(
    conn: &mut Conn,
    owner: &UserId,
    before: Option<ImageId>,
    limit: i64,
    now_micros: i64,
) -> Result<Vec<ImageRow>, DbError> {
    let rows = all!(
        conn,
        ImageTuple,
        select_image!(
            "i.owner_id = $1 AND i.id < $2 AND i.state = 'ready' AND (i.deadline IS NULL OR i.deadline > $4)
             ORDER BY i.id DESC LIMIT $3"
        ),
        owner.as_str(),
        before.map_or_else(|| AFTER_ALL_IDS.to_owned(), |id| id.to_string()),
        limit,
        now_micros
    )?;
    rows.into_iter().map(read_image).collect()
}

fn read_image(row: ImageTuple) -> Result<ImageRow, DbError> {
    let (
        id,
        owner,
        state,
        content_type,
        bytes,
        width,
        height,
        frames,
        thumbhash,
        dominant_color,
        sha256,
        filename,
        epoch,
        deadline_micros,
        created_micros,
    ) = row;
    Ok(ImageRow {
        id: parsed("image id", &id, ImageId::parse)?,
        owner: parsed("user id", &owner, UserId::parse)?,
        state: parsed("image state", &state, State::parse)?,
        format: parsed("content type", &content_type, Format::from_content_type)?,
        bytes,
        width,
        height,
        frames,
        thumbhash,
        dominant_color,
        sha256,
        filename,
        epoch,
        deadline_micros,
        created_micros,
    })
}

/// Locks an image that its owner may attach: ready and not past its deadline. False when there is no such.
///
/// The lock lasts for the transaction, so that nothing reclaims or narrows the image meanwhile.
pub async fn lock_attachable(
    conn: &mut Conn,
    image: ImageId,
    owner: &UserId,
    now_micros: i64,
) -> Result<bool, DbError> {
    let touched = execute!(
        conn,
        "UPDATE images SET state = state
         WHERE id = $1 AND owner_id = $2 AND state = 'ready' AND (deadline IS NULL OR deadline > $3)",
        image.to_string(),
        owner.as_str(),
        now_micros
    )?;
    Ok(touched == 1)
}

/// Locks an image before its uses change, whatever its state.
pub async fn lock(conn: &mut Conn, image: ImageId) -> Result<(), DbError> {
    execute!(conn, "UPDATE images SET state = state WHERE id = $1", image.to_string())?;
    Ok(())
}

/// Brings an image back in step with its uses, after any change to them and in the same transaction:
/// the audience is the widest use's; where it narrowed, the epoch steps and all links die; the last
/// use gone, the image gets a deadline; a use gained, it loses it.
///
/// The image must have been locked first, so that this reads what a racing change has committed.
pub async fn settle(conn: &mut Conn, image: ImageId, unattached_deadline_micros: i64) -> Result<(), DbError> {
    // SQLite tells nobody of the row as it was. It is locked, and so still the same below.
    let before = if outbox::is_any(conn) {
        optional!(conn, (i64,), "SELECT epoch FROM images WHERE id = $1", image.to_string())?
    } else {
        None
    };
    let after = optional!(
        conn,
        (i64,),
        "UPDATE images SET
            epoch = epoch + CASE WHEN now_is.audience < images.audience THEN 1 ELSE 0 END,
            audience = now_is.audience,
            deadline = CASE WHEN now_is.uses = 0 THEN COALESCE(images.deadline, $2) END
         FROM (
            SELECT COUNT(*) AS uses, COALESCE(MAX(audience), 0) AS audience FROM (
                SELECT CAST(CASE p.visibility WHEN 'public' THEN 2 WHEN 'followers' THEN 1 ELSE 0 END AS BIGINT)
                       AS audience
                FROM attachments a JOIN posts p ON p.id = a.post_id WHERE a.image_id = $1
                UNION ALL
                SELECT CAST(2 AS BIGINT) FROM users WHERE avatar_image_id = $1
            ) AS each_use
         ) AS now_is
         WHERE images.id = $1 AND images.state = 'ready'
         RETURNING epoch",
        image.to_string(),
        unattached_deadline_micros
    )?;
    if let (Some((before,)), Some((after,))) = (before, after)
        && after > before
    {
        outbox::narrowed(conn, image, after, Reason::Narrowed).await?;
    }
    conn.changes(Change::Image(image));
    Ok(())
}

/// Whether a ready image has no deadline, or one that is not before this time.
pub async fn is_kept_until(conn: &mut Conn, image: ImageId, micros: i64) -> Result<bool, DbError> {
    let row = optional!(
        conn,
        (i64,),
        "SELECT CAST(1 AS BIGINT) FROM images
         WHERE id = $1 AND state = 'ready' AND (deadline IS NULL OR deadline >= $2)",
        image.to_string(),
        micros
    )?;
    Ok(row.is_some())
}

/// Puts off the deadline of a ready image that nothing uses, if it is an earlier one.
pub async fn put_off(
    conn: &mut Conn,
    image: ImageId,
    now_micros: i64,
    deadline_micros: i64,
) -> Result<(), DbError> {
    let touched = execute!(
        conn,
        "UPDATE images SET deadline = $2 WHERE id = $1 AND state = 'ready' AND deadline > $3 AND deadline < $2",
        image.to_string(),
        deadline_micros,
        now_micros
    )?;
    if touched == 1 {
        conn.changes(Change::Image(image));
    }
    Ok(())
}

/// Images whose deadline has passed, with their states.
pub async fn due(conn: &mut Conn, now_micros: i64, limit: i64) -> Result<Vec<(ImageId, State)>, DbError> {
    let rows = all!(
        conn,
        (String, String),
        "SELECT id, state FROM images WHERE deadline <= $1 ORDER BY deadline LIMIT $2",
        now_micros,
        limit
    )?;
    rows.iter()
        .map(|(id, state)| {
            Ok((parsed("image id", id, ImageId::parse)?, parsed("image state", state, State::parse)?))
        })
        .collect()
}

/// How many images [`due`] has in all.
pub async fn count_due(conn: &mut Conn, now_micros: i64) -> Result<i64, DbError> {
    Ok(one!(conn, (i64,), "SELECT COUNT(*) FROM images WHERE deadline <= $1", now_micros)?.0)
}

/// Kills all outstanding links. False when there is no such image of the owner's.
pub async fn revoke(
    conn: &mut Conn,
    image: ImageId,
    owner: Option<&UserId>,
    now_micros: i64,
) -> Result<bool, DbError> {
    rules::keep(conn, image, now_micros).await?;
    let revoked = optional!(
        conn,
        (i64,),
        "UPDATE images SET epoch = epoch + 1
         WHERE id = $1 AND ($2 = '' OR owner_id = $2) AND state = 'ready' AND (deadline IS NULL OR deadline > $3)
         RETURNING epoch",
        image.to_string(),
        owner.map_or("", UserId::as_str),
        now_micros
    )?;
    let Some((epoch,)) = revoked else { return Ok(false) };
    outbox::narrowed(conn, image, epoch, Reason::Revoked).await?;
    conn.changes(Change::Image(image));
    Ok(true)
}

/// Holds an image back, or lets it go. Holding narrows, so it kills links; holding twice does so once.
pub async fn set_held(conn: &mut Conn, image: ImageId, held: bool, now_micros: i64) -> Result<bool, DbError> {
    rules::keep(conn, image, now_micros).await?;
    let narrowed = optional!(
        conn,
        (i64,),
        "UPDATE images SET epoch = epoch + 1, held = TRUE
         WHERE id = $1 AND $2 AND NOT held AND state = 'ready' AND (deadline IS NULL OR deadline > $3)
         RETURNING epoch",
        image.to_string(),
        held,
        now_micros
    )?;
    if let Some((epoch,)) = narrowed {
        outbox::narrowed(conn, image, epoch, Reason::Held).await?;
    }
    let touched = execute!(
        conn,
        "UPDATE images SET held = $2 WHERE id = $1 AND state = 'ready' AND (deadline IS NULL OR deadline > $3)",
        image.to_string(),
        held,
        now_micros
    )?;
    if touched == 1 {
        conn.changes(Change::Image(image));
    }
    Ok(touched == 1)
}
