//! The migrations, forward only, in order, built into the program; and how far a database has come.

use sqlx::{
    SqlSafeStr as _,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};

use super::{Db, DbError};

/// Version, name and text of each; a released one never changes.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "ledger", include_str!("migrations/0001_ledger.sql")),
    (3, "idempotency", include_str!("migrations/0003_idempotency.sql")),
];

/// How far a database has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// How many migrations it has had.
    pub applied: usize,
    /// The names of those that it still needs, such as `0001_ledger`.
    pub pending: Vec<String>,
}

impl Db {
    /// Tells which migrations are pending, and changes nothing. A database that a newer program has
    /// migrated is refused, as is one whose migrations were others than these.
    pub async fn schema(&self) -> Result<Schema, DbError> {
        let applied = self.applied().await?;
        let known = migrator();
        for (version, checksum) in &applied {
            match known.iter().find(|migration| migration.version == *version) {
                None => return Err(DbError::Newer(*version)),
                Some(known) if *known.checksum != **checksum => {
                    return Err(MigrateError::VersionMismatch(*version).into());
                }
                Some(_) => {}
            }
        }
        let is_applied =
            |migration: &&Migration| applied.iter().any(|(version, _)| *version == migration.version);
        let pending = known.iter().filter(|migration| !is_applied(migration));
        let name = |migration: &Migration| format!("{:04}_{}", migration.version, migration.description);
        Ok(Schema { applied: applied.len(), pending: pending.map(name).collect() })
    }

    /// Applies what is pending; the names of that. Several processes may try at once: one is first.
    pub async fn migrate(&self) -> Result<Vec<String>, DbError> {
        let Schema { pending, .. } = self.schema().await?;
        if !pending.is_empty() {
            match self {
                Self::Sqlite { write, .. } => migrator().run(write).await?,
                Self::Postgres(pool) => migrator().run(pool).await?,
            }
        }
        Ok(pending)
    }

    /// Version and checksum of the migrations that were applied, from the table that sqlx keeps.
    async fn applied(&self) -> Result<Vec<(i64, Vec<u8>)>, DbError> {
        let found = all!(
            &mut self.read().await?,
            (i64, Vec<u8>),
            "SELECT version, checksum FROM _sqlx_migrations ORDER BY version"
        );
        match found {
            Err(DbError::Sql(sqlx::Error::Database(error))) if is_no_table(&*error) => Ok(Vec::new()),
            other => other,
        }
    }
}

/// Whether a table is not there: PostgreSQL has a code for that, SQLite has words.
fn is_no_table(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().as_deref() == Some("42P01") || error.message().starts_with("no such table")
}

/// What brings a database up to date.
///
/// Put together by hand because sqlx's `migrate!` needs its macros, which build SQLite a second time.
fn migrator() -> Migrator {
    let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator { migrations: MIGRATIONS.iter().map(migration).collect(), ..Migrator::DEFAULT }
}
