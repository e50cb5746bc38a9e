//! Uploads whose bytes go straight to the bucket: where they land, and until when.

use super::{Conn, DbError};
use crate::{
    id::{BlobKey, ImageId, UserId},
    render::Format,
    spelled::spelled,
};

/// How the bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A presigned POST policy, straight to the bucket.
    Post,
    /// A presigned PUT, straight to the bucket.
    Put,
}

spelled!(Method { Post = "post", Put = "put" });

/// An upload as the ledger knows it.
#[derive(Clone, Debug)]
pub struct UploadRow {
    /// The image that it will become.
    pub image: ImageId,
    /// Whose it is.
    pub owner: UserId,
    /// How the bytes come.
    pub method: Method,
    /// Where they land before they are verified.
    pub incoming: BlobKey,
    /// What the client promised them to be.
    pub format: Format,
    /// How many bytes were promised.
    pub bytes: i64,
    /// Their promised SHA-256, in hexadecimal.
    pub sha256: Option<String>,
    /// Until then the client can write under the incoming key, in microseconds since the Unix epoch.
    pub granted_until_micros: i64,
}

type UploadTuple = (String, String, String, String, String, i64, Option<String>, i64);

/// Writes a new upload; its image must be reserved.
pub async fn insert(conn: &mut Conn, upload: &UploadRow) -> Result<(), DbError> {
    execute!(
        conn,
        "INSERT INTO uploads (image_id, owner_id, method, incoming_key, content_type, bytes, sha256, granted_until)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        upload.image.to_string(),
        upload.owner.as_str(),
        upload.method.as_str(),
        upload.incoming.as_str(),
        upload.format.content_type(),
        upload.bytes,
        upload.sha256.as_deref(),
        upload.granted_until_micros
    )?;
    Ok(())
}

macro_rules! select_upload {
    ($($rest:expr),+) => {
        concat!(
            "SELECT image_id, owner_id, method, incoming_key, content_type, bytes, sha256, granted_until
             FROM uploads WHERE ",
            $($rest),+
        )
    };
}

/// The owner's upload of an image.
pub async fn get(conn: &mut Conn, image: ImageId, owner: &UserId) -> Result<Option<UploadRow>, DbError> {
    let row = optional!(
        conn,
        UploadTuple,
        select_upload!("image_id = $1 AND owner_id = $2"),
        image.to_string(),
        owner.as_str()
    )?;
    row.map(read).transpose()
}

/// What makes an upload due.
macro_rules! is_due {
    () => {
        "granted_until <= $1 AND NOT EXISTS (
            SELECT 1 FROM images i WHERE i.id = image_id AND i.state IN ('reserved', 'uploaded'))"
    };
}

/// Uploads that are over, one way or the other, and whose client cannot write any more.
pub async fn due(conn: &mut Conn, now_micros: i64, limit: i64) -> Result<Vec<UploadRow>, DbError> {
    let sql = select_upload!(is_due!(), " ORDER BY granted_until LIMIT $2");
    all!(conn, UploadTuple, sql, now_micros, limit)?.into_iter().map(read).collect()
}

/// How many uploads [`due`] has in all.
pub async fn count_due(conn: &mut Conn, now_micros: i64) -> Result<i64, DbError> {
    Ok(one!(conn, (i64,), concat!("SELECT COUNT(*) FROM uploads WHERE ", is_due!()), now_micros)?.0)
}

/// All of a user's uploads, for erasing them.
pub async fn of_user(conn: &mut Conn, owner: &UserId, limit: i64) -> Result<Vec<UploadRow>, DbError> {
    let sql = select_upload!("owner_id = $1 LIMIT $2");
    all!(conn, UploadTuple, sql, owner.as_str(), limit)?.into_iter().map(read).collect()
}

/// Forgets an upload, once nothing is left of it in the bucket and nobody can write there.
pub async fn forget(conn: &mut Conn, image: ImageId) -> Result<(), DbError> {
    execute!(conn, "DELETE FROM uploads WHERE image_id = $1", image.to_string())?;
    Ok(())
}

fn read(row: UploadTuple) -> Result<UploadRow, DbError> {
    let (image, owner, method, incoming, content_type, bytes, sha256, granted_until_micros) = row;
    let unknown = |what, text: &str| DbError::Unknown(what, text.to_owned());
    Ok(UploadRow {
        image: ImageId::parse(&image).ok_or_else(|| unknown("image id", &image))?,
        owner: UserId::parse(&owner).ok_or_else(|| unknown("user id", &owner))?,
        method: Method::parse(&method).ok_or_else(|| unknown("upload method", &method))?,
        incoming: BlobKey::parse(&incoming).ok_or_else(|| unknown("blob key", &incoming))?,
        format: Format::from_content_type(&content_type)
            .ok_or_else(|| unknown("content type", &content_type))?,
        bytes,
        sha256,
        granted_until_micros,
    })
}
