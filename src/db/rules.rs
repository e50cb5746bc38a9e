//! Who decides: pinhole's own posts and followers, or SQL of the operator's over tables of the app's own.
//!
//! The app's statement, or view, has a row for each image in use: `image_id` (text), `audience` (`public`,
//! `restricted` or `owner`), `in_use` (boolean; NULL is not in use) and `version` (a whole number from 0 to
//! 2³² - 1 that steps when somebody loses his right, and never goes back; NULL is 0, and any other fails
//! whatever is asked about the image). Another one has a row for each viewer of a restricted image:
//! `image_id` and `viewer_id`. Where an image has several rows, the widest audience in use and the highest
//! version count.
//!
//! Links look at the version alone, not at the audience. So a row that is taken away, or hidden, must step
//! the version of one that stays; or the app revokes the image.

use sqlx::AssertSqlSafe;

use super::{Conn, Db, DbError};
use crate::{
    clock, config,
    id::{ImageId, UserId},
};

/// How many seconds before its deadline an image that the app uses is given another one.
const AHEAD_SECS: u64 = 600;
/// How many images are given one at once.
const BATCH: u64 = 1000;
/// A version is below this; an image's own epoch stands in front of it.
const VERSIONS: u64 = 1 << 32;

/// The questions that depend on who decides.
#[derive(Debug)]
pub struct Rules {
    /// The facts of the image `$1`, and whether the viewer `$2` may see it if it is restricted.
    pub(super) one: String,
    /// The same of a JSON list of images.
    pub(super) many: String,
    app: Option<App>,
}

#[derive(Debug)]
struct App {
    allowed: String,
    in_use: String,
    postpone: String,
    keep: String,
}

/// The columns of the facts; what stands for them where the app decides is put in their place.
fn select(epoch: &str, audience: &str, deadline: &str, is_allowed: &str, which: &str) -> String {
    format!(
        "SELECT i.id, i.owner_id, i.state, {epoch}, i.held, u.erased_at IS NOT NULL, {audience}, {deadline},
                i.blob_key, b.content_type, b.frames > 1, b.width, b.height, b.masters, b.bytes, b.sha256,
                b.original_bytes, b.original_sha256, {is_allowed}
         FROM images i JOIN users u ON u.id = i.owner_id JOIN blobs b ON b.key = i.blob_key WHERE {which}"
    )
}

/// One image, and several: each database is told a list in its own words.
fn which(is_sqlite: bool) -> [&'static str; 2] {
    let list = if is_sqlite {
        "i.id IN (SELECT value FROM json_each($1))"
    } else {
        "i.id IN (SELECT value FROM json_array_elements_text(CAST($1 AS json)))"
    };
    ["i.id = $1", list]
}

impl Rules {
    /// pinhole's own posts, avatars and followers.
    pub(super) fn own(is_sqlite: bool) -> Self {
        let follows =
            "EXISTS (SELECT 1 FROM follows f WHERE f.follower_id = $2 AND f.followee_id = i.owner_id)";
        let [one, many] =
            which(is_sqlite).map(|which| select("i.epoch", "i.audience", "i.deadline", follows, which));
        Self { one, many, app: None }
    }

