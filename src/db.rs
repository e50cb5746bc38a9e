//! The ledger: connections, transactions and migrations on SQLite or PostgreSQL.
//!
//! One query text serves both: the macros of `query` run it on whichever database a [`Conn`] belongs to.
//! Queries live in the rooms below, each over `&mut Conn`, so that several make one transaction.

#[macro_use]
mod query;

pub mod blobs;
pub mod changes;
pub mod checkup;
pub mod chunks;
pub mod erasures;
pub mod facts;
pub mod idempotency;
pub mod images;
pub mod imports;
mod listen;
mod lock;
mod migrations;
pub mod outbox;
pub mod posts;
pub mod rules;
pub mod service_keys;
pub mod survey;
pub mod uploads;
pub mod users;
pub mod variants;

use std::{mem, path::Path, str::FromStr as _, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, PgPool, Postgres, Sqlite, SqlitePool, Transaction,
    pool::{PoolConnection, PoolOptions},
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use thiserror::Error;
use tokio::time::timeout;

use crate::metrics::Calls;

pub use self::{
    changes::{Change, Generations},
    lock::{LockError, ServerLock},
    migrations::Schema,
    rules::Rules,
};

/// Sorts after every id, whatever the database's collation.
const AFTER_ALL_IDS: &str = "g";
/// How many read connections SQLite gets; each is a thread.
const SQLITE_READERS: u32 = 4;
/// How many connections PostgreSQL gets.
const POSTGRES_CONNECTIONS: u32 = 16;
/// How long PostgreSQL works on one statement, in milliseconds.
const POSTGRES_STATEMENT_MILLIS: &str = "30000";
/// How long PostgreSQL lets a transaction wait for its client, in milliseconds.
const POSTGRES_IDLE_MILLIS: &str = "60000";
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
    /// What an app's own rules have for a version, of the image that is named.
    #[error("rules.facts: the `version` of {0} must be a whole number from 0 to 4294967295")]
    Version(String),
    /// There was no answer in time.
    #[error("the database took too long")]
    TookTooLong,
    /// What others waited for too failed.
    #[error(transparent)]
    Shared(Arc<DbError>),
}

impl DbError {
    /// Whether the database is away or busy, so that trying again may help.
    pub fn is_outage(&self) -> bool {
        use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Tls};
        match self {
            Self::Sql(PoolTimedOut | PoolClosed | Io(_) | Tls(_)) | Self::TookTooLong => true,
            Self::Sql(Database(error)) => error.code().is_some_and(|code| is_passing(&code)),
            Self::Shared(error) => error.is_outage(),
            _ => false,
        }
    }
}

/// Whether a database that answers with this code may answer otherwise soon.
fn is_passing(code: &str) -> bool {
    // SQLite's BUSY, LOCKED and BUSY_SNAPSHOT, when another process has kept it for longer than is waited.
    // <https://www.sqlite.org/rescode.html>
    matches!(code, "5" | "6" | "517")
        // PostgreSQL's serialization_failure, deadlock_detected, lock_not_available, a database that takes no
        // connections, and a transaction that was idle for too long.
        // <https://www.postgresql.org/docs/current/errcodes-appendix.html>
        || matches!(code, "40001" | "40P01" | "55P03" | "55000" | "25P03")
        // Its classes of connection exceptions, of insufficient resources, and of an operator's intervention:
        // a shutdown, or a statement that took too long.
        || (code.len() == 5 && ["08", "53", "57"].iter().any(|class| code.starts_with(class)))
}

/// The ledger; cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    pub(crate) pools: Pools,
    generations: Arc<Generations>,
    rules: Arc<Rules>,
    outbox: Arc<outbox::Outbox>,
    calls: Calls,
}

/// Connections to one of the two.
#[derive(Clone, Debug)]
pub(crate) enum Pools {
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
pub struct Conn {
    link: Link,
    /// What the transaction changes of what is remembered elsewhere.
    changes: Vec<Change>,
    generations: Arc<Generations>,
    rules: Arc<Rules>,
    outbox: Arc<outbox::Outbox>,
    /// Whether the transaction has put something into the outbox.
    has_purges: bool,
    calls: Calls,
}

#[derive(Debug)]
enum Link {
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
    fn new(pools: Pools) -> Self {
        let rules = Rules::own(matches!(pools, Pools::Sqlite { .. }));
        let outbox = outbox::Outbox::to(Vec::new());
        Self {
            pools,
            generations: Arc::default(),
            rules: rules.into(),
            outbox: outbox.into(),
            calls: Calls::default(),
        }
    }

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
        Ok(Self::new(Pools::Sqlite { read, write }))
    }

