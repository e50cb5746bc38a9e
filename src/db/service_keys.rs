//! Keys that services authenticate with: hashed, scoped, retirable.

use super::{Change, Conn, DbError};
use crate::{access::Scopes, id::KeyId};

/// A key as stored.
#[derive(Clone, Debug)]
pub struct ServiceKeyRow {
    /// What names it, to people and to [`retire`].
    pub id: KeyId,
    /// What its operator called it.
    pub name: String,
    /// What it is good for.
    pub scopes: Scopes,
    /// When it was made, in microseconds since the Unix epoch.
    pub created_micros: i64,
    /// When it was retired, likewise.
    pub retired_micros: Option<i64>,
}

type KeyTuple = (String, String, String, i64, Option<i64>);

/// Takes in a new key, of which only the hash is ever known here.
pub async fn insert(conn: &mut Conn, key: &ServiceKeyRow, hash: &str) -> Result<(), DbError> {
    execute!(
        conn,
        "INSERT INTO service_keys (id, name, hash, scopes, created_at) VALUES ($1, $2, $3, $4, $5)",
        key.id.to_string(),
        key.name.as_str(),
        hash,
        key.scopes.to_string(),
        key.created_micros
    )?;
    // Somebody may have tried it a moment too early.
    conn.changes(Change::Everything);
    Ok(())
}

/// What the key with this hash is good for; `None` when there is none, or it is retired.
pub async fn scopes(conn: &mut Conn, hash: &str) -> Result<Option<Scopes>, DbError> {
    let sql = "SELECT scopes FROM service_keys WHERE hash = $1 AND retired_at IS NULL";
    let row = optional!(conn, (String,), sql, hash)?;
    row.map(|(scopes,)| scopes.parse().map_err(|_| DbError::Unknown("scopes", scopes))).transpose()
}

/// All keys, the oldest first, the retired ones included.
pub async fn list(conn: &mut Conn) -> Result<Vec<ServiceKeyRow>, DbError> {
    let sql = "SELECT id, name, scopes, created_at, retired_at FROM service_keys ORDER BY created_at, id LIMIT 10000";
    let rows = all!(conn, KeyTuple, sql)?;
    rows.into_iter()
        .map(|(id, name, scopes, created_micros, retired_micros)| {
            Ok(ServiceKeyRow {
                id: KeyId::parse(&id).ok_or_else(|| DbError::Unknown("key id", id.clone()))?,
                name,
                scopes: scopes.parse().map_err(|_| DbError::Unknown("scopes", scopes.clone()))?,
                created_micros,
                retired_micros,
            })
        })
        .collect()
}

/// Makes a key worthless for good. False when there is none that is in use.
pub async fn retire(conn: &mut Conn, id: KeyId, now_micros: i64) -> Result<bool, DbError> {
    let touched = execute!(
        conn,
        "UPDATE service_keys SET retired_at = $2 WHERE id = $1 AND retired_at IS NULL",
        id.to_string(),
        now_micros
    )?;
    conn.changes(Change::Everything);
    Ok(touched == 1)
}
