//! What requests to the bucket are signed with: keys that were set, or whatever the AWS SDK's chain
//! finds at the time.
//!
//! The SDK has a cache of its own, but tells nobody what is in it; grants are signed here, and must not
//! outlive what signed them. So the SDK and the grants both ask this one.
//!
//! What is still good is given out at once, and replaced on the side: nobody waits for the source of
//! credentials but who has none.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use aws_credential_types::provider::{error::CredentialsError, future};
use aws_sdk_s3::config::{Credentials as Signing, ProvideCredentials, SharedCredentialsProvider};
use tokio::{sync::Mutex, time::Instant};

use super::{StoreError, error::chain};
use crate::{clock, config::Secret};

/// Temporary credentials are replaced from so many seconds before they end, at the next use. The
/// readiness probe is one, so that what they sign lives for about as long at least.
const REFRESH_BEFORE_SECS: u64 = 5 * 60;
/// Credentials without an end are looked up again after so many seconds: a file may have changed.
const RECHECK_SECS: u64 = 15 * 60;
/// Seconds between attempts to replace what is still good.
const RETRY_SECS: u64 = 10;
/// How long the chain may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What requests are signed with; clones share what was found.
#[derive(Clone, Debug)]
pub struct Credentials(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The same as long as the program runs.
    Keys(Signing),
    /// What the SDK finds, kept until it is to be replaced.
    Chain(Arc<Chain>),
}

#[derive(Debug)]
struct Chain {
    provider: SharedCredentialsProvider,
    /// Locked for moments alone.
    held: Mutex<Option<Held>>,
    /// Locked by who is asking the provider.
    asking: Arc<Mutex<()>>,
}

#[derive(Clone, Debug)]
struct Held {
    signing: Signing,
    ask_again_micros: i64,
}

impl Credentials {
    /// These keys, with what a temporary key brings besides.
    pub fn keys(access_key_id: &str, secret_access_key: &Secret, session_token: Option<&Secret>) -> Self {
        let token = session_token.map(|token| token.expose().to_owned());
        Self(Source::Keys(Signing::new(
            access_key_id,
            secret_access_key.expose(),
            token,
            None,
            "pinhole settings",
        )))
    }

    /// What the AWS SDK's own chain finds, whatever the bucket is opened with. `None` if there is no chain, or it
    /// takes too long.
    pub async fn chain() -> Option<Self> {
        super::environment::load(None).await?.credentials_provider().map(Self::provided)
    }

    /// What this provider gives, asked again before it expires.
    pub fn provided(provider: SharedCredentialsProvider) -> Self {
        Self(Source::Chain(Arc::new(Chain { provider, held: Mutex::default(), asking: Arc::default() })))
    }

    /// What to sign with at a time, in microseconds since the Unix epoch.
    ///
    /// Whoever comes when there is nothing that is good waits, as long as the chain may take.
    pub async fn current(&self, now_micros: i64) -> Result<Signing, StoreError> {
        match &self.0 {
            Source::Keys(signing) => Ok(signing.clone()),
            Source::Chain(chain) => chain.current(now_micros).await,
        }
    }
}

impl Chain {
    async fn current(self: &Arc<Self>, now_micros: i64) -> Result<Signing, StoreError> {
        let held = self.held.lock().await.clone().filter(|held| held.is_good(now_micros));
        let Some(held) = held else {
            let _asking = self.asking.lock().await;
            return self.replace(now_micros).await;
        };
        if now_micros >= held.ask_again_micros
            && let Ok(asking) = Arc::clone(&self.asking).try_lock_owned()
        {
            let chain = Arc::clone(self);
            tokio::spawn(async move {
                // A failure is logged while what is held is good, and met by whoever asks next after that.
                let _ = chain.replace(now_micros).await;
                drop(asking);
            });
        }
        Ok(held.signing)
    }

    /// Asks the provider, unless somebody else has just done so. The caller holds `asking`.
    async fn replace(&self, now_micros: i64) -> Result<Signing, StoreError> {
        let held = self.held.lock().await.clone().filter(|held| held.is_good(now_micros));
        if let Some(held) = held
            && now_micros < held.ask_again_micros
        {
            return Ok(held.signing);
        }
        let asked = Instant::now();
        let found = self.load().await;
        // The provider may have taken longer than it is to be left alone after a failure.
        let waited_micros = i64::try_from(asked.elapsed().as_micros()).unwrap_or(i64::MAX);
        let now_micros = now_micros.saturating_add(waited_micros);
        match (found, &mut *self.held.lock().await) {
            (Ok(signing), held) => {
                let ask_again_micros = ask_again(expiry_micros(&signing), now_micros);
                *held = Some(Held { signing: signing.clone(), ask_again_micros });
                Ok(signing)
            }
            // An outage of what gives them out is none of ours before they end.
            (Err(error), Some(held)) if held.is_good(now_micros) => {
                tracing::warn!("the credentials are used on: {error}");
                held.ask_again_micros = clock::after(now_micros, RETRY_SECS);
                Ok(held.signing.clone())
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn load(&self) -> Result<Signing, StoreError> {
        let asked = tokio::time::timeout(LOAD_TIMEOUT, self.provider.provide_credentials());
        match asked.await {
            Ok(found) => found.map_err(|error| StoreError::Credentials(chain(&error))),
            Err(_) => Err(StoreError::Credentials(format!("none were found within {LOAD_TIMEOUT:?}"))),
        }
    }
}

impl Held {
    fn is_good(&self, now_micros: i64) -> bool {
        expiry_micros(&self.signing).is_none_or(|end| end > now_micros)
    }
}

/// When to ask again for what ends then, if it ends.
fn ask_again(expiry_micros: Option<i64>, now_micros: i64) -> i64 {
    expiry_micros.map_or(clock::after(now_micros, RECHECK_SECS), |end| {
        // Some are given out shorter than that, and must not be asked for at every request.
        clock::before(end, REFRESH_BEFORE_SECS).max(clock::after(now_micros, RETRY_SECS)).min(end)
    })
}

fn expiry_micros(signing: &Signing) -> Option<i64> {
    let since_1970 = signing.expiry()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX))
}

impl ProvideCredentials for Credentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.current(clock::now_micros()).await.map_err(CredentialsError::provider_error)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;

