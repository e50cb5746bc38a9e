//! Posts and the images that hang on them.

use super::{AFTER_ALL_IDS, Conn, DbError, query::parsed};
use crate::{
    id::{ImageId, PostId, UserId},
    spelled::spelled,
};

/// Who may see a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Anybody.
    Public,
    /// The author's followers.
    Followers,
    /// The author alone.
    Private,
}

impl Visibility {
    /// Whether someone who may see posts as narrow as this may see one of that visibility.
    pub fn includes(self, other: Self) -> bool {
        match self {
            Self::Private => true,
            Self::Followers => other != Self::Private,
            Self::Public => other == Self::Public,
        }
    }
}

spelled!(Visibility { Public = "public", Followers = "followers", Private = "private" });

/// A post as stored.
#[derive(Debug)]
pub struct PostRow {
    /// Its id.
    pub id: PostId,
    /// Who wrote it.
    pub author: UserId,
    /// What it says.
    pub text: String,
    /// Who may see it.
    pub visibility: Visibility,
    /// When it was written, in microseconds since the Unix epoch.
    pub created_micros: i64,
}

type PostTuple = (String, String, String, String, i64);

/// Writes a new post, without images yet.
pub async fn insert(conn: &mut Conn, post: &PostRow) -> Result<(), DbError> {
    execute!(
        conn,
        "INSERT INTO posts (id, author_id, text, visibility, created_at) VALUES ($1, $2, $3, $4, $5)",
        post.id.to_string(),
        post.author.as_str(),
        post.text.as_str(),
        post.visibility.as_str(),
        post.created_micros
    )?;
    Ok(())
}

/// A post, if there is one.
pub async fn get(conn: &mut Conn, post: PostId) -> Result<Option<PostRow>, DbError> {
    let row = optional!(
        conn,
        PostTuple,
        "SELECT id, author_id, text, visibility, created_at FROM posts
         WHERE id = $1 AND EXISTS (SELECT 1 FROM users u WHERE u.id = author_id AND u.erased_at IS NULL)",
        post.to_string()
    )?;
    row.map(read).transpose()
}

/// Locks a post of the author's for the rest of the transaction. `None` when he has no such post.
pub async fn lock(conn: &mut Conn, post: PostId, author: &UserId) -> Result<Option<PostRow>, DbError> {
    let row = optional!(
        conn,
        PostTuple,
        "UPDATE posts SET text = text WHERE id = $1 AND author_id = $2
         RETURNING id, author_id, text, visibility, created_at",
        post.to_string(),
        author.as_str()
    )?;
    row.map(read).transpose()
}

/// An author's posts that a viewer with this much standing may see, newest first, older than `before`.
pub async fn list(
    conn: &mut Conn,
    author: &UserId,
    narrowest: Visibility,
    before: Option<PostId>,
    limit: i64,
) -> Result<Vec<PostRow>, DbError> {
    let rows = all!(
        conn,
        PostTuple,
        "SELECT id, author_id, text, visibility, created_at FROM posts
         WHERE author_id = $1 AND id < $2
           AND EXISTS (SELECT 1 FROM users u WHERE u.id = author_id AND u.erased_at IS NULL)
           AND (visibility = 'public' OR $3 = 'private' OR ($3 = 'followers' AND visibility = 'followers'))
         ORDER BY id DESC LIMIT $4",
        author.as_str(),
        before.map_or_else(|| AFTER_ALL_IDS.to_owned(), |id| id.to_string()),
        narrowest.as_str(),
        limit
    )?;
    rows.into_iter().map(read).collect()
}

/// Rewrites a locked post's text and visibility; its images must be locked before and settled after.
pub async fn update(
    conn: &mut Conn,
    post: PostId,
    text: &str,
    visibility: Visibility,
) -> Result<(), DbError> {
    execute!(
        conn,
        "UPDATE posts SET text = $2, visibility = $3 WHERE id = $1",
        post.to_string(),
        text,
        visibility.as_str()
    )?;
    Ok(())
}

/// Removes a locked post; its images must be detached before.
pub async fn delete(conn: &mut Conn, post: PostId) -> Result<(), DbError> {
    execute!(conn, "DELETE FROM posts WHERE id = $1", post.to_string())?;
    Ok(())
}

/// The images that hang on a post and are not held, in order: what is shown to others.
pub async fn images_shown(conn: &mut Conn, post: PostId) -> Result<Vec<ImageId>, DbError> {
    let rows = all!(
        conn,
        (String,),
        "SELECT a.image_id FROM attachments a JOIN images i ON i.id = a.image_id
         WHERE a.post_id = $1 AND i.state = 'ready' AND NOT i.held ORDER BY a.position",
        post.to_string()
    )?;
    read_ids(&rows)
}

/// The images that hang on a post, in order.
pub async fn images(conn: &mut Conn, post: PostId) -> Result<Vec<ImageId>, DbError> {
    let rows = all!(
        conn,
        (String,),
        "SELECT image_id FROM attachments WHERE post_id = $1 ORDER BY position",
        post.to_string()
    )?;
    read_ids(&rows)
}

/// The posts that an image hangs on, newest first.
pub async fn of_image(conn: &mut Conn, image: ImageId) -> Result<Vec<PostId>, DbError> {
    let rows = all!(
        conn,
        (String,),
        "SELECT post_id FROM attachments WHERE image_id = $1 ORDER BY post_id DESC LIMIT 1000",
        image.to_string()
    )?;
    rows.iter().map(|(id,)| parsed("post id", id, PostId::parse)).collect()
}

fn read_ids(rows: &[(String,)]) -> Result<Vec<ImageId>, DbError> {
    rows.iter()
        .map(|(id,)| ImageId::parse(id).ok_or_else(|| DbError::Unknown("image id", id.clone())))
        .collect()
}

/// Replaces the images that hang on a locked post; they must be locked before and settled after.
pub async fn set_images(conn: &mut Conn, post: PostId, images: &[ImageId]) -> Result<(), DbError> {
    execute!(conn, "DELETE FROM attachments WHERE post_id = $1", post.to_string())?;
    for (position, image) in (0_i64..).zip(images) {
        execute!(
            conn,
            "INSERT INTO attachments (post_id, image_id, position) VALUES ($1, $2, $3)",
            post.to_string(),
            image.to_string(),
            position
        )?;
    }
    Ok(())
}

fn read((id, author, text, visibility, created_micros): PostTuple) -> Result<PostRow, DbError> {
    let unknown = |what, text: &str| DbError::Unknown(what, text.to_owned());
    Ok(PostRow {
        id: PostId::parse(&id).ok_or_else(|| unknown("post id", &id))?,
        author: UserId::parse(&author).ok_or_else(|| unknown("user id", &author))?,
        visibility: Visibility::parse(&visibility).ok_or_else(|| unknown("visibility", &visibility))?,
        text,
        created_micros,
    })
}
