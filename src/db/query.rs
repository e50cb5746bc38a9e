//! One query text on either database: the arms of every `match` that would otherwise be written out; and the text of
//! a column read as what it stands for.

use super::DbError;

/// Counts a call on a connection's `$link`, and takes its time.
macro_rules! timed {
    ($op:literal, $conn:expr, $link:ident, $call:expr) => {
        match &mut *($conn) {
            conn => {
                let begun = conn.calls.begin($op);
                let $link = &mut conn.link;
                let done = $call;
                begun.ended(if done.is_ok() {
                    $crate::metrics::calls::OK
                } else {
                    $crate::metrics::calls::FAILED
                });
                done
            }
        }
    };
}

/// Runs a statement and tells how many rows it touched.
macro_rules! execute {
    ($conn:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        timed!("execute", $conn, link, match link {
            $crate::db::Link::Sqlite(c) => execute!(@ sqlx::Sqlite, c, $sql $(, $bind)*),
            $crate::db::Link::SqliteTx(c) => execute!(@ sqlx::Sqlite, c, $sql $(, $bind)*),
            $crate::db::Link::Postgres(c) => execute!(@ sqlx::Postgres, c, $sql $(, $bind)*),
            $crate::db::Link::PostgresTx(c) => execute!(@ sqlx::Postgres, c, $sql $(, $bind)*),
        })
    };
    (@ $db:ty, $c:expr, $sql:expr $(, $bind:expr)*) => {
        sqlx::query::<$db>($sql)$(.bind($bind))*.execute(&mut **$c).await
            .map(|done| done.rows_affected()).map_err($crate::db::DbError::from)
    };
}

/// Reads rows with `$fetch` of sqlx.
macro_rules! rows {
    ($fetch:ident, $conn:expr, $row:ty, $sql:expr $(, $bind:expr)*) => {
        timed!("query", $conn, link, match link {
            $crate::db::Link::Sqlite(c) => rows!(@ $fetch, sqlx::Sqlite, c, $row, $sql $(, $bind)*),
            $crate::db::Link::SqliteTx(c) => rows!(@ $fetch, sqlx::Sqlite, c, $row, $sql $(, $bind)*),
            $crate::db::Link::Postgres(c) => rows!(@ $fetch, sqlx::Postgres, c, $row, $sql $(, $bind)*),
            $crate::db::Link::PostgresTx(c) => rows!(@ $fetch, sqlx::Postgres, c, $row, $sql $(, $bind)*),
        })
    };
    (@ $fetch:ident, $db:ty, $c:expr, $row:ty, $sql:expr $(, $bind:expr)*) => {
        sqlx::query_as::<$db, $row>($sql)$(.bind($bind))*.$fetch(&mut **$c).await
            .map_err($crate::db::DbError::from)
    };
}

/// Reads exactly one row.
macro_rules! one {
    ($conn:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => { rows!(fetch_one, $conn, $row, $sql $(, $bind)*) };
}

/// Reads one row or none.
macro_rules! optional {
    ($conn:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => { rows!(fetch_optional, $conn, $row, $sql $(, $bind)*) };
}

/// Reads all rows; the query itself must bound them.
macro_rules! all {
    ($conn:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => { rows!(fetch_all, $conn, $row, $sql $(, $bind)*) };
}

/// What a column's text stands for; `what` names it in the error, for a ledger that somebody else has written to.
pub(super) fn parsed<T>(
    what: &'static str,
    text: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, DbError> {
    parse(text).ok_or_else(|| DbError::Unknown(what, text.to_owned()))
}
