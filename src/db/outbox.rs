//! The outbox: which edges are still to be told that an image was narrowed or is gone.
//!
//! `narrowed` is the one place where purges are written, by whatever steps an image's epoch, in the same
//! transaction; `erased` does the same for all images of a user. A purge is claimed for a time by one statement, so
//! that several nodes may be at the same outbox; who dies with one leaves it to be claimed again.

use tokio::sync::watch;

use super::{Conn, Db, DbError, query::parsed};
use crate::{
    clock,
    id::{ImageId, UserId},
    spelled::spelled,
};

/// The longest failure that is kept, in characters.
const MAX_ERROR_CHARS: usize = 300;

/// Why an image is to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Fewer may see it.
    Narrowed,
    /// Its links were revoked.
    Revoked,
    /// It is held back.
    Held,
    /// It was deleted.
    Deleted,
    /// Nothing used it until its deadline.
    Expired,
    /// Its owner is erased.
    Erased,
}

spelled!(Reason {
    Narrowed = "narrowed",
    Revoked = "revoked",
    Held = "held",
    Deleted = "deleted",
    Expired = "expired",
    Erased = "erased",
});

/// How far an edge was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not yet.
    First,
    /// Once; it is told again when no answer from before the change can be under way any longer.
    Again,
    /// It was given up.
    Dead,
}

spelled!(State { First = "first", Again = "again", Dead = "dead" });

/// One edge's purge of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeRow {
    /// Which edge.
    pub target: String,
    /// Which image.
    pub image: ImageId,
    /// Its epoch since the change.
    pub epoch: i64,
    /// Why.
    pub reason: Reason,
    /// How far the edge was told.
    pub state: State,
    /// When it is tried next, in microseconds since the Unix epoch; `None` when it was given up.
    pub due_micros: Option<i64>,
    /// How often it was tried in this state.
    pub attempts: i64,
    /// Since when it is in this state, likewise; a claim or a failure changes nothing of that.
    pub since_micros: i64,
    /// What the last failure was.
    pub last_error: Option<String>,
    /// When the image was changed, likewise.
    pub created_micros: i64,
}

/// Who is to be told, and who waits for something to tell.
#[derive(Debug)]
pub(super) struct Outbox {
    targets: Vec<String>,
    written: watch::Sender<()>,
}

impl Outbox {
    pub(super) fn to(targets: Vec<String>) -> Self {
        Self { targets, written: watch::Sender::new(()) }
    }

    /// Wakes up who waits in this process.
    pub(super) fn wake(&self) {
        self.written.send_replace(());
    }
}

impl Db {
    /// The same ledger, which writes purges for these edges.
    #[must_use]
    pub fn telling(self, targets: Vec<String>) -> Self {
        Self { outbox: Outbox::to(targets).into(), ..self }
    }

    /// Changes whenever this process has written purges.
    pub fn purges_written(&self) -> watch::Receiver<()> {
        self.outbox.written.subscribe()
    }
}

/// Writes the purges of an image that was narrowed to this epoch, if there are edges.
pub(super) async fn narrowed(
    conn: &mut Conn,
    image: ImageId,
    epoch: i64,
    reason: Reason,
) -> Result<(), DbError> {
    let outbox = conn.outbox.clone();
    for target in &outbox.targets {
        execute!(
            conn,
            "INSERT INTO purges (target, image_id, epoch, reason, state, due_at, since, created_at)
             VALUES ($1, $2, $3, $4, 'first', $5, $5, $5) ON CONFLICT (target, image_id, epoch) DO NOTHING",
            target.as_str(),
            image.to_string(),
            epoch,
            reason.as_str(),
            // When it is written, and not when the request came: how long edges lag is measured from here.
            clock::now_micros()
        )?;
        conn.has_purges = true;
    }
    Ok(())
}

/// Whether a narrowing writes anything.
pub(super) fn is_any(conn: &Conn) -> bool {
    !conn.outbox.targets.is_empty()
}

