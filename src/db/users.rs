//! Users and who follows whom.

use super::{Change, Conn, DbError};
use crate::id::{ImageId, UserId};

/// A profile as stored.
#[derive(Debug)]
pub struct ProfileRow {
    /// What the user calls himself; empty until he says.
    pub display_name: String,
    /// His avatar.
    pub avatar: Option<ImageId>,
}

type ProfileTuple = (String, Option<String>);

/// Makes a user's row on first sight. False when the user was erased: his id is never used again.
pub async fn ensure(conn: &mut Conn, user: &UserId, now_micros: i64) -> Result<bool, DbError> {
    execute!(
        conn,
        "INSERT INTO users (id, created_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
        user.as_str(),
        now_micros
    )?;
    is_alive(conn, user).await.map(|alive| alive == Some(true))
}

/// Whether a user is known and not erased; `None` when he was never seen.
pub async fn is_alive(conn: &mut Conn, user: &UserId) -> Result<Option<bool>, DbError> {
    let row = optional!(conn, (bool,), "SELECT erased_at IS NULL FROM users WHERE id = $1", user.as_str())?;
    Ok(row.map(|(alive,)| alive))
}

/// Locks a user who is not erased for the rest of the transaction: what he gets in it he gets before
/// any erasure, or not at all.
pub async fn lock_alive(conn: &mut Conn, user: &UserId) -> Result<bool, DbError> {
    let touched =
        execute!(conn, "UPDATE users SET id = id WHERE id = $1 AND erased_at IS NULL", user.as_str())?;
    Ok(touched == 1)
}

/// Makes one user follow another; both must have rows.
pub async fn follow(
    conn: &mut Conn,
    follower: &UserId,
    followee: &UserId,
    now_micros: i64,
) -> Result<(), DbError> {
    execute!(
        conn,
        "INSERT INTO follows (follower_id, followee_id, created_at) VALUES ($1, $2, $3)
         ON CONFLICT (follower_id, followee_id) DO NOTHING",
        follower.as_str(),
        followee.as_str(),
        now_micros
    )?;
    conn.changes(Change::Following { follower: follower.clone(), followee: followee.clone() });
    Ok(())
}

/// Ends a following; nothing happens when there was none.
pub async fn unfollow(conn: &mut Conn, follower: &UserId, followee: &UserId) -> Result<(), DbError> {
    execute!(
        conn,
        "DELETE FROM follows WHERE follower_id = $1 AND followee_id = $2",
        follower.as_str(),
        followee.as_str()
    )?;
    conn.changes(Change::Following { follower: follower.clone(), followee: followee.clone() });
    Ok(())
}

/// Whether one user follows another.
pub async fn follows(conn: &mut Conn, follower: &UserId, followee: &UserId) -> Result<bool, DbError> {
    let row = optional!(
        conn,
        (i64,),
        "SELECT CAST(1 AS BIGINT) FROM follows WHERE follower_id = $1 AND followee_id = $2",
        follower.as_str(),
        followee.as_str()
    )?;
    Ok(row.is_some())
}

/// A user's profile; `None` when he was never seen or is erased.
pub async fn profile(conn: &mut Conn, user: &UserId) -> Result<Option<ProfileRow>, DbError> {
    let row = optional!(
        conn,
        ProfileTuple,
        "SELECT display_name, avatar_image_id FROM users WHERE id = $1 AND erased_at IS NULL",
        user.as_str()
    )?;
    Ok(row.map(read_profile))
}

/// [`profile`], locked for the rest of the transaction.
pub async fn lock_profile(conn: &mut Conn, user: &UserId) -> Result<Option<ProfileRow>, DbError> {
    let row = optional!(
        conn,
        ProfileTuple,
        "UPDATE users SET display_name = display_name WHERE id = $1 AND erased_at IS NULL
         RETURNING display_name, avatar_image_id",
        user.as_str()
    )?;
    Ok(row.map(read_profile))
}

fn read_profile((display_name, avatar): ProfileTuple) -> ProfileRow {
    ProfileRow { display_name, avatar: avatar.as_deref().and_then(ImageId::parse) }
}

/// Renames a user.
pub async fn set_display_name(conn: &mut Conn, user: &UserId, name: &str) -> Result<(), DbError> {
    execute!(conn, "UPDATE users SET display_name = $2 WHERE id = $1", user.as_str(), name)?;
    Ok(())
}

/// Gives a user another avatar or none; the images concerned must be locked before and settled after.
pub async fn set_avatar(conn: &mut Conn, user: &UserId, avatar: Option<ImageId>) -> Result<(), DbError> {
    execute!(
        conn,
        "UPDATE users SET avatar_image_id = $2 WHERE id = $1",
        user.as_str(),
        avatar.map(|id| id.to_string())
    )?;
    Ok(())
}

/// Whose avatar an image is. Only its owner can use it, so there is one at most.
pub async fn avatar_of(conn: &mut Conn, image: ImageId) -> Result<Option<UserId>, DbError> {
    let rows =
        all!(conn, (String,), "SELECT id FROM users WHERE avatar_image_id = $1 LIMIT 1", image.to_string())?;
    Ok(rows.first().and_then(|(id,)| UserId::parse(id)))
}