    /// The app's own, if it has any.
    fn of(settings: &config::Rules, is_sqlite: bool) -> Option<Self> {
        let facts = from(settings.facts.as_deref()?);
        let of_image =
            |what: &str, image: &str| format!("(SELECT {what} FROM {facts} r WHERE r.image_id = {image})");
        // SQLite would take the number that a text begins with.
        let whole = if is_sqlite { "typeof(r.version) = 'integer' AND" } else { "" };
        let version = of_image(
            &format!(
                "CASE WHEN MAX(CASE WHEN r.version IS NULL OR ({whole} r.version >= 0 AND r.version < {VERSIONS})
                                    THEN 0 ELSE 1 END) = 1
                      THEN NULL ELSE COALESCE(MAX(CAST(r.version AS BIGINT)), 0) END"
            ),
            "i.id",
        );
        // What is NULL is not true, whatever stands beside it.
        let widest = of_image(
            "MAX(CASE WHEN r.in_use AND r.audience = 'public' THEN 2
                      WHEN r.in_use AND r.audience = 'restricted' THEN 1 ELSE 0 END)",
            "i.id",
        );
        let is_used =
            |image: &str| format!("EXISTS (SELECT 1 FROM {facts} r WHERE r.image_id = {image} AND r.in_use)");
        let (is_allowed, allowed) = match settings.allowed.as_deref().map(from) {
            // Both parameters are named, so that the database knows what they are.
            None => ("($2 = '' AND FALSE)".to_owned(), "SELECT $1 = '' AND $2 = '' AND FALSE".to_owned()),
            Some(allowed) => {
                let is_allowed = |image: &str| {
                    format!(
                        "EXISTS (SELECT 1 FROM {allowed} r WHERE r.image_id = {image} AND r.viewer_id = $2)"
                    )
                };
                (is_allowed("i.id"), format!("SELECT {}", is_allowed("$1")))
            }
        };
        // Side by side, so that no other pair is ever the same number.
        let epoch = format!("i.epoch * {VERSIONS} + {version}");
        let audience = format!("CAST(COALESCE({widest}, 0) AS BIGINT)");
        let deadline = format!("CASE WHEN {} THEN NULL ELSE i.deadline END", is_used("i.id"));
        let [one, many] =
            which(is_sqlite).map(|which| select(&epoch, &audience, &deadline, &is_allowed, which));
        let app = App {
            allowed,
            in_use: format!("SELECT {}", is_used("$1")),
            postpone: format!(
                "UPDATE images SET deadline = $2 WHERE id IN (
                     SELECT id FROM images WHERE state = 'ready' AND deadline <= $1 AND {} LIMIT {BATCH})",
                is_used("images.id")
            ),
            keep: format!(
                "UPDATE images SET deadline = $2 WHERE id = $1 AND state = 'ready' AND deadline < $2 AND {}",
                is_used("images.id")
            ),
        };
        Some(Self { one, many, app: Some(app) })
    }

    /// Whether the app's own tables decide.
    pub fn are_the_apps(&self) -> bool {
        self.app.is_some()
    }
}

/// What stands behind FROM: a statement, or the name of a view or a table.
fn from(setting: &str) -> String {
    let text = setting.trim().trim_end_matches(';').trim_end();
    let is_name = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.\"".contains(&b));
    if is_name { text.to_owned() } else { format!("({text})") }
}

impl Db {
    /// The same ledger, where the settings say who decides. They are tried at once.
    pub async fn judged_by(self, settings: &config::Rules) -> Result<Self, DbError> {
        let mut conn = self.read().await?;
        let Some(rules) = Rules::of(settings, conn.is_sqlite()) else { return Ok(self) };
        let db = Self { rules: rules.into(), ..self.clone() };
        conn.rules = db.rules.clone();
        let (nothing, nobody) = (ImageId::nil(), UserId::parse("nobody"));
        super::facts::of_image(&mut conn, nothing, nobody.as_ref()).await?;
        super::facts::of_images(&mut conn, &[nothing], nobody.as_ref()).await?;
        if let Some(nobody) = &nobody {
            is_allowed(&mut conn, nothing, nobody).await?;
        }
        is_used(&mut conn, nothing).await?;
        Ok(db)
    }

    /// Who decides.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

/// Whether the app lets a viewer see an image if it is restricted.
pub async fn is_allowed(conn: &mut Conn, image: ImageId, viewer: &UserId) -> Result<bool, DbError> {
    let Some(sql) = conn.rules.app.as_ref().map(|app| app.allowed.clone()) else { return Ok(false) };
    Ok(one!(conn, (bool,), AssertSqlSafe(sql), image.to_string(), viewer.as_str())?.0)
}

/// Whether the app uses an image.
pub(super) async fn is_used(conn: &mut Conn, image: ImageId) -> Result<bool, DbError> {
    let Some(sql) = conn.rules.app.as_ref().map(|app| app.in_use.clone()) else { return Ok(false) };
    Ok(one!(conn, (bool,), AssertSqlSafe(sql), image.to_string())?.0)
}

/// Gives images that the app uses another deadline in time, so that nothing takes them for over. Whether
/// there may be more of them.
pub async fn postpone(conn: &mut Conn, now_micros: i64, unattached_secs: u64) -> Result<bool, DbError> {
    let Some(sql) = conn.rules.app.as_ref().map(|app| app.postpone.clone()) else { return Ok(false) };
    let soon = clock::after(now_micros, AHEAD_SECS.min(unattached_secs / 2));
    let deadline = clock::after(now_micros, unattached_secs);
    Ok(execute!(conn, AssertSqlSafe(sql), soon, deadline)? >= BATCH)
}

/// The same of one image that somebody is about to change.
pub(super) async fn keep(conn: &mut Conn, image: ImageId, now_micros: i64) -> Result<(), DbError> {
    let Some(sql) = conn.rules.app.as_ref().map(|app| app.keep.clone()) else { return Ok(()) };
    execute!(conn, AssertSqlSafe(sql), image.to_string(), clock::after(now_micros, AHEAD_SECS))?;
    Ok(())
}
