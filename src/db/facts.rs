//! What a decision about an image needs, in one query.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, ColumnIndex, Decode, FromRow, Row, Type};

use super::{Conn, DbError, query::parsed};
use crate::{
    access::{Audience, Contents, Facts, Files, Published, State},
    id::{BlobKey, ImageId, UserId, unhex},
    render::{Format, Masters, Size},
};

/// The columns of [`Facts`], in the order of [`Rules`](super::Rules), and whether the viewer is among those who
/// may see it. There are more than sqlx takes in a tuple.
#[expect(clippy::struct_excessive_bools, reason = "each is a column of its own")]
struct FactsRow {
    image: String,
    owner: String,
    state: String,
    /// None of an app's version that is none.
    epoch: Option<i64>,
    held: bool,
    owner_erased: bool,
    audience: i64,
    deadline_micros: Option<i64>,
    blob: String,
    content_type: String,
    moves: bool,
    width: i64,
    height: i64,
    masters: String,
    bytes: i64,
    sha256: String,
    original_bytes: Option<i64>,
    original_sha256: Option<String>,
    is_allowed: bool,
}

impl<'r, R: Row> FromRow<'r, R> for FactsRow
where
    usize: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    bool: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            image: row.try_get(0)?,
            owner: row.try_get(1)?,
            state: row.try_get(2)?,
            epoch: row.try_get(3)?,
            held: row.try_get(4)?,
            owner_erased: row.try_get(5)?,
            audience: row.try_get(6)?,
            deadline_micros: row.try_get(7)?,
            blob: row.try_get(8)?,
            content_type: row.try_get(9)?,
            moves: row.try_get(10)?,
            width: row.try_get(11)?,
            height: row.try_get(12)?,
            masters: row.try_get(13)?,
            bytes: row.try_get(14)?,
            sha256: row.try_get(15)?,
            original_bytes: row.try_get(16)?,
            original_sha256: row.try_get(17)?,
            is_allowed: row.try_get(18)?,
        })
    }
}

/// What a decision about one image needs: its facts, and whether `viewer` is among those who may see it if it
/// is not for everybody.
pub async fn of_image(
    conn: &mut Conn,
    image: ImageId,
    viewer: Option<&UserId>,
) -> Result<Option<(Facts, bool)>, DbError> {
    let viewer = viewer.map_or("", UserId::as_str);
    let sql = conn.rules.one.clone();
    let row = optional!(conn, FactsRow, AssertSqlSafe(sql), image.to_string(), viewer)?;
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
    let rows = all!(conn, FactsRow, AssertSqlSafe(sql), ids.as_str(), viewer)?;
    rows.into_iter().map(read_facts).collect()
}

fn read_facts(row: FactsRow) -> Result<(Facts, bool), DbError> {
    let side = |side: i64| u32::try_from(side).map_err(|_| DbError::Unknown("side", side.to_string()));
    let original = match (row.original_bytes, row.original_sha256) {
        (Some(bytes), Some(sha256)) => Some(contents(bytes, &sha256)?),
        _ => None,
    };
    let files = Files {
        raw: contents(row.bytes, &row.sha256)?,
        original,
        format: parsed("content type", &row.content_type, Format::from_content_type)?,
        moves: row.moves,
        size: Size { width: side(row.width)?, height: side(row.height)? },
    };
    let blob = parsed("blob key", &row.blob, BlobKey::parse)?;
    let facts = Facts {
        image: parsed("image id", &row.image, ImageId::parse)?,
        owner: parsed("user id", &row.owner, UserId::parse)?,
        state: parsed("image state", &row.state, State::parse)?,
        epoch: row.epoch.ok_or_else(|| DbError::Version(row.image.clone()))?,
        held: row.held,
        owner_erased: row.owner_erased,
        audience: Audience::from_rank(row.audience),
        deadline_micros: row.deadline_micros,
        published: Arc::new(Published::new(blob, files, parsed("masters", &row.masters, Masters::parse)?)),
    };
    Ok((facts, row.is_allowed))
}

fn contents(bytes: i64, sha256: &str) -> Result<Contents, DbError> {
    let bytes = u64::try_from(bytes).map_err(|_| DbError::Unknown("length", bytes.to_string()))?;
    Ok(Contents { bytes, sha256: parsed("hash", sha256, unhex)? })
}