/// The same for all ready images of a user who is being erased, with the epochs that they get when they are deleted:
/// nobody sees them from this transaction on, and it waits for no lock of theirs. A narrowing beside it may have
/// written the same epoch, and told the edge before this counts: it is told anew. How many were written.
pub(super) async fn erased(conn: &mut Conn, user: &UserId) -> Result<u64, DbError> {
    let (outbox, mut written) = (conn.outbox.clone(), 0);
    for target in &outbox.targets {
        written += execute!(
            conn,
            "INSERT INTO purges (target, image_id, epoch, reason, state, due_at, since, created_at)
             SELECT $1, id, epoch + 1, 'erased', 'first', $3, $3, $3 FROM images WHERE owner_id = $2 AND state = 'ready'
             ON CONFLICT (target, image_id, epoch) DO UPDATE
             SET reason = 'erased', state = 'first', due_at = $3, since = $3, attempts = 0, leased_until = NULL",
            target.as_str(),
            user.as_str(),
            clock::now_micros()
        )?;
    }
    conn.has_purges |= written > 0;
    Ok(written)
}

/// How many purges of a user's images are left, those that were given up among them.
pub async fn left_of_user(conn: &mut Conn, user: &UserId) -> Result<i64, DbError> {
    let sql = "SELECT COUNT(*) FROM purges p JOIN images i ON i.id = p.image_id WHERE i.owner_id = $1";
    Ok(one!(conn, (i64,), sql, user.as_str())?.0)
}

type PurgeTuple = (String, String, i64, String, String, Option<i64>, i64, i64, Option<String>, i64);

macro_rules! columns {
    () => {
        "target, image_id, epoch, reason, state, due_at, attempts, since, last_error, created_at"
    };
}

/// Of one image an edge is told in the order of its epochs: what was not told yet keeps what came later waiting.
macro_rules! claim {
    ($locked:literal) => {
        concat!(
            // Materialised, so that the limit holds whatever the database makes of the rest.
            "WITH picked AS MATERIALIZED (
                SELECT image_id, epoch FROM purges p
                WHERE target = $1 AND due_at <= $2 AND (leased_until IS NULL OR leased_until <= $2)
                  AND NOT EXISTS (
                    SELECT 1 FROM purges earlier WHERE earlier.target = p.target AND earlier.image_id = p.image_id
                       AND earlier.epoch < p.epoch AND earlier.state = 'first')
                ORDER BY due_at LIMIT $4 ",
            $locked,
            ")
             UPDATE purges SET leased_until = $3, attempts = attempts + 1
             WHERE target = $1 AND (image_id, epoch) IN (SELECT image_id, epoch FROM picked) RETURNING ",
            columns!()
        )
    };
}

/// Whether there may be something to claim for one edge; nothing is locked for the question.
pub async fn is_due(conn: &mut Conn, target: &str, now_micros: i64) -> Result<bool, DbError> {
    let row = optional!(
        conn,
        (i64,),
        "SELECT CAST(1 AS BIGINT) FROM purges
         WHERE target = $1 AND due_at <= $2 AND (leased_until IS NULL OR leased_until <= $2) LIMIT 1",
        target,
        now_micros
    )?;
    Ok(row.is_some())
}

/// Takes purges that are due for one edge, until `until_micros`, in the order in which they are to be told.
pub async fn claim(
    conn: &mut Conn,
    target: &str,
    now_micros: i64,
    until_micros: i64,
    limit: i64,
) -> Result<Vec<PurgeRow>, DbError> {
    // What another node is just claiming is not waited for. SQLite has one writer.
    let sql = if conn.is_sqlite() { claim!("") } else { claim!("FOR UPDATE SKIP LOCKED") };
    let rows = all!(conn, PurgeTuple, sql, target, now_micros, until_micros, limit)?;
    let mut rows = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    rows.sort_by_key(|row| (row.due_micros, row.epoch));
    Ok(rows)
}

/// Notes that an edge was told: for the first time, then it is told again at `again_micros`; else it is over.
pub async fn delivered(
    conn: &mut Conn,
    row: &PurgeRow,
    now_micros: i64,
    again_micros: i64,
) -> Result<(), DbError> {
    let (target, image, epoch) = (row.target.as_str(), row.image.to_string(), row.epoch);
    // Whoever lost his lease has told the edge all the same.
    if row.state == State::First {
        execute!(
            conn,
            "UPDATE purges SET state = 'again', due_at = $4, since = $4, leased_until = NULL, attempts = 0,
                               last_error = NULL
             WHERE target = $1 AND image_id = $2 AND epoch = $3 AND state = 'first' AND since <= $5",
            target,
            image,
            epoch,
            again_micros,
            now_micros
        )?;
    } else {
        execute!(
            conn,
            "DELETE FROM purges WHERE target = $1 AND image_id = $2 AND epoch = $3 AND state = 'again'",
            target,
            image,
            epoch
        )?;
    }
    Ok(())
}

