//! The migrations, forward only, in order, built into the program; and how far a database has come.

use sqlx::{
    SqlSafeStr as _,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};

use super::{Db, DbError, Pools};

/// Version, name and text of each; a released one never changes.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "ledger", include_str!("migrations/0001_ledger.sql")),
    (2, "resumable", include_str!("migrations/0002_resumable.sql")),
    (3, "idempotency", include_str!("migrations/0003_idempotency.sql")),
    (4, "placeholder", include_str!("migrations/0004_placeholder.sql")),
    (5, "masters", include_str!("migrations/0005_masters.sql")),
    (6, "service_keys", include_str!("migrations/0006_service_keys.sql")),
    (7, "variants", include_str!("migrations/0007_variants.sql")),
    (8, "outbox", include_str!("migrations/0008_outbox.sql")),
    (9, "originals", include_str!("migrations/0009_originals.sql")),
    (10, "imports", include_str!("migrations/0010_imports.sql")),
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

    /// Whether nothing was ever kept here: there is no table yet, no user, and nothing on its way. Who was erased leaves
    /// his name.
    pub async fn is_unused(&self) -> Result<bool, DbError> {
        if self.applied().await?.is_empty() {
            return Ok(true);
        }
        let none = "SELECT NOT EXISTS (SELECT 1 FROM users) AND NOT EXISTS (SELECT 1 FROM blobs)";
        Ok(one!(&mut self.read().await?, (bool,), none)?.0)
    }

    /// Applies what is pending; the names of that. Several processes may try at once: one is first.
    pub async fn migrate(&self) -> Result<Vec<String>, DbError> {
        let Schema { pending, .. } = self.schema().await?;
        if !pending.is_empty() {
            match &self.pools {
                Pools::Sqlite { write, .. } => migrator().run(write).await?,
                Pools::Postgres(pool) => {
                    // An index on a large table takes longer than any request may.
                    let mut conn = pool.acquire().await?;
                    sqlx::query("SET statement_timeout = 0").execute(&mut *conn).await?;
                    migrator().run(&mut *conn).await?;
                    conn.close().await?;
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        db::{
            images,
            uploads::{self, Landing, Method},
        },
        id::{ImageId, UserId},
        render::Format,
    };

    /// An empty database, and the folder that it is in.
    async fn empty() -> (tempfile::TempDir, Db) {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_sqlite(&folder.path().join("a.db")).await.unwrap();
        (folder, db)
    }

    async fn change(db: &Db, sql: &'static str) {
        let mut tx = db.begin().await.unwrap();
        assert_eq!(execute!(&mut tx, sql).unwrap(), 1, "{sql}");
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn what_is_pending_is_told_until_it_is_applied() {
        let (_folder, db) = empty().await;
        let all: Vec<String> =
            MIGRATIONS.iter().map(|(version, name, _)| format!("{version:04}_{name}")).collect();
        assert_eq!(db.schema().await.unwrap(), Schema { applied: 0, pending: all.clone() });
        assert_eq!(db.migrate().await.unwrap(), all);
        assert_eq!(db.schema().await.unwrap(), Schema { applied: all.len(), pending: vec![] });
        assert!(db.migrate().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_newer_programs_database_is_left_alone() {
        let (_folder, db) = empty().await;
        db.migrate().await.unwrap();
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (9999, 'later', TRUE, X'00', 0)";
        change(&db, newer).await;
        for refused in [db.schema().await.map(drop), db.migrate().await.map(drop)] {
            assert!(matches!(refused, Err(DbError::Newer(9999))), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_migration_that_was_another_is_noticed() {
        let (_folder, db) = empty().await;
        db.migrate().await.unwrap();
        change(&db, "UPDATE _sqlx_migrations SET checksum = X'00' WHERE version = 1").await;
        let refused = db.schema().await;
        let changed = matches!(&refused, Err(DbError::Migrate(MigrateError::VersionMismatch(1))));
        assert!(changed, "{refused:?}");
    }

    /// A ledger as the first release left it, with open uploads in it.
    const ROWS: &str = "
        INSERT INTO users (id, created_at) VALUES ('alice', 1);
        INSERT INTO images (id, owner_id, state, deadline, created_at) VALUES
            ('01890000-0000-7000-8000-000000000001', 'alice', 'reserved', 9, 1),
            ('01890000-0000-7000-8000-000000000002', 'alice', 'deleted', NULL, 1);
        INSERT INTO uploads (image_id, owner_id, method, incoming_key, content_type, bytes, sha256, granted_until)
        VALUES
            ('01890000-0000-7000-8000-000000000001', 'alice', 'post',
             '0123456789abcdef0123456789abcdef01234567', 'image/png', 7, NULL, 8),
            ('01890000-0000-7000-8000-000000000002', 'alice', 'put',
             '0123456789abcdef0123456789abcdef01234568', 'image/jpeg', 9, 'ab', 5);";

    /// A database that has had so many migrations, and then these rows, and then the others.
    async fn grown(migrations: usize, rows: &'static str) -> (tempfile::TempDir, Db) {
        let (folder, db) = empty().await;
        let Pools::Sqlite { write, .. } = &db.pools else { unreachable!("SQLite was opened") };
        let mut first = migrator();
        first.migrations.to_mut().truncate(migrations);
        first.run(write).await.unwrap();
        sqlx::raw_sql(rows).execute(write).await.unwrap();
        db.migrate().await.unwrap();
        db.migrate().await.unwrap();
        (folder, db)
    }

    #[tokio::test]
    async fn images_of_a_ledger_without_placeholders_have_none() {
        let rows = "
            INSERT INTO users (id, created_at) VALUES ('alice', 1);
            INSERT INTO blobs (key, owner_id, state, deadline, sha256, content_type, bytes, width, height, frames,
                               created_at)
            VALUES ('0123456789abcdef0123456789abcdef01234567', 'alice', 'live', NULL, 'ab', 'image/png', 7, 3, 2, 1,
                    1);
            INSERT INTO images (id, owner_id, state, deadline, blob_key, created_at)
            VALUES ('01890000-0000-7000-8000-000000000001', 'alice', 'ready', NULL,
                    '0123456789abcdef0123456789abcdef01234567', 1);";
        let (_folder, db) = grown(3, rows).await;
        let image = ImageId::parse("01890000-0000-7000-8000-000000000001").unwrap();
        let found = images::get(&mut db.read().await.unwrap(), image).await.unwrap().unwrap();
        assert_eq!((found.bytes, found.width, found.height), (7, 3, 2));
        assert_eq!((found.thumbhash, found.dominant_color), (None, None));
    }

    #[tokio::test]
    async fn a_ledger_of_the_first_release_keeps_its_uploads() {
        let (_folder, db) = grown(1, ROWS).await;
        let mut tx = db.begin().await.unwrap();
        let alice = UserId::parse("alice").unwrap();
        let kept = uploads::of_user(&mut tx, &alice, 10).await.unwrap();
        let kept: Vec<_> = kept.iter().map(|u| (u.method, u.bytes, u.granted_until_micros)).collect();
        assert_eq!(kept, [(Method::Post, 7, 8), (Method::Put, 9, 5)]);
        let second = ImageId::parse("01890000-0000-7000-8000-000000000002").unwrap();
        let upload = uploads::get(&mut tx, second, &alice).await.unwrap().unwrap();
        let Landing::Incoming(promised) = upload.landing else { unreachable!("it was presigned") };
        assert_eq!(promised.key.as_str(), "0123456789abcdef0123456789abcdef01234568");
        assert_eq!((promised.format, promised.sha256.as_deref()), (Format::Jpeg, Some("ab")));
        // What was due is due, and can be forgotten.
        let due = uploads::due(&mut tx, 10, 10).await.unwrap();
        assert_eq!(due.iter().map(|upload| upload.image).collect::<Vec<_>>(), [second]);
        uploads::forget(&mut tx, second).await.unwrap();
        assert_eq!(uploads::of_user(&mut tx, &alice, 10).await.unwrap().len(), 1);
    }
}
