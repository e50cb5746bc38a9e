//! Hearing what other processes change: PostgreSQL's LISTEN.
//!
//! It makes others' changes known within milliseconds. What bounds how old anything may be that is
//! remembered is its age alone, so that nothing rests on a notification to come.

use std::{convert::Infallible, time::Duration};

use sqlx::{PgPool, postgres::PgListener};

use super::{Change, Db, Generations, Pools, changes};

/// How long it waits after the connection was lost before it asks for another.
const RETRY: Duration = Duration::from_millis(500);

impl Db {
    /// Hears of changes for as long as it runs. On SQLite there is no other process to hear of.
    pub async fn listen(&self) {
        let Pools::Postgres(pool) = &self.pools else { return };
        let mut is_told = false;
        loop {
            let Err(error) = hear(pool, &self.generations, &mut is_told).await;
            if !is_told {
                tracing::warn!("others' changes are not heard of at once, until PostgreSQL is back: {error}");
                is_told = true;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// `is_told` is whether the operator knows that nothing is heard; it is over once it listens.
async fn hear(
    pool: &PgPool,
    generations: &Generations,
    is_told: &mut bool,
) -> Result<Infallible, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(changes::CHANNEL).await?;
    *is_told = false;
    // What changed while nobody listened is not told again.
    generations.step(&Change::Everything);
    while let Some(told) = listener.try_recv().await? {
        for change in changes::read(told.payload()) {
            generations.step(&change);
        }
    }
    Err(sqlx::Error::Io(std::io::Error::other("the connection was lost")))
}
