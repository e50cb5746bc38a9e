//! Deliveries from the outbox: every edge by itself, so that one that is away holds up no other.
//!
//! What is due is claimed for a time, sent, and noted. Whoever dies in between leaves it to be claimed again, so
//! that an edge is told at least once, and more often only when something went wrong. A failure pauses the edge
//! and not the purge: nobody asks a server that is down once for each of ten thousand images.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::{OnceCell, watch},
    task::JoinSet,
    time::Instant,
};

use super::Probe;
use crate::{
    clock,
    config::Config,
    db::{
        Db, DbError,
        outbox::{self, PurgeRow, State},
    },
    fetch::Fetcher,
    metrics::{self, Told},
    purge::{MAX_ANSWER_BYTES, Target, Verdict, pause},
    rights, store,
};

/// How much longer a claim lasts than the request that it is for: enough to note what came of it.
const LEASE_SLACK_SECS: u64 = 20;
/// How often a purge is tried before it is given up, however long that takes.
const LEAST_ATTEMPTS: i64 = 3;
/// How often the outbox is counted.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// After so long nothing that was decided before a change is under way any longer, so that a purge sent then is
/// the last that is needed: the age of what is remembered of rights, the longest that the ledger is asked,
/// the longest render or wait for a stream, the longest read from the bucket, and the longest that a client may
/// read nothing.
///
/// A client that reads slowly, and never stops, has no bound but his edge's own patience.
pub fn again_after(config: &Config) -> Duration {
    Duration::from_millis(config.cache.facts_millis)
        + rights::PATIENCE
        + Duration::from_secs(config.work.render_timeout_secs.max(config.work.streams_wait_secs))
        + Duration::from_secs(config.bucket.operation_timeout_secs)
        + Duration::from_secs(config.server.write_timeout_secs)
}

/// Tells edges what is in the outbox.
#[derive(Debug)]
pub struct Purger {
    db: Db,
    targets: Vec<Target>,
    fetcher: Fetcher,
    probe: Option<Probe>,
    metrics: metrics::Edge,
    bounds: Bounds,
    /// What the AWS SDK's chain finds, once somebody needs it.
    chain: OnceCell<store::Credentials>,
}

#[derive(Debug)]
struct Bounds {
    timeout_secs: u64,
    at_once: usize,
    longest_pause: Duration,
    poll: Duration,
    give_up_secs: u64,
    again_after: Duration,
}

/// What one look at the outbox came to.
enum Step {
    /// There was nothing.
    Idle,
    /// All that was claimed was delivered.
    Delivered,
    /// Something was not; how long the edge wants to be left alone.
    Failed(String, Option<Duration>),
}

impl Purger {
    /// For the edges of the settings.
    pub fn new(
        db: Db,
        config: &Config,
        fetcher: Fetcher,
        probe: Option<Probe>,
        metrics: metrics::Edge,
    ) -> Self {
        let edge = &config.edge;
        Self {
            db,
            targets: Target::all(edge),
            fetcher,
            probe,
            metrics,
            bounds: Bounds {
                timeout_secs: edge.timeout_secs,
                at_once: edge.at_once,
                longest_pause: Duration::from_secs(edge.max_pause_secs),
                poll: Duration::from_millis(edge.poll_millis),
                give_up_secs: edge.give_up_secs,
                again_after: again_after(config),
            },
            chain: OnceCell::new(),
        }
    }

