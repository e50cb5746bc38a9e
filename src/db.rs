//! The ledger: connections, transactions and migrations on SQLite or PostgreSQL.
//!
//! One query text serves both: the macros of `query` run it on whichever database a [`Conn`] belongs to.
//! Queries live in the rooms below, each over `&mut Conn`, so that several make one transaction.

#[macro_use]
mod query;

pub mod blobs;
pub mod chunks;
pub mod erasures;
pub mod facts;
pub mod idempotency;
pub mod images;
mod lock;
mod migrations;
pub mod posts;
pub mod survey;
pub mod uploads;
pub mod users;

use std::{path::Path, time::Duration};

use sqlx::{
    PgPool, Postgres, Sqlite, SqlitePool, Transaction,
    pool::{PoolConnection, PoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use thiserror::Error;

pub use self::{
    lock::{LockError, ServerLock},
    migrations::Schema,
};

/// Sorts after every id, whatever the database's collation.
const AFTER_ALL_IDS: &str = "g";
/// How many read connections SQLite gets; each is a thread.
const SQLITE_READERS: u32 = 4;
/// How many connections PostgreSQL gets.
const POSTGRES_CONNECTIONS: u32 = 16;
/// How long a request waits for a connection before it is refused.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long SQLite waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The ledger could not answer.
#[derive(Debug, Error)]
pub enum DbError {
    /// The database failed, is away, or took too long.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A newer program has been here.
    #[error("the database has migration {0}, which this pinhole does not know: run the newer one")]
    Newer(i64),
    /// A row holds what this version does not know.
    #[error("the ledger holds an unknown {0}: {1:?}")]
    Unknown(&'static str, String),
}

impl DbError {
    /// Whether the database is away or busy, so that trying again may help.
    pub fn is_outage(&self) -> bool {
        use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Tls};
        match self {
            Self::Sql(PoolTimedOut | PoolClosed | Io(_) | Tls(_)) => true,
            // PostgreSQL's serialization_failure and deadlock_detected; SQLite's BUSY, LOCKED and
            // BUSY_SNAPSHOT, when another process has kept it for longer than is waited.
            // <https://www.sqlite.org/rescode.html>
            Self::Sql(Database(error)) => {
                matches!(error.code().as_deref(), Some("40001" | "40P01" | "5" | "6" | "517"))
            }
            _ => false,
        }
    }
}

/// The ledger; cheap to clone.
#[derive(Clone, Debug)]
pub enum Db {
    /// A file, written by one connection and read by several.
    Sqlite {
        /// Read-only connections.
        read: SqlitePool,
        /// The one connection that writes.
        write: SqlitePool,
    },
    /// A server.
    Postgres(PgPool),
}

/// A connection, alone or in a transaction.
#[derive(Debug)]
pub enum Conn {
    /// To read from SQLite.
    Sqlite(PoolConnection<Sqlite>),
    /// To read from PostgreSQL.
    Postgres(PoolConnection<Postgres>),
    /// A transaction on SQLite.
    SqliteTx(Transaction<'static, Sqlite>),
    /// A transaction on PostgreSQL.
    PostgresTx(Transaction<'static, Postgres>),
}

impl Db {
    /// Opens a SQLite file, made when absent.
    ///
    /// An acknowledged write survives a power cut: WAL with `synchronous = FULL`.
    pub async fn open_sqlite(path: &Path) -> Result<Self, DbError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = || PoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT).test_before_acquire(false);
        // The writer first: it makes the file, which a read-only connection cannot.
        let write = pool().max_connections(1).connect_with(options.clone()).await?;
        let read = pool().max_connections(SQLITE_READERS).connect_with(options.read_only(true)).await?;
        Ok(Self::Sqlite { read, write })
    }

    /// Opens a SQLite file that is there, as it is, to look at: writing fails, and the file stays what it
    /// was, to its journal mode.
    pub async fn open_sqlite_read_only(path: &Path) -> Result<Self, DbError> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
        let pool = PoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT).test_before_acquire(false);
        let read = pool.max_connections(SQLITE_READERS).connect_with(options).await?;
        Ok(Self::Sqlite { write: read.clone(), read })
    }

    /// Connects to a PostgreSQL server by its URL.
    pub async fn open_postgres(url: &str) -> Result<Self, DbError> {
        let pool = PoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect(url)
            .await?;
        Ok(Self::Postgres(pool))
    }

    /// A connection to read from.
    pub async fn read(&self) -> Result<Conn, DbError> {
        Ok(match self {
            Self::Sqlite { read, .. } => Conn::Sqlite(read.acquire().await?),
            Self::Postgres(pool) => Conn::Postgres(pool.acquire().await?),
        })
    }

    /// A transaction to write in; dropped without [`Conn::commit`], it is rolled back.
    pub async fn begin(&self) -> Result<Conn, DbError> {
        Ok(match self {
            // IMMEDIATE takes the write lock at once: a deferred transaction that turns to writing
            // fails when another wrote since.
            Self::Sqlite { write, .. } => Conn::SqliteTx(write.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Conn::PostgresTx(pool.begin().await?),
        })
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<(), DbError> {
        one!(&mut self.read().await?, (i64,), "SELECT CAST(1 AS BIGINT)")?;
        Ok(())
    }

    /// Closes all connections once they are free.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Conn {
    /// Ends a transaction, keeping what it did. Nothing to do on a plain connection.
    pub async fn commit(self) -> Result<(), DbError> {
        match self {
            Self::SqliteTx(tx) => tx.commit().await?,
            Self::PostgresTx(tx) => tx.commit().await?,
            Self::Sqlite(_) | Self::Postgres(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions as _;

    use super::*;

    #[tokio::test]
    async fn a_file_that_another_process_keeps_is_an_outage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let db = Db::open_sqlite(&path).await.unwrap();
        let _writing = db.begin().await.unwrap();
        let other = SqliteConnectOptions::new().filename(&path).busy_timeout(Duration::ZERO);
        let mut other = other.connect().await.unwrap();
        let refused = sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.map(drop);
        let refused = refused.map_err(DbError::from).unwrap_err();
        assert!(refused.is_outage(), "{refused}");
    }

    #[tokio::test]
    async fn what_is_opened_to_look_at_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        Db::open_sqlite_read_only(&path).await.unwrap_err();
        assert!(!path.exists(), "nothing was made");
        std::fs::write(&path, "").unwrap();
        let db = Db::open_sqlite_read_only(&path).await.unwrap();
        db.ping().await.unwrap();
        db.migrate().await.unwrap_err();
        db.close().await;
        assert_eq!(std::fs::read(&path).unwrap(), b"", "it is as empty as it was");
    }
}
