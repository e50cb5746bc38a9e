//! `/v1/posts`: write, show, change who may see, delete.

use http::{StatusCode, header};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        Answer, Context, body,
        form::{self, File, Form, Shape},
        headers,
        sent::Sent,
    },
    List, Page, json, lock_all, no_content, page_of, refuse_nul, settle_all, user_in_path,
};
use crate::{
    clock,
    db::{
        Conn, images,
        posts::{self, PostRow, Visibility},
        users,
    },
    error::Error,
    id::{ImageId, PostId, UserId},
    identity::Caller,
    ingest::Prepared,
};

/// The most images on one post.
const MAX_IMAGES: usize = 20;
/// The longest text, in characters.
const MAX_TEXT_CHARS: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPost {
    #[serde(default)]
    text: String,
    visibility: Visibility,
    #[serde(default)]
    images: Vec<ImageId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    text: Option<String>,
    visibility: Option<Visibility>,
    images: Option<Vec<ImageId>>,
}

#[derive(Serialize)]
struct PostView {
    id: PostId,
    author: UserId,
    text: String,
    visibility: Visibility,
    images: Vec<PostImage>,
    created_at: String,
}

#[derive(Serialize)]
struct PostImage {
    id: ImageId,
    url: String,
}

/// `sees_all`: the author and services see held images too; to others they are not there.
async fn view(cx: &Context<'_>, conn: &mut Conn, row: PostRow, sees_all: bool) -> Result<PostView, Error> {
    let images =
        if sees_all { posts::images(conn, row.id).await? } else { posts::images_shown(conn, row.id).await? };
    Ok(PostView {
        images: images.into_iter().map(|id| PostImage { id, url: cx.image_url(id) }).collect(),
        id: row.id,
        author: row.author,
        text: row.text,
        visibility: row.visibility,
        created_at: clock::rfc3339(row.created_micros),
    })
}

/// The form of a post that brings its images along.
pub(in crate::web) const POST_FORM: Shape =
    Shape { texts: &["text", "visibility"], file: "images", max_files: MAX_IMAGES };

/// `POST /v1/posts`, as JSON that names uploaded images, or as a form with the files themselves: then
/// post and images come into being together or not at all.
pub(in crate::web) async fn create(cx: &Context<'_>, body: Sent<'_>) -> Answer {
    let author = cx.user().await?;
    let (new, files) = if form::is_form(cx.headers) {
        post_of_form(body.form(cx.headers, cx.max_file_bytes(), POST_FORM).await?)?
    } else {
        (cx.json(body).await?, Vec::new())
    };
    check(&new.text, &new.images)?;
    let prepared = cx.prepare(&author, files).await?;
    let written = write(cx, author, new, &prepared).await;
    if written.is_err() {
        cx.abandon(&prepared).await;
    }
    let view = written?;
    let location = format!("/v1/posts/{}", view.id);
    let mut response = json(StatusCode::CREATED, &view)?;
    headers::insert(response.headers_mut(), header::LOCATION, &location);
    Ok(response)
}

/// Writes the post and makes its files images, together.
async fn write(
    cx: &Context<'_>,
    author: UserId,
    new: NewPost,
    prepared: &[Prepared],
) -> Result<PostView, Error> {
    let post = PostRow {
        id: PostId::new(),
        author,
        text: new.text,
        visibility: new.visibility,
        created_micros: cx.now_micros,
    };
    let mut tx = cx.app.db.begin().await?;
    if !users::lock_alive(&mut tx, &post.author).await? {
        return Err(Error::erased());
    }
    lock_attachable(cx, &mut tx, &post.author, &new.images).await?;
    let images = [new.images, cx.admit(&mut tx, prepared).await?].concat();
    posts::insert(&mut tx, &post).await?;
    posts::set_images(&mut tx, post.id, &images).await?;
    settle_all(cx, &mut tx, &images).await?;
    let view = view(cx, &mut tx, post, true).await?;
    tx.commit().await?;
    Ok(view)
}

fn post_of_form(mut form: Form) -> Result<(NewPost, Vec<File>), Error> {
    let visibility =
        form.take("visibility").ok_or_else(|| Error::invalid_field("visibility", "is missing"))?;
    let visibility = Visibility::parse(&visibility)
        .ok_or_else(|| Error::invalid_field("visibility", "must be public, followers or private"))?;
    let text = form.take("text").unwrap_or_default();
    Ok((NewPost { text, visibility, images: Vec::new() }, form.files))
}

/// `GET /v1/posts/{id}`
pub(in crate::web) async fn get(cx: &Context<'_>, id: &str) -> Answer {
    let caller = cx.caller().await?;
    let id = PostId::parse(id).ok_or_else(Error::not_found)?;
    let mut conn = cx.app.db.read().await?;
    let post = posts::get(&mut conn, id).await?.ok_or_else(Error::not_found)?;
    let allowed = narrowest_seen(&mut conn, &caller, &post.author).await?;
    if !allowed.includes(post.visibility) {
        return Err(Error::not_found());
    }
    json(StatusCode::OK, &view(cx, &mut conn, post, allowed == Visibility::Private).await?)
}

