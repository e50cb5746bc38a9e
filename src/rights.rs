//! What decisions rest on, remembered for a moment, so that a view asks the ledger once a second and not
//! every time.
//!
//! Everything is kept under the number of its [`Generations`](crate::db::Generations): a change in this
//! process counts for the very next request, one in another as soon as PostgreSQL tells of it, and, should
//! nobody tell, once what is remembered is too old. Concurrent questions about one thing are one query.
//! What is not there is remembered likewise. An error never is, and grants nothing. What is still asked for when
//! three quarters of its time are over is asked for anew by one of those who do, before it is too old.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use moka::future::Cache;
use tokio::time::timeout;

use crate::{
    access::{Audience, Facts, Scopes},
    config,
    db::{Db, DbError, facts, rules, service_keys, users},
    id::{ImageId, UserId},
    wait::Wait,
};

/// How long the ledger may take. Whoever waits for an answer that somebody else asked for gets one that is no
/// older than this.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// Answers by what was asked.
type Remembered<K, T> = Cache<K, Known<T>, RandomState>;

/// The ledger's answers to what decisions ask; cheap to clone.
#[derive(Clone, Debug)]
pub struct Rights {
    db: Db,
    images: Remembered<(ImageId, u64), Option<Arc<Facts>>>,
    following: Remembered<(UserId, UserId, u64), bool>,
    alive: Remembered<(UserId, u64), Option<bool>>,
    keys: Remembered<(String, u64), Option<Scopes>>,
    /// Where the app decides: whether somebody may see a restricted image.
    allowed: Remembered<(UserId, ImageId, u64), bool>,
    max_age: Duration,
}

/// An answer, and when the ledger was asked for it.
#[derive(Clone, Debug)]
struct Known<T> {
    answer: T,
    asked: Instant,
    renewal: Arc<Renewal>,
}

impl<T> Known<T> {
    fn new(answer: T, asked: Instant) -> Self {
        Self { answer, asked, renewal: Arc::default() }
    }
}

/// Who asks anew for an answer that is soon to be too old: one of all who ask, so that the others never wait
/// for the ledger while something is asked for all the time.
#[derive(Debug, Default)]
struct Renewal(AtomicU8);

impl Renewal {
    /// Somebody who may not wait goes to where he may.
    const CLAIMED: u8 = 1;
    /// The ledger is being asked.
    const BEGUN: u8 = 2;

    /// True for one who may not wait, and then for one who may.
    fn is_mine(&self, wait: Wait) -> bool {
        let step = match wait {
            Wait::MayNot => Self::CLAIMED,
            Wait::May => Self::BEGUN,
        };
        self.0.fetch_max(step, Ordering::Relaxed) < step
    }
}

impl Rights {
    /// Remembers nothing yet.
    pub fn new(db: Db, settings: &config::Cache) -> Self {
        let max_age = Duration::from_millis(settings.facts_millis);
        Self {
            db,
            images: cache(settings.facts_entries, max_age),
            following: cache(settings.facts_entries, max_age),
            alive: cache(settings.facts_entries, max_age),
            keys: cache(settings.facts_entries, max_age),
            allowed: cache(settings.facts_entries, max_age),
            max_age,
        }
    }

    /// What a decision about an image needs: its facts, and whether `viewer` follows its owner, where
    /// that matters.
    pub async fn of_image(
        &self,
        image: ImageId,
        viewer: Option<&UserId>,
        wait: Wait,
    ) -> Result<Option<(Arc<Facts>, bool)>, DbError> {
        let key = (image, self.db.generations().of_image(image));
        // Whoever asks the ledger himself is told both at once.
        let mut told = None;
        let ask = async || {
            let found = facts::of_image(&mut self.db.read().await?, image, viewer).await?;
            let Some((facts, follows)) = found else { return Ok(None) };
            told = Some(follows);
            Ok(Some(Arc::new(facts)))
        };
        let Some(facts) = self.known(&self.images, key, ask, wait).await? else { return Ok(None) };
        let follows = match (viewer, told) {
            (_, Some(follows)) => follows,
            (Some(viewer), None) if facts.audience == Audience::Followers && *viewer != facts.owner => {
                self.is_allowed(viewer, &facts, wait).await?
            }
            _ => false,
        };
        Ok(Some((facts, follows)))
    }

