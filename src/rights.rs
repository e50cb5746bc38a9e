//! What decisions rest on, remembered for a moment, so that a view asks the ledger once a second and not
//! every time.
//!
//! Everything is kept under the number of its [`Generations`](crate::db::Generations): a change in this
//! process counts for the very next request, one in another as soon as PostgreSQL tells of it, and, should
//! nobody tell, once what is remembered is too old. Concurrent questions about one thing are one query.
//! What is not there is remembered likewise. An error never is, and grants nothing. What is still asked for when
//! three quarters of its time are over is asked for anew behind the answer, before it is too old.

use std::{
    hash::Hash,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use moka::future::Cache;
use tokio::{runtime::Handle, time::timeout};

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
    /// Where what nobody waits for is asked.
    workers: Handle,
}

/// An answer, and when the ledger was asked for it.
#[derive(Clone, Debug)]
struct Known<T> {
    answer: T,
    asked: Instant,
    /// Whether it is being asked for anew: by one for all, so that nobody waits for the ledger while something is
    /// asked for all the time.
    is_renewed: Arc<AtomicBool>,
}

impl<T> Known<T> {
    fn new(answer: T, asked: Instant) -> Self {
        Self { answer, asked, is_renewed: Arc::default() }
    }

    /// Asks now.
    async fn ask(asking: impl Future<Output = Result<T, DbError>>) -> Result<Self, DbError> {
        let now = Instant::now();
        let answer = timeout(PATIENCE, asking).await.map_err(|_| DbError::TookTooLong)??;
        Ok(Self::new(answer, now))
    }
}

impl Rights {
    /// Remembers nothing yet; to be called on the runtime that the ledger's connections belong to.
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
            workers: Handle::current(),
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
        let ask = || {
            let (db, viewer) = (self.db.clone(), viewer.cloned());
            let tell = Arc::new(OnceLock::new());
            told = Some(Arc::clone(&tell));
            async move {
                let found = facts::of_image(&mut db.read().await?, image, viewer.as_ref()).await?;
                let Some((facts, follows)) = found else { return Ok(None) };
                // Told once.
                let _ = tell.set(follows);
                Ok(Some(Arc::new(facts)))
            }
        };
        let Some(facts) = self.known(&self.images, key, ask, wait).await? else { return Ok(None) };
        let follows = match (viewer, told.and_then(|told| told.get().copied())) {
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
        let ask = || {
            let (db, viewer) = (self.db.clone(), viewer.clone());
            async move { rules::is_allowed(&mut db.read().await?, image, &viewer).await }
        };
        self.known(&self.allowed, key, ask, wait).await
    }

    /// Whether one user follows another.
    async fn follows(&self, follower: &UserId, followee: &UserId, wait: Wait) -> Result<bool, DbError> {
        let number = self.db.generations().of_following(follower, followee);
        let key = (follower.clone(), followee.clone(), number);
        let ask = || {
            let (db, follower, followee) = (self.db.clone(), follower.clone(), followee.clone());
            async move { users::follows(&mut db.read().await?, &follower, &followee).await }
        };
        self.known(&self.following, key, ask, wait).await
    }

    /// Whether a user is known and not erased; `None` when he was never seen.
    pub async fn is_alive(&self, user: &UserId, wait: Wait) -> Result<Option<bool>, DbError> {
        let key = (user.clone(), self.db.generations().of_everything());
        let ask = || {
            let (db, user) = (self.db.clone(), user.clone());
            async move { users::is_alive(&mut db.read().await?, &user).await }
        };
        self.known(&self.alive, key, ask, wait).await
    }

    /// What the service key with this hash is good for; `None` when it is none, or is retired.
    pub async fn of_key(&self, hash: &str, wait: Wait) -> Result<Option<Scopes>, DbError> {
        let key = (hash.to_owned(), self.db.generations().of_everything());
        let ask = || {
            let (db, hash) = (self.db.clone(), hash.to_owned());
            async move { service_keys::scopes(&mut db.read().await?, &hash).await }
        };
        self.known(&self.keys, key, ask, wait).await
    }

