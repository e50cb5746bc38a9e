//! Requests with an idempotency key, as the ledger knows them: claimed, then answered or given back.
//!
//! A row without a status is a claim: somebody is at work on the request. With a status it is the
//! answer that he kept. Past its deadline a row counts for nothing, whichever it is: the next request
//! takes it over, or the sweeper takes it out.

use super::{Conn, DbError};
use crate::id::{ClaimId, UserId};

/// A request that may be repeated under its key.
#[derive(Clone, Debug)]
pub struct Keyed {
    /// Whose key it is.
    pub scope: String,
    /// The key, as the caller chose it.
    pub key: String,
    /// Whom the answer will be about.
    pub user: Option<UserId>,
    /// What is asked, as a SHA-256 in hexadecimal.
    pub fingerprint: String,
}

/// An answer that is kept, or to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The status code.
    pub status: i64,
    /// The headers, as JSON: a list of pairs of name and value.
    pub headers: String,
    /// The body.
    pub body: String,
}

/// Who has a key already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// What was asked under it, as a SHA-256 in hexadecimal.
    pub fingerprint: String,
    /// The answer, once there is one.
    pub kept: Option<Kept>,
}

/// Claims a key until the deadline. False when somebody has it; he is [`holder`], unless he has just
/// given it back.
pub async fn claim(
    conn: &mut Conn,
    keyed: &Keyed,
    claim: ClaimId,
    now_micros: i64,
    deadline_micros: i64,
) -> Result<bool, DbError> {
    let touched = execute!(
        conn,
        "INSERT INTO idempotency (scope, key, user_id, fingerprint, claim, deadline)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (scope, key) DO UPDATE SET
            fingerprint = excluded.fingerprint, claim = excluded.claim, deadline = excluded.deadline,
            status = NULL, headers = NULL, body = NULL
         WHERE idempotency.deadline <= $7",
        keyed.scope.as_str(),
        keyed.key.as_str(),
        keyed.user.as_ref().map(UserId::as_str),
        keyed.fingerprint.as_str(),
        claim.to_string(),
        deadline_micros,
        now_micros
    )?;
    Ok(touched == 1)
}

type HolderTuple = (String, Option<i64>, Option<String>, Option<String>);

/// Who has a key, if anybody does.
pub async fn holder(conn: &mut Conn, keyed: &Keyed) -> Result<Option<Holder>, DbError> {
    let row = optional!(
        conn,
        HolderTuple,
        "SELECT fingerprint, status, headers, body FROM idempotency WHERE scope = $1 AND key = $2",
        keyed.scope.as_str(),
        keyed.key.as_str()
    )?;
    Ok(row.map(|(fingerprint, status, headers, body)| Holder {
        fingerprint,
        kept: status.map(|status| Kept {
            status,
            headers: headers.unwrap_or_default(),
            body: body.unwrap_or_default(),
        }),
    }))
}

/// Keeps the answer until the deadline. False when the claim is another's by now, or the user was erased.
pub async fn keep(
    conn: &mut Conn,
    keyed: &Keyed,
    claim: ClaimId,
    kept: &Kept,
    deadline_micros: i64,
) -> Result<bool, DbError> {
    let touched = execute!(
        conn,
        "UPDATE idempotency SET status = $4, headers = $5, body = $6, deadline = $7
         WHERE scope = $1 AND key = $2 AND claim = $3",
        keyed.scope.as_str(),
        keyed.key.as_str(),
        claim.to_string(),
        kept.status,
        kept.headers.as_str(),
        kept.body.as_str(),
        deadline_micros
    )?;
    Ok(touched == 1)
}

/// Gives a claimed key back, for the next request. Nothing happens when the claim is another's by now.
pub async fn release(conn: &mut Conn, keyed: &Keyed, claim: ClaimId) -> Result<(), DbError> {
    execute!(
        conn,
        "DELETE FROM idempotency WHERE scope = $1 AND key = $2 AND claim = $3",
        keyed.scope.as_str(),
        keyed.key.as_str(),
        claim.to_string()
    )?;
    Ok(())
}

/// Takes out rows past their deadline, the oldest first; how many there were.
pub async fn forget_due(conn: &mut Conn, now_micros: i64, limit: i64) -> Result<u64, DbError> {
    // The deadline stands here twice, for a row that is taken over while this waits for it.
    execute!(
        conn,
        "DELETE FROM idempotency WHERE deadline <= $1 AND (scope, key) IN
            (SELECT scope, key FROM idempotency WHERE deadline <= $1 ORDER BY deadline LIMIT $2)",
        now_micros,
        limit
    )
}

/// How many rows [`forget_due`] would take out in all.
pub async fn count_due(conn: &mut Conn, now_micros: i64) -> Result<i64, DbError> {
    Ok(one!(conn, (i64,), "SELECT COUNT(*) FROM idempotency WHERE deadline <= $1", now_micros)?.0)
}