    /// Whether a viewer is among those who may see an image that is not for everybody.
    async fn is_allowed(&self, viewer: &UserId, facts: &Facts, wait: Wait) -> Result<bool, DbError> {
        if !self.db.rules().are_the_apps() {
            return self.follows(viewer, &facts.owner, wait).await;
        }
        let (image, generations) = (facts.image, self.db.generations());
        // The app may well decide by whom pinhole knows to follow whom. Both only ever grow.
        let number = generations.of_image(image) + generations.of_following(viewer, &facts.owner);
        let key = (viewer.clone(), image, number);
        let ask = async || rules::is_allowed(&mut self.db.read().await?, image, viewer).await;
        self.known(&self.allowed, key, ask, wait).await
    }

    /// Whether one user follows another.
    async fn follows(&self, follower: &UserId, followee: &UserId, wait: Wait) -> Result<bool, DbError> {
        let number = self.db.generations().of_following(follower, followee);
        let key = (follower.clone(), followee.clone(), number);
        let ask = async || users::follows(&mut self.db.read().await?, follower, followee).await;
        self.known(&self.following, key, ask, wait).await
    }

    /// Whether a user is known and not erased; `None` when he was never seen.
    pub async fn is_alive(&self, user: &UserId, wait: Wait) -> Result<Option<bool>, DbError> {
        let key = (user.clone(), self.db.generations().of_everything());
        let ask = async || users::is_alive(&mut self.db.read().await?, user).await;
        self.known(&self.alive, key, ask, wait).await
    }

    /// What the service key with this hash is good for; `None` when it is none, or is retired.
    pub async fn of_key(&self, hash: &str, wait: Wait) -> Result<Option<Scopes>, DbError> {
        let key = (hash.to_owned(), self.db.generations().of_everything());
        let ask = async || service_keys::scopes(&mut self.db.read().await?, hash).await;
        self.known(&self.keys, key, ask, wait).await
    }

    /// What is remembered, or what the ledger says; whoever asks meanwhile waits for the same answer.
    async fn known<K, T>(
        &self,
        cache: &Remembered<K, T>,
        key: K,
        ask: impl AsyncFnOnce() -> Result<T, DbError>,
        wait: Wait,
    ) -> Result<T, DbError>
    where
        K: Hash + Eq + Clone + Send + Sync + 'static,
        T: Clone + Send + Sync + 'static,
    {
        if let Some(known) = cache.get(&key).await {
            let age = known.asked.elapsed();
            if age < self.max_age {
                if age < self.max_age / 4 * 3 || !known.renewal.is_mine(wait) {
                    return Ok(known.answer);
                }
                wait.begin().await;
                let now = Instant::now();
                // Should the ledger not tell in time, the answer that is known still counts.
                return Ok(match Box::pin(timeout(self.max_age.saturating_sub(age), ask())).await {
                    Ok(Ok(answer)) => {
                        cache.insert(key, Known::new(answer.clone(), now)).await;
                        answer
                    }
                    _ => known.answer,
                });
            }
            wait.begin().await;
            // The cache counts from when the answer came. It may have been long in coming.
            cache.invalidate(&key).await;
        }
        wait.begin().await;
        let now = Instant::now();
        // Boxed: the cache moves it about, and a query is a large thing.
        let fill = Box::pin(async {
            let answer = timeout(PATIENCE, ask()).await.map_err(|_| DbError::TookTooLong)??;
            Ok(Known::new(answer, now))
        });
        // Boxed as well, so that whoever finds what he needs in memory does not carry it about.
        let filled = Box::pin(cache.try_get_with(key, fill)).await;
        Ok(filled.map_err(DbError::Shared)?.answer)
    }
}

fn cache<K, T>(entries: u64, max_age: Duration) -> Remembered<K, T>
where
    K: Hash + Eq + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(entries).time_to_live(max_age).build_with_hasher(RandomState::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_all_renews() {
        let renewal = Renewal::default();
        // The first on a connection's thread goes to a worker, and is let do it there.
        assert!(renewal.is_mine(Wait::MayNot));
        assert!(!renewal.is_mine(Wait::MayNot));
        assert!(renewal.is_mine(Wait::May));
        assert!(!renewal.is_mine(Wait::May));
        assert!(!renewal.is_mine(Wait::MayNot));
    }
}
