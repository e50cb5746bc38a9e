//! `/v1/uploads`: uploads that go straight to the bucket, and what ends any upload.

use std::{collections::BTreeMap, time::Duration};

use http::{StatusCode, header};
use serde::{Deserialize, Serialize};

use super::{
    super::{Answer, Context, form, headers, sent::Sent},
    images::answer_image,
    json, no_content,
    whole::Whole,
};
use crate::{
    access::State,
    clock,
    db::{
        images,
        uploads::{self, Landing, Method, Promised, UploadRow},
        users,
    },
    error::Error,
    id::{BlobKey, ImageId, UserId},
    ingest::{Completed, IngestError},
    render::Format,
    store::Object,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUpload {
    content_type: String,
    size: Whole<u64>,
    filename: Option<String>,
    sha256: Option<String>,
    method: Option<Presigned>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Presigned {
    #[default]
    Post,
    Put,
}

#[derive(Serialize)]
struct Grant {
    image_id: ImageId,
    method: Method,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<BTreeMap<&'static str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<&'static str, String>>,
    expires_at: String,
}

/// `POST /v1/uploads`: reserves an image, and grants the right to send exactly the announced bytes to
/// one place in the bucket.
pub(in crate::web) async fn create(cx: &Context<'_>, sent: Sent<'_>) -> Answer {
    let owner = cx.user().await?;
    let new: NewUpload = cx.json(sent).await?;
    let settings = &cx.app.config.upload;
    let format = Format::from_content_type(&new.content_type).ok_or_else(|| {
        Error::unsupported_type(format!("`content_type`: must be {}.", Format::CONTENT_TYPES))
    })?;
    let Whole(size) = new.size;
    if size == 0 {
        return Err(Error::invalid_field("size", "must be at least 1"));
    }
    if size > settings.max_bytes {
        return Err(Error::too_large("The image", settings.max_bytes));
    }
    let method = new.method.unwrap_or_default();
    let sha256 = new.sha256.as_deref().map(sha256_of_hex).transpose()?;
    let key = BlobKey::random();
    let upload = UploadRow {
        image: ImageId::new(),
        owner,
        method: match method {
            Presigned::Post => Method::Post,
            Presigned::Put => Method::Put,
        },
        bytes: i64::try_from(size).unwrap_or(i64::MAX),
        granted_until_micros: clock::after(cx.now_micros, settings.grant_secs),
        landing: Landing::Incoming(Promised {
            key: key.clone(),
            format,
            sha256: sha256.map(|hash| crate::id::hex(&hash)),
        }),
    };
    let filename = new.filename.as_deref().map(form::filename);
    reserve(cx, &upload, filename.as_deref()).await?;

    let object = Object::incoming(&key, format.content_type());
    let expires_in = Duration::from_secs(settings.grant_secs);
    let store = &cx.app.store;
    let (url, fields, headers, expires_micros) = match method {
        Presigned::Post => {
            let grant = store.presign_post(&object, size, expires_in, cx.now_micros).await?;
            (grant.url, Some(grant.fields), None, grant.expires_micros)
        }
        Presigned::Put => {
            let grant = store.presign_put(&object, size, sha256, expires_in, cx.now_micros).await?;
            (grant.url, None, Some(grant.headers), grant.expires_micros)
        }
    };
    json(
        StatusCode::CREATED,
        &Grant {
            image_id: upload.image,
            method: upload.method,
            url,
            fields,
            headers,
            expires_at: clock::rfc3339(expires_micros),
        },
    )
}

/// Writes the reserved image and its upload, within the user's quota.
pub(super) async fn reserve(
    cx: &Context<'_>,
    upload: &UploadRow,
    filename: Option<&str>,
) -> Result<(), Error> {
    let deadline = clock::after(cx.now_micros, cx.app.config.upload.reserved_secs);
    let mut tx = cx.app.db.begin().await?;
    if !users::lock_alive(&mut tx, &upload.owner).await? {
        return Err(Error::erased());
    }
    let quota = cx.app.config.quota;
    let (open, promised) = images::open_uploads(&mut tx, &upload.owner).await?;
    if let Some(max) = quota.open_uploads
        && open >= max
    {
        return Err(Error::too_many_uploads(max));
    }
    // What has no room when all of it has come is not begun.
    let (images, bytes) = images::usage(&mut tx, &upload.owner).await?;
    if quota.is_exceeded(images + open + 1, bytes + promised + upload.bytes) {
        return Err(IngestError::QuotaExceeded.into());
    }
    images::reserve(&mut tx, upload.image, &upload.owner, filename, cx.now_micros, deadline).await?;
    uploads::insert(&mut tx, upload).await?;
    tx.commit().await?;
    Ok(())
}

/// `POST /v1/uploads/{image_id}/complete`: 201 the first time, 200 when repeated.
pub(in crate::web) async fn complete(cx: &Context<'_>, id: &str) -> Answer {
    let owner = cx.user().await?;
    let image = ImageId::parse(id).ok_or_else(Error::not_found)?;
    let status = finish(cx, image, &owner).await?;
    let mut response = answer_image(cx, status, image).await?;
    headers::insert(response.headers_mut(), header::LOCATION, &format!("/v1/images/{image}"));
    Ok(response)
}

/// Completes an upload of the owner's, whatever has become of it meanwhile.
pub(super) async fn finish(cx: &Context<'_>, image: ImageId, owner: &UserId) -> Result<StatusCode, Error> {
    let mut conn = cx.app.db.read().await?;
    let standing = images::standing(&mut conn, image, owner).await?;
    let upload = uploads::get(&mut conn, image, owner).await?;
    drop(conn);
    match (standing, upload) {
        (Some((State::Ready, _)), _) => Ok(StatusCode::OK),
        (Some((State::Rejected, _)), _) => Err(Error::upload_rejected()),
        (Some((State::Reserved | State::Uploaded, _)), Some(upload)) => {
            let completed = cx.app.ingest.complete(&upload).await;
            if matches!(completed, Ok(Completed::Now)) {
                return Ok(StatusCode::CREATED);
            }
            // Whoever was faster has removed what lay there: what did he make of it?
            match images::standing(&mut cx.app.db.read().await?, image, owner).await? {
                Some((State::Ready, _)) => Ok(StatusCode::OK),
                // He was refused, as this call would have been.
                Some((State::Rejected, _))
                    if matches!(completed, Ok(Completed::Otherwise) | Err(IngestError::Missing)) =>
                {
                    Err(Error::upload_rejected())
                }
                // What went wrong was this call's own doing, or nobody's.
                _ => Err(completed.map_or_else(Error::from, |_| Error::not_found())),
            }
        }
        _ => Err(Error::not_found()),
    }
}

/// `DELETE /v1/uploads/{image_id}`: gives an unfinished upload up.
pub(in crate::web) async fn cancel(cx: &Context<'_>, id: &str) -> Answer {
    let owner = cx.user().await?;
    let image = ImageId::parse(id).ok_or_else(Error::not_found)?;
    let upload = uploads::get(&mut cx.app.db.read().await?, image, &owner).await?;
    give_up(cx, &upload.ok_or_else(Error::not_found)?).await
}

/// Ends an upload that is not finished, and removes what has come.
pub(super) async fn give_up(cx: &Context<'_>, upload: &UploadRow) -> Answer {
    let mut tx = cx.app.db.begin().await?;
    let ended = images::set_failed(&mut tx, upload.image, State::Deleted).await?;
    tx.commit().await?;
    if !ended {
        return Err(Error::not_found());
    }
    // A grant lives on until it expires; the sweeper clears the place once more after that.
    if let Err(error) = cx.app.sweeper.clear(upload, cx.now_micros).await {
        tracing::warn!(image = %upload.image, "a cancelled upload is left to the sweeper: {error}");
    }
    Ok(no_content())
}

fn sha256_of_hex(text: &str) -> Result<[u8; 32], Error> {
    crate::id::unhex(text)
        .ok_or_else(|| Error::invalid_field("sha256", "must be 64 hexadecimal digits in lower case"))
}
