//! Tries the ledger: connection, schema, a write, the clock, and whether changes are heard of.

use std::time::Duration;

use super::{finding::Finding, tools::PATIENCE};
use crate::{
    cli::{look_at, open, require_there, serve},
    clock,
    config::{Config, Place},
    db::Db,
};

/// How far the database server's clock may be off, in microseconds.
const MAX_SKEW_MICROS: u64 = 1_000_000;
/// How long a change may be under way to another node.
const HEARD_WITHIN: Duration = Duration::from_secs(3);

const REACHED: &str = "database.reached";
const MIGRATIONS: &str = "database.migrations";
const RULES: &str = "database.rules";
const WRITE: &str = "database.write";
const CLOCK: &str = "database.clock";
const LISTEN: &str = "database.listen";

pub(super) async fn check(config: &Config, place: &Place) -> Vec<Finding> {
    if require_there(place).is_err() {
        let mend = "start pinhole serve once, which makes it, or mend database.url";
        return vec![Finding::fail(REACHED, format_args!("{place}: there is no such file"), mend)];
    }
    let db = match look_at(place).await {
        Ok(db) => db,
        Err(failure) => return vec![Finding::failure(REACHED, &failure.message)],
    };
    let mut found = match db.ping().await {
        Ok(()) => vec![Finding::pass(REACHED, place)],
        Err(error) => {
            return vec![Finding::fail(
                REACHED,
                format_args!("{place}: {error}"),
                "mend database.url, or the database",
            )];
        }
    };
    match db.schema().await {
        Ok(schema) if schema.pending.is_empty() => {
            found.push(Finding::pass(MIGRATIONS, format_args!("{} applied, none pending", schema.applied)));
            found.extend(rules(config, &db).await);
            found.push(write(place, &db).await);
        }
        Ok(schema) => {
            found.push(Finding::failure(MIGRATIONS, &serve::pending(place, &schema.pending)));
            found.push(Finding::skipped(WRITE, "there are pending migrations"));
        }
        Err(error) => {
            let mend = "run the pinhole that migrated it, or mend database.url";
            found.push(Finding::fail(MIGRATIONS, error, mend));
            found.push(Finding::skipped(WRITE, "it is not known what tables there are"));
        }
    }
    let (clock, listen) = tokio::join!(clock(&db), listen(&db));
    found.extend([clock, listen]);
    db.close().await;
    found
}

/// Whether the app's own rules can be asked.
async fn rules(config: &Config, db: &Db) -> Option<Finding> {
    config.rules.facts.as_ref()?;
    Some(match db.clone().judged_by(&config.rules).await {
        Ok(_) => Finding::pass(RULES, "the app's own rules can be asked"),
        Err(error) => {
            Finding::fail(RULES, error, "mend rules.facts and rules.allowed, or the views that they name")
        }
    })
}

async fn write(place: &Place, db: &Db) -> Finding {
    // What was opened to look at cannot be written.
    let for_writing = match place {
        Place::Sqlite(_) => match open(place).await {
            Ok(db) => db,
            Err(failure) => return Finding::failure(WRITE, &failure.message),
        },
        Place::Postgres(_) => db.clone(),
    };
    let tried = for_writing.try_write(clock::now_micros()).await;
    if matches!(place, Place::Sqlite(_)) {
        for_writing.close().await;
    }
    match tried {
        Ok(true) => Finding::pass(WRITE, "a row was written, and taken back"),
        Ok(false) => Finding::fail(
            WRITE,
            "a row that was taken back is there",
            "reach the database itself: something in between splits transactions",
        ),
        Err(error) => Finding::fail(
            WRITE,
            error,
            match place {
                Place::Sqlite(_) => "let this user write the file and its folder, and nobody keep it locked",
                Place::Postgres(_) => "name the primary, and a role that may write pinhole's tables",
            },
        ),
    }
}

async fn clock(db: &Db) -> Finding {
    let before = clock::now_micros();
    let theirs = match db.clock_micros().await {
        Ok(Some(micros)) => micros,
        Ok(None) => return Finding::skipped(CLOCK, "SQLite has this machine's clock"),
        Err(error) => return Finding::skipped(CLOCK, error),
    };
    let after = clock::now_micros();
    let off = apart_micros(before, theirs, after);
    if off <= MAX_SKEW_MICROS {
        return Finding::pass(CLOCK, "this machine and the database server agree to 1 s");
    }
    Finding::fail(
        CLOCK,
        format_args!("this machine's clock and the database server's are {} s apart", off / 1_000_000),
        "set the clock of whichever is wrong, by NTP: links and deadlines rest on those of all nodes",
    )
}

/// How far another clock is from ours, that was read between two moments of ours. Less than what the question itself
/// took is no difference.
fn apart_micros(before: i64, theirs: i64, after: i64) -> u64 {
    before.saturating_sub(theirs).max(theirs.saturating_sub(after)).max(0).unsigned_abs()
}

async fn listen(db: &Db) -> Finding {
    match tokio::time::timeout(PATIENCE, db.hears(HEARD_WITHIN)).await {
        Ok(Ok(Some(true))) => {
            Finding::pass(LISTEN, "what one connection tells another hears (LISTEN, NOTIFY)")
        }
        Ok(Ok(None)) => {
            Finding::skipped(LISTEN, "a SQLite file has one server, and nobody else who had to hear")
        }
        Ok(Ok(Some(false))) | Err(_) => Finding::fail(
            LISTEN,
            "what one connection tells no other hears (LISTEN, NOTIFY)",
            "reach PostgreSQL itself, or by a pooler in session mode: other nodes learn of changes a second late",
        ),
        Ok(Err(error)) => Finding::fail(LISTEN, error, "let this role LISTEN and NOTIFY"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_is_no_difference_of_clocks() {
        for (before, theirs, after, apart) in
            [(10, 10, 10, 0), (10, 15, 20, 0), (10, 9, 20, 1), (10, 25, 20, 5), (10, 20, 20, 0)]
        {
            assert_eq!(apart_micros(before, theirs, after), apart, "{before} {theirs} {after}");
        }
    }
}