/// `GET /v1/posts?author=`: his posts that the caller may see; the caller's own when nobody is named.
pub(in crate::web) async fn list(cx: &Context<'_>) -> Answer {
    let caller = cx.caller().await?;
    let page: Page = body::query(cx.uri)?;
    let author = match (&page.author, caller.user()) {
        (Some(author), _) => user_in_path(author)?,
        (None, Some(user)) => user.clone(),
        (None, None) => return Err(Error::invalid_field("author", "say whose posts: ?author=<user id>")),
    };
    let limit = page.limit()?;
    let mut conn = cx.app.db.read().await?;
    let narrowest = narrowest_seen(&mut conn, &caller, &author).await?;
    let rows = posts::list(&mut conn, &author, narrowest, page.cursor(PostId::parse)?, limit + 1).await?;
    let (rows, next_cursor) = page_of(rows, limit, |row| row.id.to_string());
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(view(cx, &mut conn, row, narrowest == Visibility::Private).await?);
    }
    json(StatusCode::OK, &List { items, next_cursor })
}

/// `PATCH /v1/posts/{id}`
pub(in crate::web) async fn patch(cx: &Context<'_>, id: &str, body: Sent<'_>) -> Answer {
    let author = cx.user().await?;
    let id = PostId::parse(id).ok_or_else(Error::not_found)?;
    let change: Change = cx.json(body).await?;
    check(change.text.as_deref().unwrap_or_default(), change.images.as_deref().unwrap_or_default())?;

    let mut tx = cx.app.db.begin().await?;
    let mut post = posts::lock(&mut tx, id, &author).await?.ok_or_else(Error::not_found)?;
    let before = posts::images(&mut tx, id).await?;
    let wanted = change.images.as_deref().unwrap_or_default();
    let touched = lock_all(&mut tx, before.iter().chain(wanted).copied()).await?;
    // Read again: one may have been deleted before it was locked.
    let before = posts::images(&mut tx, id).await?;
    let after = change.images.unwrap_or_else(|| before.clone());
    let added: Vec<ImageId> = after.iter().filter(|image| !before.contains(image)).copied().collect();
    lock_attachable(cx, &mut tx, &author, &added).await?;
    post.text = change.text.unwrap_or(post.text);
    post.visibility = change.visibility.unwrap_or(post.visibility);
    posts::update(&mut tx, id, &post.text, post.visibility).await?;
    if after != before {
        posts::set_images(&mut tx, id, &after).await?;
    }
    settle_all(cx, &mut tx, &touched).await?;
    let view = view(cx, &mut tx, post, true).await?;
    tx.commit().await?;
    json(StatusCode::OK, &view)
}

/// `DELETE /v1/posts/{id}`: its images stay their owner's, and are reclaimed when nothing else uses them.
pub(in crate::web) async fn delete(cx: &Context<'_>, id: &str) -> Answer {
    let author = cx.user().await?;
    let id = PostId::parse(id).ok_or_else(Error::not_found)?;
    let mut tx = cx.app.db.begin().await?;
    posts::lock(&mut tx, id, &author).await?.ok_or_else(Error::not_found)?;
    let images = posts::images(&mut tx, id).await?;
    let images = lock_all(&mut tx, images).await?;
    posts::set_images(&mut tx, id, &[]).await?;
    posts::delete(&mut tx, id).await?;
    settle_all(cx, &mut tx, &images).await?;
    tx.commit().await?;
    Ok(no_content())
}

fn check(text: &str, images: &[ImageId]) -> Result<(), Error> {
    refuse_nul("text", text)?;
    if text.chars().count() > MAX_TEXT_CHARS {
        return Err(Error::invalid_field(
            "text",
            format_args!("must have at most {MAX_TEXT_CHARS} characters"),
        ));
    }
    if images.len() > MAX_IMAGES {
        return Err(Error::invalid_field("images", format_args!("must be at most {MAX_IMAGES}")));
    }
    let mut seen: Vec<&ImageId> = images.iter().collect();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() < images.len() {
        return Err(Error::invalid_field("images", "names an image twice"));
    }
    Ok(())
}

/// Locks images that are to be attached; one that is not the author's own and ready refuses them all.
async fn lock_attachable(
    cx: &Context<'_>,
    conn: &mut Conn,
    author: &UserId,
    wanted: &[ImageId],
) -> Result<(), Error> {
    let mut in_order = wanted.to_vec();
    in_order.sort_unstable();
    for image in in_order {
        if !images::lock_attachable(conn, image, author, cx.now_micros).await? {
            let index = wanted.iter().position(|id| *id == image).unwrap_or_default();
            return Err(Error::image_unknown(&format!("images[{index}]")));
        }
    }
    Ok(())
}

/// The narrowest of an author's posts that the caller may see.
async fn narrowest_seen(conn: &mut Conn, caller: &Caller, author: &UserId) -> Result<Visibility, Error> {
    Ok(match caller {
        Caller::Service => Visibility::Private,
        Caller::User { id, .. } if id == author => Visibility::Private,
        Caller::User { id, .. } if users::follows(conn, id, author).await? => Visibility::Followers,
        Caller::User { .. } | Caller::Anonymous => Visibility::Public,
    })
}
