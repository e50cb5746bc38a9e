//! `/v1/tus`: resumable uploads by the tus protocol, so that its clients work as they are.
//!
//! The core and the extensions creation, expiration, checksum and termination of
//! <https://tus.io/protocols/resumable-upload>. An upload's URL ends in the id of its image.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;

use super::{
    super::{
        Answer, Body, Context, body, form, full, headers,
        paced::Paced,
        sent::Sent,
        tus::{
            self, TUS_CHECKSUM_ALGORITHM, TUS_EXTENSION, TUS_MAX_SIZE, TUS_VERSION, UPLOAD_EXPIRES,
            UPLOAD_LENGTH, UPLOAD_METADATA, UPLOAD_OFFSET,
        },
    },
    no_content, uploads,
};
use crate::{
    access::State,
    clock,
    db::{
        images,
        uploads::{self as ledger, Landing, Method, UploadRow},
    },
    error::Error,
    id::{ImageId, UserId},
    ingest::{Checksum, IngestError},
};

/// An upload that is there for who asks.
struct Found {
    upload: UploadRow,
    /// How many bytes have come.
    received: i64,
    metadata: Option<String>,
    /// Whether it has become an image.
    is_ready: bool,
    /// When it ends unless it goes on, in microseconds since the Unix epoch.
    deadline_micros: Option<i64>,
}

impl Found {
    /// Whether all bytes have come.
    fn is_whole(&self) -> bool {
        self.received == self.upload.bytes
    }
}

/// `OPTIONS`: what is spoken here. Nobody has to sign in for it.
pub(in crate::web) fn options(cx: &Context<'_>) -> Response<Body> {
    let mut response = no_content();
    let out = response.headers_mut();
    out.insert(TUS_VERSION, HeaderValue::from_static(tus::VERSION));
    out.insert(TUS_EXTENSION, HeaderValue::from_static(tus::EXTENSIONS));
    out.insert(TUS_MAX_SIZE, HeaderValue::from(cx.app.config.upload.max_bytes));
    out.insert(TUS_CHECKSUM_ALGORITHM, HeaderValue::from_static(Checksum::ALGORITHMS));
    response
}

/// `POST /v1/tus`: reserves an image for as many bytes as are announced.
pub(in crate::web) async fn create(cx: &Context<'_>) -> Answer {
    tus::require_version(cx.headers)?;
    let owner = cx.user().await?;
    tus::refuse_other_extensions(cx.headers)?;
    if body::media_type(cx.headers).as_deref() == Some(tus::BODY_TYPE) {
        let rule = "bytes are not taken with the POST; send them with PATCH";
        return Err(Error::invalid_field("Content-Type", rule));
    }
    let bytes = tus::number(cx.headers, &UPLOAD_LENGTH, "Upload-Length")?;
    if bytes == 0 {
        return Err(Error::invalid_field("Upload-Length", "must be at least 1"));
    }
    let settings = &cx.app.config.upload;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes > settings.max_bytes) {
        return Err(Error::too_large("The image", settings.max_bytes));
    }
    let (metadata, filename) = tus::metadata(cx.headers)?;
    let deadline = clock::after(cx.now_micros, settings.reserved_secs);
    let upload = UploadRow {
        image: ImageId::new(),
        owner,
        method: Method::Tus,
        bytes,
        granted_until_micros: deadline,
        landing: Landing::Chunks { received: 0, metadata: metadata.map(str::to_owned) },
    };
    let filename = filename.as_deref().map(form::filename);
    uploads::reserve(cx, &upload, filename.as_deref()).await?;

    let mut response = no_content();
    *response.status_mut() = StatusCode::CREATED;
    let out = response.headers_mut();
    headers::insert(out, header::LOCATION, &format!("/v1/tus/{}", upload.image));
    headers::insert(out, UPLOAD_EXPIRES, &clock::http_date(deadline));
    Ok(response)
}

/// `HEAD /v1/tus/{id}`: how far the upload has come.
///
/// A client who reads here that all bytes have come takes his upload to be done. So it is made done
/// first, in case it was the program that stopped before. When that cannot be done now the answer is
/// 423, the one at which clients keep the upload and ask again; at any other they begin from nothing.
pub(in crate::web) async fn head(cx: &Context<'_>, id: &str) -> Answer {
    tus::require_version(cx.headers)?;
    let owner = cx.user().await?;
    let found = completed(cx, find(cx, id, &owner).await?).await.map_err(Error::locked_if_passing)?;
    let mut response = Response::new(full(bytes::Bytes::new()));
    let out = response.headers_mut();
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    out.insert(UPLOAD_LENGTH, HeaderValue::from(found.upload.bytes));
    if let Some(metadata) = &found.metadata {
        headers::insert(out, UPLOAD_METADATA, metadata);
    }
    say_progress(out, &found);
    Ok(response)
}