/// Takes out everything about a user who is being erased; his row must be locked, so that nothing is
/// claimed after it.
pub async fn forget_user(conn: &mut Conn, user: &UserId) -> Result<(), DbError> {
    execute!(conn, "DELETE FROM idempotency WHERE user_id = $1", user.as_str())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Db, erasures, users};

    const LEASE_MICROS: i64 = 100;
    const KEPT_MICROS: i64 = 1000;

    fn keyed(key: &str, user: &UserId) -> Keyed {
        Keyed {
            scope: format!("user {user}"),
            key: key.to_owned(),
            user: Some(user.clone()),
            fingerprint: "what was asked".to_owned(),
        }
    }

    fn answer(body: &str) -> Kept {
        Kept { status: 201, headers: "[]".to_owned(), body: body.to_owned() }
    }

    async fn ledger(folder: &std::path::Path) -> Db {
        let db = Db::open_sqlite(&folder.join("ledger.db")).await.unwrap();
        db.migrate().await.unwrap();
        db
    }

    /// What becomes of a key, from the first claim to the last; times are microseconds.
    async fn a_life(db: Db) {
        let alice = UserId::parse("alice").unwrap();
        let asked = keyed("key", &alice);
        let mut tx = db.begin().await.unwrap();
        users::ensure(&mut tx, &alice, 0).await.unwrap();
        let [first, second, third] = [(); 3].map(|()| ClaimId::new());

        // One has it, for as long as his lease.
        assert!(claim(&mut tx, &asked, first, 0, LEASE_MICROS).await.unwrap());
        assert!(!claim(&mut tx, &asked, second, LEASE_MICROS - 1, 500).await.unwrap());
        let holding = holder(&mut tx, &asked).await.unwrap().unwrap();
        assert_eq!((holding.fingerprint, holding.kept), (asked.fingerprint.clone(), None));
        assert!(holder(&mut tx, &keyed("another", &alice)).await.unwrap().is_none());
        // Then another takes it over, and the first can do nothing to it.
        assert!(claim(&mut tx, &asked, second, LEASE_MICROS, 500).await.unwrap());
        assert!(!keep(&mut tx, &asked, first, &answer("stale"), KEPT_MICROS).await.unwrap());
        release(&mut tx, &asked, first).await.unwrap();
        assert_eq!(holder(&mut tx, &asked).await.unwrap().unwrap().kept, None);
        // The answer outlives the lease, and is forgotten at its own deadline.
        assert!(keep(&mut tx, &asked, second, &answer("good"), KEPT_MICROS).await.unwrap());
        assert!(!claim(&mut tx, &asked, third, KEPT_MICROS - 1, 2000).await.unwrap());
        assert_eq!(holder(&mut tx, &asked).await.unwrap().unwrap().kept, Some(answer("good")));
        assert!(claim(&mut tx, &asked, third, KEPT_MICROS, 2000).await.unwrap());
        assert_eq!(holder(&mut tx, &asked).await.unwrap().unwrap().kept, None);
        // Given back, it is free.
        release(&mut tx, &asked, third).await.unwrap();
        assert_eq!(holder(&mut tx, &asked).await.unwrap(), None);

        // The sweeper takes what is over, so many at once, the oldest first.
        for deadline in 1..=5 {
            let one = keyed(&deadline.to_string(), &alice);
            assert!(claim(&mut tx, &one, ClaimId::new(), 0, deadline).await.unwrap());
        }
        assert_eq!(forget_due(&mut tx, 4, 3).await.unwrap(), 3);
        assert!(holder(&mut tx, &keyed("3", &alice)).await.unwrap().is_none());
        assert!(holder(&mut tx, &keyed("4", &alice)).await.unwrap().is_some());
        assert_eq!(
            (forget_due(&mut tx, 4, 3).await.unwrap(), forget_due(&mut tx, 4, 3).await.unwrap()),
            (1, 0)
        );

        // An erasure takes a user's, and nobody else's; who was at work keeps nothing.
        let (five, bob) = (keyed("5", &alice), UserId::parse("bob").unwrap());
        assert!(claim(&mut tx, &five, first, 5, 500).await.unwrap());
        users::ensure(&mut tx, &bob, 0).await.unwrap();
        let bobs = keyed("5", &bob);
        assert!(claim(&mut tx, &bobs, second, 5, 500).await.unwrap());
        erasures::begin(&mut tx, &alice, 6).await.unwrap();
        assert!(!keep(&mut tx, &five, first, &answer("late"), KEPT_MICROS).await.unwrap());
        assert!(holder(&mut tx, &five).await.unwrap().is_none());
        assert!(keep(&mut tx, &bobs, second, &answer("his"), KEPT_MICROS).await.unwrap());
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn only_who_holds_a_key_writes_to_it() {
        let folder = tempfile::tempdir().unwrap();
        a_life(ledger(folder.path()).await).await;
    }
}
