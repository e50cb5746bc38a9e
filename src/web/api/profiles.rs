//! `/v1/profile` and `/v1/profiles`: a name and an avatar.

use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    super::{
        Answer, Context,
        form::{self, Shape},
        sent::Sent,
    },
    json, lock_all, refuse_nul, settle_all, user_in_path,
};
use crate::{
    db::{
        images,
        users::{self, ProfileRow},
    },
    error::Error,
    id::{ImageId, UserId},
    identity::Caller,
    ingest::Prepared,
};

/// The longest display name, in characters.
const MAX_NAME_CHARS: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    display_name: Option<String>,
    #[serde(default)]
    avatar_image_id: NewAvatar,
}

/// What becomes of the avatar: an absent field leaves it as it is, null takes it away.
#[derive(Clone, Copy, Default)]
enum NewAvatar {
    #[default]
    Unchanged,
    Set(Option<ImageId>),
}

impl<'de> Deserialize<'de> for NewAvatar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::Set)
    }
}

#[derive(Serialize)]
struct ProfileView {
    user: UserId,
    display_name: String,
    avatar: Option<Avatar>,
}

#[derive(Serialize)]
struct Avatar {
    image_id: ImageId,
    url: String,
}

fn view(cx: &Context<'_>, user: UserId, row: ProfileRow) -> ProfileView {
    let avatar = row.avatar.map(|image_id| Avatar { image_id, url: cx.image_url(image_id) });
    ProfileView { user, display_name: row.display_name, avatar }
}

/// `GET /v1/profile`
pub(in crate::web) async fn mine(cx: &Context<'_>) -> Answer {
    let user = cx.user().await?;
    show(cx, user, true).await
}

/// `GET /v1/profiles/{user}`
pub(in crate::web) async fn of(cx: &Context<'_>, user: &str) -> Answer {
    let (caller, user) = (cx.caller().await?, user_in_path(user)?);
    let sees_all = caller == Caller::Service || caller.user() == Some(&user);
    show(cx, user, sees_all).await
}

/// `sees_all`: the user himself and services see a held avatar too; to others it is not there.
async fn show(cx: &Context<'_>, user: UserId, sees_all: bool) -> Answer {
    let mut conn = cx.app.db.read().await?;
    let mut row = users::profile(&mut conn, &user).await?.ok_or_else(Error::not_found)?;
    if let Some(avatar) = row.avatar.filter(|_| !sees_all)
        && images::is_held(&mut conn, avatar).await?
    {
        row.avatar = None;
    }
    json(StatusCode::OK, &view(cx, user, row))
}

/// The form of a profile that brings its avatar along.
const PROFILE_FORM: Shape = Shape { texts: &["display_name"], file: "avatar", max_files: 1 };

/// `PUT /v1/profile`, as JSON, or as a form with the avatar's file: then all of it happens or nothing.
pub(in crate::web) async fn put(cx: &Context<'_>, body: Sent<'_>) -> Answer {
    let user = cx.user().await?;
    let (change, files) = if form::is_form(cx.headers) {
        let mut form = body.form(cx.headers, cx.max_file_bytes(), PROFILE_FORM).await?;
        let display_name = form.take("display_name");
        (Change { display_name, avatar_image_id: NewAvatar::Unchanged }, form.files)
    } else {
        (cx.json(body).await?, Vec::new())
    };
    refuse_nul("display_name", change.display_name.as_deref().unwrap_or_default())?;
    if change.display_name.as_ref().is_some_and(|name| name.chars().count() > MAX_NAME_CHARS) {
        let rule = format!("must have at most {MAX_NAME_CHARS} characters");
        return Err(Error::invalid_field("display_name", rule));
    }
    let prepared = cx.prepare(&user, files).await?;
    let written = write(cx, &user, change, &prepared).await;
    if written.is_err() {
        cx.abandon(&prepared).await;
    }
    json(StatusCode::OK, &view(cx, user, written?))
}

/// Writes the profile and makes its file an image, together.
async fn write(
    cx: &Context<'_>,
    user: &UserId,
    change: Change,
    prepared: &[Prepared],
) -> Result<ProfileRow, Error> {
    let mut tx = cx.app.db.begin().await?;
    let before = users::lock_profile(&mut tx, user).await?.ok_or_else(Error::not_found)?;
    if let Some(name) = &change.display_name {
        users::set_display_name(&mut tx, user, name).await?;
    }
    let uploaded = cx.admit(&mut tx, prepared).await?.first().copied();
    let avatar = match change.avatar_image_id {
        NewAvatar::Set(avatar) => avatar,
        NewAvatar::Unchanged => uploaded.or(before.avatar),
    };
    if avatar != before.avatar {
        let touched = lock_all(&mut tx, before.avatar.into_iter().chain(avatar)).await?;
        if let Some(avatar) = avatar
            && !images::lock_attachable(&mut tx, avatar, user, cx.now_micros).await?
        {
            return Err(Error::image_unknown("avatar_image_id"));
        }
        users::set_avatar(&mut tx, user, avatar).await?;
        settle_all(cx, &mut tx, &touched).await?;
    }
    let after = users::profile(&mut tx, user).await?.ok_or_else(Error::not_found)?;
    tx.commit().await?;
    Ok(after)
}
