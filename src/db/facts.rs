//! What a decision about an image needs, in one query.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::{Conn, DbError, images::parsed};
use crate::{
    access::{Audience, Facts, Published, State},
    id::{BlobKey, ImageId, UserId},
    render::{Format, Masters, Size},
};

/// The columns of [`Facts`], then whether the viewer is among those who may see it.
type FactsTuple =
    (String, String, String, i64, bool, bool, i64, Option<i64>, String, String, bool, i64, i64, String, bool);

/// What a decision about one image needs: its facts, and whether `viewer` is among those who may see it if it
/// is not for everybody.
pub async fn of_image(
    conn: &mut Conn,
    image: ImageId,
    viewer: Option<&UserId>,
) -> Result<Option<(Facts, bool)>, DbError> {
    let viewer = viewer.map_or("", UserId::as_str);
    let sql = conn.rules.one.clone();
    let row = optional!(conn, FactsTuple, AssertSqlSafe(sql), image.to_string(), viewer)?;
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
    let sql = conn.rules.many.clone();
    let rows = all!(conn, FactsTuple, AssertSqlSafe(sql), ids.as_str(), viewer)?;
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
