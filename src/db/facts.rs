//! What a decision about an image needs, in one query.

use std::sync::Arc;

use super::{Conn, DbError, images::parsed};
use crate::{
    access::{Audience, Facts, Published, State},
    id::{BlobKey, ImageId, UserId},
    render::{Format, Masters, Size},
};

/// The columns of [`Facts`], then whether the viewer follows the owner.
type FactsTuple =
    (String, String, String, i64, bool, bool, i64, Option<i64>, String, String, bool, i64, i64, String, bool);

macro_rules! select_facts {
    ($where:literal) => {
        concat!(
            "SELECT i.id, i.owner_id, i.state, i.epoch, i.held, u.erased_at IS NOT NULL, i.audience, i.deadline,
                    i.blob_key, b.content_type, b.frames > 1, b.width, b.height, b.masters,
                    EXISTS (SELECT 1 FROM follows f WHERE f.follower_id = $2 AND f.followee_id = i.owner_id)
             FROM images i JOIN users u ON u.id = i.owner_id JOIN blobs b ON b.key = i.blob_key WHERE ",
            $where
        )
    };
}

/// What a decision about one image needs: its facts, and whether `viewer` follows its owner.
pub async fn of_image(
    conn: &mut Conn,
    image: ImageId,
    viewer: Option<&UserId>,
) -> Result<Option<(Facts, bool)>, DbError> {
    let viewer = viewer.map_or("", UserId::as_str);
    let row = optional!(conn, FactsTuple, select_facts!("i.id = $1"), image.to_string(), viewer)?;
    row.map(read_facts).transpose()
}

/// [`of_image`] of many images in one round trip; unknown ids are left out.
pub async fn of_images(
    conn: &mut Conn,
    images: &[ImageId],
    viewer: Option<&UserId>,
) -> Result<Vec<(Facts, bool)>, DbError> {
    let viewer = viewer.map_or("", UserId::as_str);
    let ids = serde_json::json!(images).to_string();
    // The one place where the two databases are told a list in their own words.
    let sql = if conn.is_sqlite() {
        select_facts!("i.id IN (SELECT value FROM json_each($1))")
    } else {
        select_facts!("i.id IN (SELECT value FROM json_array_elements_text(CAST($1 AS json)))")
    };
    let rows = all!(conn, FactsTuple, sql, ids.as_str(), viewer)?;
    rows.into_iter().map(read_facts).collect()
}

fn read_facts(row: FactsTuple) -> Result<(Facts, bool), DbError> {
    let (
        id,
        owner,
        state,
        epoch,
        held,
        owner_erased,
        audience,
        deadline_micros,
        blob,
        content_type,
        moves,
        width,
        height,
        masters,
        follows,
    ) = row;
    let side = |side: i64| u32::try_from(side).map_err(|_| DbError::Unknown("side", side.to_string()));
    let facts = Facts {
        image: parsed("image id", &id, ImageId::parse)?,
        owner: parsed("user id", &owner, UserId::parse)?,
        state: parsed("image state", &state, State::parse)?,
        epoch,
        held,
        owner_erased,
        audience: Audience::from_rank(audience),
        deadline_micros,
        published: Arc::new(Published::new(
            parsed("blob key", &blob, BlobKey::parse)?,
            parsed("content type", &content_type, Format::from_content_type)?,
            moves,
            Size { width: side(width)?, height: side(height)? },
            parsed("masters", &masters, Masters::parse)?,
        )),
    };
    Ok((facts, follows))
}
