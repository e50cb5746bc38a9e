//! The migrations, forward only, in order, built into the program.

use sqlx::{
    SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

/// Version, name and text of each; a released one never changes.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "ledger", include_str!("migrations/0001_ledger.sql")),
    (3, "idempotency", include_str!("migrations/0003_idempotency.sql")),
];

/// What brings a database up to date.
///
/// Put together by hand because sqlx's `migrate!` needs its macros, which build SQLite a second time.
pub(super) fn migrator() -> Migrator {
    let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator { migrations: MIGRATIONS.iter().map(migration).collect(), ..Migrator::DEFAULT }
}
