//! `/v1/images`: upload, look up, delete, revoke, hold.

use http::{StatusCode, header};
use serde::Serialize;

use super::{
    super::{Answer, Context, body, headers, sent::Sent},
    List, Page, json, no_content, page_of,
};
use crate::{
    access::{self, Denial, Permit},
    clock,
    db::{
        Conn, facts,
        images::{self, ImageRow},
        posts, users,
    },
    error::Error,
    id::{ImageId, PostId, UserId},
};

/// An image as answered. What only its owner and services see is left out for everybody else.
#[derive(Serialize)]
pub(super) struct ImageView {
    id: ImageId,
    owner: UserId,
    state: &'static str,
    content_type: &'static str,
    bytes: i64,
    width: i64,
    height: i64,
    frames: i64,
    thumbhash: Option<String>,
    dominant_color: Option<String>,
    epoch: i64,
    created_at: String,
    url: String,
    avatar_of: Option<UserId>,
    #[serde(flatten)]
    owners: Option<OwnersView>,
}

#[derive(Serialize)]
struct OwnersView {
    sha256: String,
    filename: Option<String>,
    expires_at: Option<String>,
    posts: Vec<PostId>,
}

async fn view(cx: &Context<'_>, conn: &mut Conn, row: ImageRow, is_full: bool) -> Result<ImageView, Error> {
    let owners = if is_full {
        Some(OwnersView {
            sha256: row.sha256,
            filename: row.filename,
            expires_at: row.deadline_micros.map(clock::rfc3339),
            posts: posts::of_image(conn, row.id).await?,
        })
    } else {
        None
    };
    Ok(ImageView {
        id: row.id,
        owner: row.owner,
        state: row.state.as_str(),
        content_type: row.format.content_type(),
        bytes: row.bytes,
        width: row.width,
        height: row.height,
        frames: row.frames,
        thumbhash: row.thumbhash,
        dominant_color: row.dominant_color,
        epoch: row.epoch,
        created_at: clock::rfc3339(row.created_micros),
        url: cx.image_url(row.id),
        avatar_of: users::avatar_of(conn, row.id).await?,
        owners,
    })
}

/// `POST /v1/images`
pub(in crate::web) async fn create(cx: &Context<'_>, body: Sent<'_>) -> Answer {
    let owner = cx.user().await?;
    let file = body.image(cx.headers, cx.max_file_bytes()).await?;
    let image = cx.app.ingest.publish(&owner, file.spooled, file.filename).await?;
    let mut response = answer_image(cx, StatusCode::CREATED, image).await?;
    headers::insert(response.headers_mut(), header::LOCATION, &format!("/v1/images/{image}"));
    Ok(response)
}

/// An image as its owner sees it.
pub(super) async fn answer_image(cx: &Context<'_>, status: StatusCode, image: ImageId) -> Answer {
    let mut conn = cx.app.db.read().await?;
    let row = images::get(&mut conn, image).await?.ok_or_else(Error::not_found)?;
    json(status, &view(cx, &mut conn, row, true).await?)
}

/// `GET /v1/images/{id}`
pub(in crate::web) async fn get(cx: &Context<'_>, id: &str) -> Answer {
    let caller = cx.caller().await?;
    let image = ImageId::parse(id).ok_or(Denial::Unknown)?;
    let mut conn = cx.app.db.read().await?;
    let (facts, follows_owner) =
        facts::of_image(&mut conn, image, caller.user()).await?.ok_or(Denial::Unknown)?;
    let permit: Permit = access::decide(&facts, caller.viewer(follows_owner), cx.now_micros)?;
    let mut row = images::get(&mut conn, permit.image()).await?.ok_or(Denial::Unknown)?;
    // The app's version is part of what a link is bound to.
    row.epoch = permit.linkable_epoch().unwrap_or(row.epoch);
    json(StatusCode::OK, &view(cx, &mut conn, row, permit.is_full()).await?)
}

/// `GET /v1/images`
pub(in crate::web) async fn list(cx: &Context<'_>) -> Answer {
    let owner = cx.user().await?;
    let page: Page = body::query(cx.uri)?;
    if page.author.is_some() {
        return Err(Error::invalid_field("author", "is for posts; this lists your own images"));
    }
    let limit = page.limit()?;
    let mut conn = cx.app.db.read().await?;
    let rows =
        images::list(&mut conn, &owner, page.cursor(ImageId::parse)?, limit + 1, cx.now_micros).await?;
    let (rows, next_cursor) = page_of(rows, limit, |row| row.id.to_string());
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(view(cx, &mut conn, row, true).await?);
    }
    json(StatusCode::OK, &List { items, next_cursor })
}

/// `DELETE /v1/images/{id}`
pub(in crate::web) async fn delete(cx: &Context<'_>, id: &str) -> Answer {
    let owner = cx.caller().await?.require_owner_or_service()?;
    let image = ImageId::parse(id).ok_or(Denial::Unknown)?;
    let mut tx = cx.app.db.begin().await?;
    let deleted = images::delete(&mut tx, image, owner.as_ref(), cx.now_micros).await?;
    tx.commit().await?;
    let blob = deleted.ok_or(Denial::Unknown)?;
    cx.app.variants.forget(image);
    // From here on nobody is shown the image; objects that cannot be removed now are swept later.
    if let Err(error) = cx.app.sweeper.sweep_blob(&blob, clock::now_micros()).await {
        tracing::warn!(%image, "the objects of a deleted image are still there: {error}");
    }
    Ok(no_content())
}

/// `POST /v1/images/{id}/revoke`
pub(in crate::web) async fn revoke(cx: &Context<'_>, id: &str) -> Answer {
    let owner = cx.caller().await?.require_owner_or_service()?;
    let image = ImageId::parse(id).ok_or(Denial::Unknown)?;
    let mut tx = cx.app.db.begin().await?;
    let revoked = images::revoke(&mut tx, image, owner.as_ref(), cx.now_micros).await?;
    tx.commit().await?;
    if revoked { Ok(no_content()) } else { Err(Denial::Unknown.into()) }
}

/// `PUT` and `DELETE /v1/images/{id}/hold`
pub(in crate::web) async fn set_held(cx: &Context<'_>, id: &str, held: bool) -> Answer {
    cx.caller().await?.require_service()?;
    let image = ImageId::parse(id).ok_or(Denial::Unknown)?;
    let mut tx = cx.app.db.begin().await?;
    let found = images::set_held(&mut tx, image, held, cx.now_micros).await?;
    tx.commit().await?;
    if found { Ok(no_content()) } else { Err(Denial::Unknown.into()) }
}