    fn secs(n: i64) -> i64 {
        n * 1_000_000
    }

    /// Gives out keys that live for so many seconds after `NOW`, once a number, and then nothing.
    #[derive(Clone, Debug)]
    struct Issuer {
        lives_secs: &'static [u64],
        asked: Arc<AtomicU64>,
    }

    impl ProvideCredentials for Issuer {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let nth = self.asked.fetch_add(1, Ordering::Relaxed);
            let life = self.lives_secs.get(usize::try_from(nth).unwrap());
            future::ProvideCredentials::ready(match life {
                Some(life) => {
                    let end = UNIX_EPOCH + Duration::from_micros(NOW.try_into().unwrap());
                    let end = end + Duration::from_secs(*life);
                    Ok(Signing::new(format!("AKID{nth}"), "secret", None, Some(end), "test"))
                }
                None => Err(CredentialsError::not_loaded("nothing here")),
            })
        }
    }

    fn issued(lives_secs: &'static [u64]) -> (Issuer, Credentials) {
        let issuer = Issuer { lives_secs, asked: Arc::default() };
        let credentials = Credentials::provided(SharedCredentialsProvider::new(issuer.clone()));
        (issuer, credentials)
    }

    /// Waits for the provider's answer, if it is being asked.
    async fn settled(credentials: &Credentials) {
        let Source::Chain(chain) = &credentials.0 else { unreachable!("they are provided") };
        drop(chain.asking.lock().await);
    }

    #[tokio::test]
    async fn temporary_ones_are_replaced_before_they_end() {
        let (issuer, credentials) = issued(&[3600, 7200]);
        for (at, key) in [(0, "AKID0"), (3299, "AKID0"), (3300, "AKID0"), (3300, "AKID1"), (6899, "AKID1")] {
            let found = credentials.current(NOW + secs(at)).await.unwrap();
            settled(&credentials).await;
            assert_eq!(found.access_key_id(), key, "after {at} s");
        }
        assert_eq!(issuer.asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn an_outage_of_their_source_is_bridged_until_they_end() {
        let (issuer, credentials) = issued(&[3600]);
        for at in [0, 3300, 3301, 3305, 3599] {
            let found = credentials.current(NOW + secs(at)).await.unwrap();
            settled(&credentials).await;
            assert_eq!(found.access_key_id(), "AKID0", "after {at} s");
        }
        // At the start, and after 3300 and 3599 seconds: in between it had just failed.
        assert_eq!(issuer.asked.load(Ordering::Relaxed), 3);
        let error = credentials.current(NOW + secs(3610)).await.unwrap_err();
        assert!(error.to_string().contains("nothing here"), "{error}");
    }

    /// Gives out keys only when it is let.
    #[derive(Debug)]
    struct Slow(Issuer, Arc<Semaphore>);

    impl ProvideCredentials for Slow {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                self.1.acquire().await.unwrap().forget();
                self.0.provide_credentials().await
            })
        }
    }

    #[tokio::test]
    async fn nobody_who_could_go_on_waits_for_a_slow_source() {
        let (issuer, let_it) = (issued(&[3600, 7200]).0, Arc::new(Semaphore::new(1)));
        let slow = SharedCredentialsProvider::new(Slow(issuer.clone(), Arc::clone(&let_it)));
        let credentials = Credentials::provided(slow);
        for at in [0, 3400, 3400, 3401] {
            let found = credentials.current(NOW + secs(at)).await.unwrap();
            assert_eq!(found.access_key_id(), "AKID0", "after {at} s");
            tokio::task::yield_now().await;
        }
        let_it.add_permits(1);
        settled(&credentials).await;
        // Had anybody waited, the source would have been given up for a while by now.
        let found = credentials.current(NOW + secs(3402)).await.unwrap();
        assert_eq!(found.access_key_id(), "AKID1");
        assert_eq!(issuer.asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn short_ones_are_not_asked_for_at_every_request() {
        let (issuer, credentials) = issued(&[60, 120]);
        for at in [0, 5, 9] {
            credentials.current(NOW + secs(at)).await.unwrap();
        }
        assert_eq!(issuer.asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn debug_hides_the_secret() {
        let shown = format!(
            "{:?}",
            Credentials::keys("AKID", &Secret::new("hunter2"), Some(&Secret::new("hunter3")))
        );
        assert!(shown.contains("AKID") && !shown.contains("hunter"), "{shown}");
    }
}