/// Notes that an edge could not be told; it is tried again at `due_micros`, or is given up if there is none.
pub async fn failed(
    conn: &mut Conn,
    row: &PurgeRow,
    error: &str,
    due_micros: Option<i64>,
) -> Result<(), DbError> {
    let error: String = error.chars().filter(|c| *c != '\0').take(MAX_ERROR_CHARS).collect();
    execute!(
        conn,
        "UPDATE purges SET due_at = $5, leased_until = NULL, last_error = $6,
                           state = CASE WHEN CAST($5 AS BIGINT) IS NULL THEN 'dead' ELSE state END
         WHERE target = $1 AND image_id = $2 AND epoch = $3 AND state = $4",
        row.target.as_str(),
        row.image.to_string(),
        row.epoch,
        row.state.as_str(),
        due_micros,
        error
    )?;
    Ok(())
}

/// An edge answers again: what failed before is due at once.
pub async fn hurry(conn: &mut Conn, target: &str, now_micros: i64) -> Result<u64, DbError> {
    execute!(
        conn,
        "UPDATE purges SET due_at = $2
         WHERE target = $1 AND due_at > $2 AND attempts > 0 AND leased_until IS NULL",
        target,
        now_micros
    )
}

/// Sends again what was given up, and at once what waits after a failure: of one edge, or of all. How many.
pub async fn retry(conn: &mut Conn, target: Option<&str>, now_micros: i64) -> Result<u64, DbError> {
    conn.has_purges = true;
    execute!(
        conn,
        "UPDATE purges SET due_at = $2, leased_until = NULL, attempts = 0,
                since = CASE WHEN state = 'dead' THEN $2 ELSE since END,
                state = CASE WHEN state = 'dead' THEN 'first' ELSE state END
         WHERE ($1 = '' OR target = $1) AND (state = 'dead' OR (attempts > 0 AND leased_until IS NULL))",
        target.unwrap_or_default(),
        now_micros
    )
}

/// Forgets whatever an edge was to be told that is no more. How many.
pub async fn forget(conn: &mut Conn, target: &str) -> Result<u64, DbError> {
    execute!(conn, "DELETE FROM purges WHERE target = $1", target)
}

/// What is in the outbox, what is longest in it first; `dead` limits it to what was given up, or to what was not.
pub async fn list(conn: &mut Conn, dead: bool, limit: i64) -> Result<Vec<PurgeRow>, DbError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM purges WHERE (state = 'dead') = $1 ORDER BY created_at, target LIMIT $2"
    );
    all!(conn, PurgeTuple, sql, dead, limit)?.into_iter().map(read).collect()
}

/// How much is in the outbox for one edge in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Which edge.
    pub target: String,
    /// How far it was told.
    pub state: State,
    /// How many purges.
    pub purges: i64,
    /// When the image of the oldest was changed, in microseconds since the Unix epoch.
    pub oldest_micros: i64,
}

/// How much is in the outbox.
pub async fn depths(conn: &mut Conn) -> Result<Vec<Depth>, DbError> {
    let rows = all!(
        conn,
        (String, String, i64, i64),
        "SELECT target, state, COUNT(*), MIN(created_at) FROM purges GROUP BY target, state ORDER BY target, state"
    )?;
    let depth = |(target, state, purges, oldest_micros): (String, String, i64, i64)| {
        Ok(Depth { target, state: parsed("state of a purge", &state, State::parse)?, purges, oldest_micros })
    };
    rows.into_iter().map(depth).collect()
}

fn read(row: PurgeTuple) -> Result<PurgeRow, DbError> {
    let (target, image, epoch, reason, state, due_micros, attempts, since_micros, last_error, created_micros) =
        row;
    Ok(PurgeRow {
        target,
        image: parsed("image id", &image, ImageId::parse)?,
        epoch,
        reason: parsed("reason of a purge", &reason, Reason::parse)?,
        state: parsed("state of a purge", &state, State::parse)?,
        due_micros,
        attempts,
        since_micros,
        last_error,
        created_micros,
    })
}
