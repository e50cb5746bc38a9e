//! The revocation probe: asks the edge for what it may show no more, until it refuses.
//!
//! It asks as a viewer would who has had his URL since before the change: by the link of the epoch before, which
//! within one window is the very URL that all viewers share, and without a signature where that was public. What
//! the edge has no copy of it passes on to pinhole, which refuses at once: so what is measured is when the *edge*
//! refuses, and not that it had a copy. `edge.probe.options` should be what viewers ask for most.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    clock, config,
    db::outbox::{PurgeRow, Reason},
    fetch::Fetcher,
    id::ImageId,
    metrics,
};

/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// The other nodes hear of the change meanwhile, so that the question itself fills no edge.
const HEAD_START: Duration = Duration::from_millis(100);

/// Makes the path and query of the link that an image had in an epoch.
pub(super) type Linker = Arc<dyn Fn(ImageId, i64) -> String + Send + Sync>;

/// Watches the edge; clones watch together.
#[derive(Clone)]
pub struct Probe {
    settings: config::edge::Probe,
    link: Linker,
    fetcher: Fetcher,
    metrics: metrics::Edge,
    room: Arc<Semaphore>,
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Probe {
    /// A probe, if the settings name the edge.
    pub fn new(
        settings: &config::edge::Probe,
        link: Linker,
        fetcher: Fetcher,
        metrics: metrics::Edge,
    ) -> Option<Self> {
        let room = Arc::new(Semaphore::new(settings.at_once));
        (!settings.url.is_empty()).then(|| Self { settings: settings.clone(), link, fetcher, metrics, room })
    }

    /// Watches until the edge refuses an image that was changed, if there is room.
    pub fn watch(&self, purge: &PurgeRow) {
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else { return self.metrics.unmeasured() };
        let links = self.links(purge);
        let (probe, created_micros) = (self.clone(), purge.created_micros);
        self.metrics.watched();
        tokio::spawn(async move {
            let refused = probe.until_refused(&links).await;
            let lag_micros = u64::try_from(clock::now_micros() - created_micros).unwrap_or_default();
            probe.metrics.refused(refused.then(|| Duration::from_micros(lag_micros)));
            drop(permit);
        });
    }

    /// The URLs that were good, and are no more. An image that was revoked alone is still shown to whom it is
    /// public, without a link.
    fn links(&self, purge: &PurgeRow) -> Vec<String> {
        let link = (self.link)(purge.image, purge.epoch - 1);
        let unsigned = link.split('?').next().unwrap_or_default().to_owned();
        let paths = if purge.reason == Reason::Revoked { vec![link] } else { vec![link, unsigned] };
        paths.into_iter().map(|path| format!("{}{path}", self.settings.url)).collect()
    }

    /// Whether the edge came to refuse all of them before the probe's patience was over.
    async fn until_refused(&self, links: &[String]) -> bool {
        let give_up = Instant::now() + Duration::from_secs(self.settings.give_up_secs);
        tokio::time::sleep(HEAD_START).await;
        for link in links {
            while !self.is_refused(link).await {
                if Instant::now() >= give_up {
                    tracing::warn!(
                        "the edge still shows an image after {} s: {}",
                        self.settings.give_up_secs,
                        path(link)
                    );
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(self.settings.every_millis)).await;
            }
        }
        true
    }

    /// An edge that is away, or fails, has refused nothing.
    async fn is_refused(&self, link: &str) -> bool {
        let Ok(request) = Request::get(link).body(Bytes::new()) else { return false };
        let refusals =
            [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND, StatusCode::GONE];
        self.fetcher.status(request, PATIENCE).await.is_ok_and(|status| refusals.contains(&status))
    }
}

/// What may be logged: a link without its signature.
fn path(link: &str) -> String {
    link.parse::<Uri>().map(|uri| uri.path().to_owned()).unwrap_or_default()
}
