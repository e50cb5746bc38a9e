//! Trying the ledger without changing it: whether it can be written, what its clock says, whether it tells.

use std::time::Duration;

use sqlx::postgres::PgListener;

use super::{Conn, Db, DbError, Link, Pools, query::parsed};
use crate::id::{BlobKey, ImageId};

impl Db {
    /// Writes a row that nobody else knows, takes it back, and says whether it is gone.
    pub async fn try_write(&self, now_micros: i64) -> Result<bool, DbError> {
        let id = format!("doctor-{}", BlobKey::random());
        let mut tx = self.begin().await?;
        let sql = "INSERT INTO users (id, created_at) VALUES ($1, $2)";
        execute!(&mut tx, sql, id.as_str(), now_micros)?;
        match tx.link {
            Link::SqliteTx(tx) => tx.rollback().await?,
            Link::PostgresTx(tx) => tx.rollback().await?,
            Link::Sqlite(_) | Link::Postgres(_) => {}
        }
        let left = "SELECT COUNT(*) FROM users WHERE id = $1";
        let (left,) = one!(&mut self.read().await?, (i64,), left, id.as_str())?;
        Ok(left == 0)
    }

    /// What the database server's own clock says, in microseconds since the Unix epoch; `None` of SQLite, which
    /// has no other than ours.
    pub async fn clock_micros(&self) -> Result<Option<i64>, DbError> {
        if matches!(self.pools, Pools::Sqlite { .. }) {
            return Ok(None);
        }
        let sql = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
        let (micros,) = one!(&mut self.read().await?, (i64,), sql)?;
        Ok(Some(micros))
    }

    /// Whether what is told on one connection is heard on another within `patience`, on a channel of its own;
    /// `None` of SQLite, which has nobody to tell.
    pub async fn hears(&self, patience: Duration) -> Result<Option<bool>, DbError> {
        let Pools::Postgres(pool) = &self.pools else { return Ok(None) };
        let channel = format!("pinhole_doctor_{}", BlobKey::random());
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(&channel).await?;
        execute!(&mut self.read().await?, "SELECT pg_notify($1, 'heard')", channel.as_str())?;
        match tokio::time::timeout(patience, listener.recv()).await {
            Ok(told) => Ok(Some(told?.payload() == "heard")),
            Err(_) => Ok(Some(false)),
        }
    }
}

/// The newest images that are ready and not held, at most `limit`: of all, or of those alone that are public by
/// their own row.
pub async fn newest_ready(conn: &mut Conn, of_all: bool, limit: i64) -> Result<Vec<ImageId>, DbError> {
    let sql = "SELECT id FROM images WHERE state = 'ready' AND NOT held AND audience >= $1
               ORDER BY id DESC LIMIT $2";
    let rows = all!(conn, (String,), sql, if of_all { 0_i64 } else { 2 }, limit)?;
    rows.iter().map(|(id,)| parsed("image id", id, ImageId::parse)).collect()
}