    /// Tells all edges until `stop` is true; then each is told what it takes at once, and the rest stays in the
    /// outbox.
    pub async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let mut telling = JoinSet::new();
        for nth in 0..self.targets.len() {
            let (purger, stop) = (Arc::clone(&self), stop.clone());
            telling.spawn(async move { purger.tell(nth, stop).await });
        }
        let counting = tokio::spawn(async move { self.count().await });
        while telling.join_next().await.is_some() {}
        counting.abort();
    }

    /// Tells one edge.
    async fn tell(&self, nth: usize, mut stop: watch::Receiver<bool>) {
        let target = &self.targets[nth];
        let mut written = self.db.purges_written();
        let mut failures = 0_u32;
        loop {
            // Before it is looked: what is written meanwhile is looked for again.
            written.borrow_and_update();
            let step = self.step(target, nth == 0, failures).await;
            let wait = match step {
                Ok(Step::Delivered) => {
                    if failures > 0 {
                        tracing::info!("edge {} takes purges again", target.name);
                        failures = 0;
                        self.hurry(target).await;
                    }
                    continue;
                }
                Ok(Step::Idle) => None,
                Ok(Step::Failed(why, asked)) => {
                    failures = failures.saturating_add(1);
                    if failures == 1 {
                        tracing::warn!("edge {} takes no purges, which wait for it: {why}", target.name);
                    }
                    Some(self.pause(failures, asked))
                }
                Err(error) => {
                    tracing::warn!("the outbox of edge {}: {error}", target.name);
                    Some(self.bounds.poll)
                }
            };
            if *stop.borrow() {
                return;
            }
            match wait {
                None => tokio::select! {
                    _ = written.changed() => {}
                    _ = stop.changed() => {}
                    () = tokio::time::sleep(self.bounds.poll) => {}
                },
                Some(pause) => tokio::select! {
                    _ = stop.changed() => {}
                    () = tokio::time::sleep(pause) => {}
                },
            }
        }
    }

    fn pause(&self, failures: u32, asked: Option<Duration>) -> Duration {
        pause(failures, self.bounds.longest_pause, asked, rand::random())
    }

    /// Delivers what is due, as much as is sent at once.
    async fn step(&self, target: &Target, watches: bool, failures: u32) -> Result<Step, DbError> {
        let claimed = self.claim(target).await?;
        if claimed.is_empty() {
            return Ok(Step::Idle);
        }
        if let Some(probe) = self.probe.as_ref().filter(|_| watches) {
            let are_new = |purge: &&PurgeRow| purge.state == State::First && purge.attempts == 1;
            claimed.iter().filter(are_new).for_each(|purge| probe.watch(purge));
        }
        let requests: Vec<Vec<PurgeRow>> =
            claimed.chunks(target.images_per_request()).map(<[PurgeRow]>::to_vec).collect();
        let sending = stream::iter(requests).map(|purges| async move {
            let verdict = self.send(target, &purges).await;
            (purges, verdict)
        });
        let sent: Vec<_> = sending.buffer_unordered(self.bounds.at_once).collect().await;
        self.note(target, &sent, failures).await
    }

    async fn claim(&self, target: &Target) -> Result<Vec<PurgeRow>, DbError> {
        let now_micros = clock::now_micros();
        // Most looks find nothing, and take no lock for it.
        if !outbox::is_due(&mut self.db.read().await?, &target.name, now_micros).await? {
            return Ok(Vec::new());
        }
        let until_micros =
            clock::after(now_micros, self.bounds.timeout_secs.saturating_add(LEASE_SLACK_SECS));
        // So many that all of them are sent at once, within one lease.
        let limit = match target.images_per_request() {
            1 => self.bounds.at_once,
            many => many,
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut tx = self.db.begin().await?;
        let claimed = outbox::claim(&mut tx, &target.name, now_micros, until_micros, limit).await?;
        tx.commit().await?;
        Ok(claimed)
    }

    async fn send(&self, target: &Target, purges: &[PurgeRow]) -> Verdict {
        let patience = Duration::from_secs(self.bounds.timeout_secs);
        let begun = Instant::now();
        let credentials = match target.aws_keys() {
            None => None,
            Some(keys) => match tokio::time::timeout(patience, self.credentials(keys)).await {
                Ok(Ok(found)) => Some(found),
                Ok(Err(error)) => return Verdict::Failed(error, None),
                Err(_) => return Verdict::Failed("no credentials were found in time".to_owned(), None),
            },
        };
        let request = match target.request(purges, clock::now_micros(), credentials) {
            Ok(request) => request,
            Err(error) => return Verdict::Failed(error.to_string(), None),
        };
        let left = patience.saturating_sub(begun.elapsed());
        match self.fetcher.send(request, MAX_ANSWER_BYTES, left).await {
            Ok(answer) => target.judge(&answer),
            Err(error) => Verdict::Failed(error.to_string(), None),
        }
    }

    /// The keys of the settings, or what the SDK's chain finds.
    async fn credentials(
        &self,
        keys: &crate::config::edge::Cloudfront,
    ) -> Result<aws_credential_types::Credentials, String> {
        if !keys.access_key_id.is_empty() {
            let token = Some(keys.session_token.expose().to_owned()).filter(|token| !token.is_empty());
            let (id, secret) = (&keys.access_key_id, keys.secret_access_key.expose());
            return Ok(aws_credential_types::Credentials::new(id, secret, token, None, "pinhole settings"));
        }
        let none = || "the AWS SDK found no credentials: set access_key_id and secret_access_key".to_owned();
        let load = || async { store::Credentials::chain().await.ok_or_else(none) };
        let chain = self.chain.get_or_try_init(load).await?;
        chain.current(clock::now_micros()).await.map_err(|error| error.to_string())
    }

    /// Notes what came of all that was sent.
    async fn note(
        &self,
        target: &Target,
        sent: &[(Vec<PurgeRow>, Verdict)],
        failures: u32,
    ) -> Result<Step, DbError> {
        let now_micros = clock::now_micros();
        let after =
            |wait: Duration| now_micros.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX));
        let mut step = Step::Delivered;
        let mut tx = self.db.begin().await?;
        for (purges, verdict) in sent {
            for purge in purges {
                match verdict {
                    Verdict::Done => {
                        outbox::delivered(&mut tx, purge, now_micros, after(self.bounds.again_after)).await?;
                    }
                    Verdict::Failed(why, asked) => {
                        let due = after(self.pause(failures.saturating_add(1), *asked));
                        let due = Some(due).filter(|_| !self.is_over(purge, now_micros));
                        outbox::failed(&mut tx, purge, why, due).await?;
                    }
                }
            }
        }
        tx.commit().await?;
        for (purges, verdict) in sent {
            for purge in purges {
                self.count_one(target, purge, verdict, now_micros);
            }
            if let Verdict::Failed(why, asked) = verdict {
                step = Step::Failed(why.clone(), *asked);
            }
        }
        Ok(step)
    }

    /// Whether a purge has been tried for as long as one is, and not only waited for somebody to try.
    fn is_over(&self, purge: &PurgeRow, now_micros: i64) -> bool {
        purge.attempts >= LEAST_ATTEMPTS
            && clock::after(purge.since_micros, self.bounds.give_up_secs) <= now_micros
    }

    fn count_one(&self, target: &Target, purge: &PurgeRow, verdict: &Verdict, now_micros: i64) {
        let told = match verdict {
            Verdict::Done => Told::Delivered,
            Verdict::Failed(..) if self.is_over(purge, now_micros) => {
                tracing::error!(image = %purge.image, "edge {} was given up: see pinhole purges list", target.name);
                Told::Dead
            }
            Verdict::Failed(..) => Told::Failed,
        };
        self.metrics.told(&target.name, told);
        if told == Told::Delivered && purge.state == State::First {
            let lag = u64::try_from(now_micros.saturating_sub(purge.created_micros)).unwrap_or_default();
            self.metrics.lagged(&target.name, Duration::from_micros(lag));
        }
    }

    /// What failed before is due at once.
    async fn hurry(&self, target: &Target) {
        let hurried = async {
            let mut tx = self.db.begin().await?;
            outbox::hurry(&mut tx, &target.name, clock::now_micros()).await?;
            tx.commit().await
        };
        if let Err(error) = hurried.await {
            tracing::warn!("what edge {} was not told waits on: {error}", target.name);
        }
    }

    /// Counts what is in the outbox again and again.
    async fn count(&self) {
        let names: Vec<String> = self.targets.iter().map(|target| target.name.clone()).collect();
        let mut orphans_told = false;
        loop {
            match self.depths().await {
                Ok(depths) => {
                    self.metrics.outbox(&names, &depths, clock::now_micros());
                    let orphan = depths.iter().find(|depth| !names.contains(&depth.target));
                    if let Some(orphan) = orphan.filter(|_| !orphans_told) {
                        tracing::warn!(
                            "purges wait for edge {}, which the settings do not name: name it, or say that it is \
                             gone: pinhole purges forget {}",
                            orphan.target,
                            orphan.target
                        );
                    }
                    orphans_told = orphan.is_some();
                }
                Err(error) => tracing::warn!("the outbox could not be counted: {error}"),
            }
            tokio::time::sleep(COUNT_EVERY).await;
        }
    }

    async fn depths(&self) -> Result<Vec<outbox::Depth>, DbError> {
        outbox::depths(&mut self.db.read().await?).await
    }
}