/// `PATCH /v1/tus/{id}`: the next bytes, and with the last of them the image.
///
/// What came of a body that breaks off is kept, unless a checksum was promised for all of it.
pub(in crate::web) async fn patch(cx: &Context<'_>, id: &str, sent: Sent<'_>) -> Answer {
    tus::require_version(cx.headers)?;
    let owner = cx.user().await?;
    if body::media_type(cx.headers).as_deref() != Some(tus::BODY_TYPE) {
        return Err(Error::unsupported_type(format!(
            "Send the bytes with Content-Type: {}.",
            tus::BODY_TYPE
        )));
    }
    let offset = tus::number(cx.headers, &UPLOAD_OFFSET, "Upload-Offset")?;
    let checksum = tus::checksum(cx.headers)?;
    let found = find(cx, id, &owner).await?;
    if offset != found.received {
        return Err(IngestError::OutOfStep.into());
    }
    let sent = sent.coming()?;
    if i64::try_from(sent.size_hint().lower()).unwrap_or(i64::MAX) > found.upload.bytes - offset {
        return Err(IngestError::TooLong.into());
    }
    match receive(cx, &found.upload, offset, checksum, sent).await? {
        // It may be over meanwhile, which is then what is said.
        Err(IngestError::OutOfStep) => {
            find(cx, id, &owner).await?;
            return Err(IngestError::OutOfStep.into());
        }
        received => received?,
    }
    let found = completed(cx, find(cx, id, &owner).await?).await?;
    let mut response = no_content();
    say_progress(response.headers_mut(), &found);
    Ok(response)
}

/// `DELETE /v1/tus/{id}`: gives an unfinished upload up. One that has become an image is over; its image
/// is deleted as any other.
pub(in crate::web) async fn terminate(cx: &Context<'_>, id: &str) -> Answer {
    tus::require_version(cx.headers)?;
    let owner = cx.user().await?;
    uploads::give_up(cx, &find(cx, id, &owner).await?.upload).await
}

/// A resumable upload of the owner's. One that ended without an image is not there any more, except
/// that whoever sent what was refused is told so again.
async fn find(cx: &Context<'_>, id: &str, owner: &UserId) -> Result<Found, Error> {
    let image = ImageId::parse(id).ok_or_else(Error::not_found)?;
    let mut conn = cx.app.db.read().await?;
    // In this order: of an upload that is completed meanwhile, all bytes are seen to have come.
    let standing = images::standing(&mut conn, image, owner).await?;
    let upload = ledger::get(&mut conn, image, owner).await?;
    drop(conn);
    let (Some(upload), Some((state, deadline_micros))) = (upload, standing) else {
        return Err(Error::not_found());
    };
    let Landing::Chunks { received, metadata } = upload.landing.clone() else {
        return Err(Error::not_found());
    };
    if state == State::Rejected {
        return Err(Error::upload_rejected());
    }
    let is_past = deadline_micros.is_some_and(|deadline| deadline <= clock::now_micros());
    if state == State::Deleted || is_past {
        return Err(Error::not_found());
    }
    Ok(Found { upload, received, metadata, is_ready: state == State::Ready, deadline_micros })
}

/// An upload of which all bytes have come, made an image; any other as it is.
async fn completed(cx: &Context<'_>, mut found: Found) -> Result<Found, Error> {
    if found.is_whole() && !found.is_ready {
        uploads::finish(cx, found.upload.image, &found.upload.owner).await?;
        found.is_ready = true;
    }
    Ok(found)
}

/// Hands a body on as it comes. The outer error is the body's own.
async fn receive(
    cx: &Context<'_>,
    upload: &UploadRow,
    offset: i64,
    checksum: Option<Checksum>,
    sent: &mut Paced,
) -> Result<Result<(), IngestError>, Error> {
    let receiving = cx.app.ingest.receive(upload, offset, checksum).await?;
    loop {
        match body::next(sent).await {
            Ok(Some(bytes)) => {
                if !receiving.take(bytes).await {
                    return Ok(receiving.finish().await);
                }
            }
            Ok(None) => return Ok(receiving.finish().await),
            Err(broken) => {
                // Whatever becomes of what has come: the client learns it by asking.
                if let Err(error) = receiving.break_off().await {
                    tracing::debug!("of a body that broke off nothing more is kept: {error}");
                }
                return Err(broken);
            }
        }
    }
}

/// How far an upload has come, until when it may go on, and what it has become.
fn say_progress(out: &mut HeaderMap, found: &Found) {
    out.insert(UPLOAD_OFFSET, HeaderValue::from(found.received));
    match found.deadline_micros {
        _ if found.is_ready => {
            let link = format!("</v1/images/{}>; rel=\"related\"", found.upload.image);
            headers::insert(out, header::LINK, &link);
        }
        Some(deadline) => headers::insert(out, UPLOAD_EXPIRES, &clock::http_date(deadline)),
        None => {}
    }
}
