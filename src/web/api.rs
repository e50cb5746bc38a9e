//! The control API: JSON in and out, as `src/openapi` describes it.

pub(super) mod following;
pub(super) mod images;
pub(super) mod links;
pub(super) mod posts;
pub(super) mod profiles;
pub(super) mod tus;
pub(super) mod uploads;
pub(super) mod users;
mod whole;

use http::{HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Answer, Body, Context, form::File, full, sent::Sent};
use crate::{
    db::{self, Conn},
    error::Error,
    id::{ImageId, UserId},
    ingest::Prepared,
};

/// The page size of lists when none is asked for.
const DEFAULT_PAGE: i64 = 50;
/// The largest page.
const MAX_PAGE: i64 = 200;

impl Context<'_> {
    /// The largest file that is taken in.
    pub(super) fn max_file_bytes(&self) -> u64 {
        self.app.config.upload.max_bytes
    }

    pub(super) async fn json<T: DeserializeOwned>(&self, body: Sent<'_>) -> Result<T, Error> {
        body.json(self.headers).await
    }

    /// The user who asks, for what only users do; his row is made on first sight.
    async fn user(&self) -> Result<UserId, Error> {
        // Not `caller()`: it would ask the ledger what `ensure` asks it anyway.
        let caller = self.identified().await?;
        let user = caller.require_user()?;
        self.ensure(&user).await?;
        Ok(user)
    }

    /// Makes a user's row; an erased user's tokens and name are dead for good.
    pub(super) async fn ensure(&self, user: &UserId) -> Result<(), Error> {
        // Read first: all but a user's first request are spared the write.
        let known = self.app.rights.is_alive(user, self.wait).await?;
        let alive = if let Some(alive) = known {
            alive
        } else {
            let mut tx = self.app.db.begin().await?;
            let alive = db::users::ensure(&mut tx, user, self.now_micros).await?;
            tx.commit().await?;
            alive
        };
        if alive { Ok(()) } else { Err(Error::erased()) }
    }

    /// Verifies the files that came with a request and puts their bytes into the bucket.
    async fn prepare(&self, owner: &UserId, files: Vec<File>) -> Result<Vec<Prepared>, Error> {
        let mut prepared = Vec::with_capacity(files.len());
        for file in files {
            match self.app.ingest.prepare(owner, file.spooled, file.filename, None).await {
                Ok(file) => prepared.push(file),
                Err(error) => {
                    self.abandon(&prepared).await;
                    return Err(error.into());
                }
            }
        }
        Ok(prepared)
    }

    /// Lets them go again, when the request came to nothing.
    async fn abandon(&self, prepared: &[Prepared]) {
        self.app.ingest.abandon(prepared.iter().map(Prepared::blob)).await;
    }

    /// Makes them images, in the transaction that goes on to use them.
    async fn admit(&self, conn: &mut Conn, prepared: &[Prepared]) -> Result<Vec<ImageId>, Error> {
        let mut images = Vec::with_capacity(prepared.len());
        for file in prepared {
            images.push(file.admit(conn, self.app.config.upload.unattached_secs).await?);
        }
        Ok(images)
    }

    /// The URL of an image as uploaded; whoever asks for it must have a right of his own.
    fn image_url(&self, image: ImageId) -> String {
        format!("{}/i/{image}/original", self.app.config.server.public_url)
    }
}

/// `?limit=&cursor=` of lists.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Page {
    /// A number, read where an error can name it.
    limit: Option<String>,
    cursor: Option<String>,
    author: Option<String>,
}

impl Page {
    fn limit(&self) -> Result<i64, Error> {
        let Some(limit) = &self.limit else { return Ok(DEFAULT_PAGE) };
        let limit = limit.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
        limit.ok_or_else(|| Error::invalid_field("limit", format_args!("must be 1 to {MAX_PAGE}")))
    }

    fn cursor<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        parse(cursor)
            .map(Some)
            .ok_or_else(|| Error::invalid_field("cursor", "must be a `next_cursor` of this list"))
    }
}

/// Cuts the one row too many off, which says that there is a next page.
fn page_of<T>(mut rows: Vec<T>, limit: i64, id: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
    let limit = usize::try_from(limit).unwrap_or_default();
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(id);
    (rows, next_cursor)
}

/// A list as answered.
#[derive(Serialize)]
struct List<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(value).map_err(|error| Error::internal(&error))?;
    let mut response = Response::new(full(bytes.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

pub(super) fn no_content() -> Response<Body> {
    let mut response = Response::new(full(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A user named in the path; `@` and the like may come percent-encoded.
fn user_in_path(segment: &str) -> Result<UserId, Error> {
    let decoded = percent_encoding::percent_decode_str(segment).decode_utf8().ok();
    decoded
        .and_then(|user| UserId::parse(&user))
        .ok_or_else(|| Error::invalid_field("user", format_args!("must be {}", UserId::RULE)))
}

/// PostgreSQL's text holds every character but this one.
fn refuse_nul(field: &str, text: &str) -> Result<(), Error> {
    if text.contains('\0') { Err(Error::invalid_field(field, "must not contain NUL")) } else { Ok(()) }
}

/// Locks images before their uses change, in one order everywhere, so that no two transactions wait
/// for each other.
async fn lock_all(conn: &mut Conn, images: impl IntoIterator<Item = ImageId>) -> Result<Vec<ImageId>, Error> {
    let mut images: Vec<ImageId> = images.into_iter().collect();
    images.sort_unstable();
    images.dedup();
    for image in &images {
        db::images::lock(conn, *image).await?;
    }
    Ok(images)
}

/// Settles images after their uses changed.
async fn settle_all(cx: &Context<'_>, conn: &mut Conn, images: &[ImageId]) -> Result<(), Error> {
    let deadline = crate::clock::after(cx.now_micros, cx.app.config.upload.unattached_secs);
    for image in images {
        db::images::settle(conn, *image, deadline).await?;
    }
    Ok(())
}