    /// Opens a SQLite file that is there, as it is, to look at: writing fails, and the file stays what it
    /// was, to its journal mode.
    pub async fn open_sqlite_read_only(path: &Path) -> Result<Self, DbError> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
        let pool = PoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT).test_before_acquire(false);
        let read = pool.max_connections(SQLITE_READERS).connect_with(options).await?;
        Ok(Self::new(Pools::Sqlite { write: read.clone(), read }))
    }

    /// Connects to a PostgreSQL server by its URL.
    ///
    /// A statement that the server has not answered after a while is given up there, and so is a
    /// transaction that a lost client left open: neither may keep a lock for ever.
    pub async fn open_postgres(url: &str) -> Result<Self, DbError> {
        let options = PgConnectOptions::from_str(url)?.options([
            ("statement_timeout", POSTGRES_STATEMENT_MILLIS),
            ("idle_in_transaction_session_timeout", POSTGRES_IDLE_MILLIS),
        ]);
        let pool = PoolOptions::new().max_connections(POSTGRES_CONNECTIONS).acquire_timeout(ACQUIRE_TIMEOUT);
        let pool = match pool.clone().connect_with(options.clone()).await {
            // It has tried again and again, and forgot why that failed.
            Err(sqlx::Error::PoolTimedOut) => {
                let once = timeout(ACQUIRE_TIMEOUT, options.connect()).await;
                once.map_err(|_| DbError::TookTooLong)??.close().await?;
                pool.connect_with(options).await?
            }
            pool => pool?,
        };
        Ok(Self::new(Pools::Postgres(pool)))
    }

    /// A connection to read from.
    pub async fn read(&self) -> Result<Conn, DbError> {
        let acquiring = async {
            Ok::<_, DbError>(match &self.pools {
                Pools::Sqlite { read, .. } => Link::Sqlite(read.acquire().await?),
                Pools::Postgres(pool) => Link::Postgres(pool.acquire().await?),
            })
        };
        Ok(self.conn(self.calls.timed("acquire", acquiring).await?))
    }

    /// A transaction to write in; dropped without [`Conn::commit`], it is rolled back.
    pub async fn begin(&self) -> Result<Conn, DbError> {
        let beginning = async {
            Ok::<_, DbError>(match &self.pools {
                // IMMEDIATE takes the write lock at once: a deferred transaction that turns to writing
                // fails when another wrote since.
                Pools::Sqlite { write, .. } => Link::SqliteTx(write.begin_with("BEGIN IMMEDIATE").await?),
                Pools::Postgres(pool) => Link::PostgresTx(pool.begin().await?),
            })
        };
        Ok(self.conn(self.calls.timed("begin", beginning).await?))
    }

    fn conn(&self, link: Link) -> Conn {
        let (generations, rules) = (Arc::clone(&self.generations), Arc::clone(&self.rules));
        let outbox = Arc::clone(&self.outbox);
        let calls = self.calls.clone();
        Conn { link, changes: Vec::new(), generations, rules, outbox, has_purges: false, calls }
    }

    /// What it was asked.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// What tells whether something that was read is still so, as far as this process knows.
    pub fn generations(&self) -> &Generations {
        &self.generations
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<(), DbError> {
        one!(&mut self.read().await?, (i64,), "SELECT CAST(1 AS BIGINT)")?;
        Ok(())
    }

    /// Closes all connections once they are free.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

impl Conn {
    fn is_sqlite(&self) -> bool {
        matches!(self.link, Link::Sqlite(_) | Link::SqliteTx(_))
    }

    /// Says that the transaction changes what may be remembered outside of the ledger. Whoever changes
    /// it says so right there, so that no caller can forget it.
    fn changes(&mut self, change: Change) {
        if self.changes.last() != Some(&change) {
            self.changes.push(change);
        }
    }

    /// Ends a transaction, keeping what it did. Nothing to do on a plain connection.
    ///
    /// From its end on nothing that this process remembers of what was changed counts any more, and the
    /// other processes are told.
    pub async fn commit(mut self) -> Result<(), DbError> {
        let changes = mem::take(&mut self.changes);
        if matches!(self.link, Link::PostgresTx(_)) {
            // Sent by the commit itself, or not at all.
            for payload in changes::payloads(&changes) {
                execute!(&mut self, "SELECT pg_notify($1, $2)", changes::CHANNEL, payload)?;
            }
        }
        let (link, calls) = (self.link, self.calls);
        let to_wake = self.has_purges.then_some(self.outbox);
        // Whatever comes of the commit: it may have been done even if nobody heard so.
        let forgotten = changes::Forgotten::at_its_end(self.generations, changes);
        // A task of its own: who stops waiting does not make it end before it has.
        let ended = tokio::spawn(async move {
            let forgotten = forgotten;
            let committing = async {
                match link {
                    Link::SqliteTx(tx) => tx.commit().await,
                    Link::PostgresTx(tx) => tx.commit().await,
                    Link::Sqlite(_) | Link::Postgres(_) => Ok(()),
                }
            };
            let ended = calls.timed("commit", committing).await;
            // First it is forgotten here, and then the edges are told: they may ask at once.
            drop(forgotten);
            if let Some(outbox) = to_wake {
                outbox.wake();
            }
            ended
        });
        Ok(ended.await.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))??)
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
