//! Uploads that take more than one call: how their bytes come, and where they lie until they are verified.

use super::{Conn, DbError, query::parsed};
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
    /// Piece by piece through us, by the tus protocol.
    Tus,
}

spelled!(Method { Post = "post", Put = "put", Tus = "tus" });

/// An upload as the ledger knows it.
#[derive(Clone, Debug)]
pub struct UploadRow {
    /// The image that it will become.
    pub image: ImageId,
    /// Whose it is.
    pub owner: UserId,
    /// How the bytes come.
    pub method: Method,
    /// How many bytes were promised.
    pub bytes: i64,
    /// Presigned: until then the client can write under the incoming key. Resumable: how long a complete
    /// upload is remembered. In microseconds since the Unix epoch.
    pub granted_until_micros: i64,
    /// Where they lie before they are verified.
    pub landing: Landing,
}

/// Where the bytes of an upload lie before they are verified.
#[derive(Clone, Debug)]
pub enum Landing {
    /// Under one key, which the client himself writes.
    Incoming(Promised),
    /// In the chunks of the upload.
    Chunks {
        /// How many bytes have come.
        received: i64,
        /// The `Upload-Metadata` as it was sent.
        metadata: Option<String>,
    },
}

/// What a client may send straight to the bucket, and where.
#[derive(Clone, Debug)]
pub struct Promised {
    /// Names the object.
    pub key: BlobKey,
    /// What he promised it to be.
    pub format: Format,
    /// Its promised SHA-256, in hexadecimal.
    pub sha256: Option<String>,
}

/// Writes a new upload of which nothing has come yet; its image must be reserved.
pub async fn insert(conn: &mut Conn, upload: &UploadRow) -> Result<(), DbError> {
    let (incoming, metadata) = match &upload.landing {
        Landing::Incoming(incoming) => (Some(incoming), None),
        Landing::Chunks { metadata, .. } => (None, metadata.as_deref()),
    };
    execute!(
        conn,
        "INSERT INTO uploads (image_id, owner_id, method, incoming_key, content_type, bytes, sha256, granted_until,
                              metadata)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        upload.image.to_string(),
        upload.owner.as_str(),
        upload.method.as_str(),
        incoming.map(|incoming| incoming.key.as_str()),
        incoming.map(|incoming| incoming.format.content_type()),
        upload.bytes,
        incoming.and_then(|incoming| incoming.sha256.as_deref()),
        upload.granted_until_micros,
        metadata
    )?;
    Ok(())
}

type UploadTuple =
    (String, String, String, Option<String>, Option<String>, i64, Option<String>, i64, i64, Option<String>);

macro_rules! select_upload {
    ($($rest:expr),+) => {
        concat!(
            "SELECT image_id, owner_id, method, incoming_key, content_type, bytes, sha256, granted_until, received,
                    metadata
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
        "granted_until <= $1
         AND NOT EXISTS (SELECT 1 FROM images i WHERE i.id = image_id AND i.state IN ('reserved', 'uploaded'))
         AND NOT EXISTS (SELECT 1 FROM upload_chunks c WHERE c.image_id = uploads.image_id)"
    };
}

/// Uploads that are over, one way or the other, whose client cannot write any more, and of which no
/// chunk is left.
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
    let (
        image,
        owner,
        method,
        incoming,
        content_type,
        bytes,
        sha256,
        granted_until_micros,
        received,
        metadata,
    ) = row;
    let method = parsed("upload method", &method, Method::parse)?;
    let landing = match method {
        Method::Tus => Landing::Chunks { received, metadata },
        Method::Post | Method::Put => {
            let (key, content_type) = (incoming.unwrap_or_default(), content_type.unwrap_or_default());
            Landing::Incoming(Promised {
                key: parsed("blob key", &key, BlobKey::parse)?,
                format: parsed("content type", &content_type, Format::from_content_type)?,
                sha256,
            })
        }
    };
    Ok(UploadRow {
        image: parsed("image id", &image, ImageId::parse)?,
        owner: parsed("user id", &owner, UserId::parse)?,
        method,
        bytes,
        granted_until_micros,
        landing,
    })
}