    /// What is remembered, or what the ledger says; whoever asks meanwhile waits for the same answer.
    async fn known<K, T, F>(
        &self,
        cache: &Remembered<K, T>,
        key: K,
        ask: impl FnOnce() -> F,
        wait: Wait,
    ) -> Result<T, DbError>
    where
        K: Hash + Eq + Clone + Send + Sync + 'static,
        T: Clone + Send + Sync + 'static,
        F: Future<Output = Result<T, DbError>> + Send + 'static,
    {
        if let Some(known) = cache.get(&key).await {
            let age = known.asked.elapsed();
            if age < self.max_age {
                if age >= self.max_age / 4 * 3 && !known.is_renewed.swap(true, Ordering::Relaxed) {
                    self.renew(cache, key, ask());
                }
                return Ok(known.answer);
            }
            wait.begin().await;
            // The cache counts from when the answer came. It may have been long in coming.
            cache.invalidate(&key).await;
        }
        wait.begin().await;
        // Boxed: the cache moves it about, and a query is a large thing.
        let fill = Box::pin(Known::ask(ask()));
        // Boxed as well, so that whoever finds what he needs in memory does not carry it about.
        let filled = Box::pin(cache.try_get_with(key, fill)).await;
        Ok(filled.map_err(DbError::Shared)?.answer)
    }

    /// Asks for what is soon too old, and lets nobody wait for it. Should the ledger not tell in time, whoever
    /// then needs it asks himself.
    fn renew<K, T>(
        &self,
        cache: &Remembered<K, T>,
        key: K,
        asking: impl Future<Output = Result<T, DbError>> + Send + 'static,
    ) where
        K: Hash + Eq + Send + Sync + 'static,
        T: Clone + Send + Sync + 'static,
    {
        let cache = cache.clone();
        self.workers.spawn(async move {
            if let Ok(known) = Known::ask(asking).await {
                cache.insert(key, known).await;
            }
        });
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
    use std::sync::atomic::AtomicUsize;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_soon_too_old_is_asked_for_once_and_behind_the_answer() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_sqlite(&folder.path().join("a.db")).await.unwrap();
        let rights = Rights { max_age: Duration::from_mins(1), ..Rights::new(db, &config::Cache::default()) };
        let (key, asked) = ((UserId::parse("alice").unwrap(), 0), Arc::new(AtomicUsize::new(0)));
        let remembered = cache(10, rights.max_age);
        let ask = || {
            let asked = Arc::clone(&asked);
            async move {
                asked.fetch_add(1, Ordering::SeqCst);
                Ok("new")
            }
        };
        let look = async || rights.known(&remembered, key.clone(), ask, Wait::MayNot).await;

        let soon_too_old = Instant::now().checked_sub(Duration::from_secs(50)).unwrap();
        remembered.insert(key.clone(), Known::new("old", soon_too_old)).await;
        for _ in 0..3 {
            let answer = look().now_or_never().expect("nobody waits").unwrap();
            assert_eq!(answer, "old", "the ledger has not been asked yet");
        }
        while look().now_or_never().expect("nobody waits").unwrap() == "old" {
            tokio::task::yield_now().await;
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_is_too_old_is_not_answered() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_sqlite(&folder.path().join("a.db")).await.unwrap();
        let rights = Rights { max_age: Duration::from_mins(1), ..Rights::new(db, &config::Cache::default()) };
        let (key, remembered) = ((UserId::parse("alice").unwrap(), 0), cache(10, rights.max_age));
        let too_old = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        remembered.insert(key.clone(), Known::new("old", too_old)).await;
        let ask = async || Ok("new");
        assert!(rights.known(&remembered, key.clone(), ask, Wait::MayNot).now_or_never().is_none());
        assert_eq!(rights.known(&remembered, key, ask, Wait::May).await.unwrap(), "new");
    }
}
