//! Bounded admission for expensive work: so many at once, so many waiting, the rest shed.

mod shares;

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread,
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use rustix::process::{getpriority_process, setpriority_process};
use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use self::shares::{Share, Shares};
use crate::client::Client;

/// How much nicer work is than everything else (see setpriority(2)): where cores are short, it gets a tenth of
/// what answering does.
const NICER: i32 = 10;
/// The nicest that there is.
const NICEST: i32 = 19;

/// Lets a bounded number of jobs in, and a bounded number wait.
#[derive(Clone, Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    running: Arc<Semaphore>,
    shares: Arc<Shares>,
    at_once: usize,
    size: u32,
    shed: Counter,
}

/// Why a job was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GateError {
    /// As many wait already as may.
    #[error("too many requests wait already")]
    Full,
    /// The job panicked; it cost itself alone.
    #[error("the job panicked")]
    Panicked,
    /// There is no thread for it.
    #[error("the job got no thread")]
    NoThread,
}

/// A place in the queue; whoever holds it may take turns.
#[derive(Clone, Debug)]
pub struct Place {
    held: Arc<Held>,
    running: Arc<Semaphore>,
}

#[derive(Debug)]
struct Held {
    /// Whose place it is, where that matters.
    share: Option<Share>,
    _place: OwnedSemaphorePermit,
}

/// Leave to work; whoever holds it counts as running.
#[derive(Clone, Debug)]
pub struct Pass {
    _held: Arc<(Place, OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)>,
}

impl Gate {
    /// A gate for `at_once` running jobs and `waiting` more.
    pub fn new(at_once: usize, waiting: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(at_once + waiting)),
            running: Arc::new(Semaphore::new(at_once)),
            shares: Arc::new(Shares::new(at_once)),
            at_once,
            shed: Counter::default(),
            size: u32::try_from(at_once + waiting).unwrap_or(u32::MAX),
        }
    }

    /// Gives each client fewer turns at once than there are: for jobs that last for as long as he likes.
    #[must_use]
    pub fn with_turns(self, turns: usize) -> Self {
        Self { shares: Arc::new(Shares::new(turns.max(1))), ..self }
    }

    /// Counts what is refused.
    #[must_use]
    pub fn counting(self, shed: Counter) -> Self {
        Self { shed, ..self }
    }

    /// Waits until everybody has left. Nobody is let in meanwhile.
    pub async fn empty(&self) {
        // It fails only once it is closed, which it never is.
        drop(self.places.acquire_many(self.size).await);
    }

    /// Waits until all who are in line for a turn now have had it, and takes none.
    pub async fn quiet(&self) {
        // Turns are given in the order in which they were asked for.
        drop(self.running.acquire().await);
    }

    /// Takes a place in the queue; refused at once when it is full.
    pub fn queue(&self) -> Result<Place, GateError> {
        self.place(|_| Some(None))
    }

    /// Takes a place for one of many clients; refused at once when the queue is full, or when he holds
    /// more places than he leaves to the others.
    pub fn queue_for(&self, client: Client) -> Result<Place, GateError> {
        self.place(|free| self.shares.take(client, free).map(Some))
    }

    fn place(&self, share: impl FnOnce(usize) -> Option<Option<Share>>) -> Result<Place, GateError> {
        let free = self.places.available_permits();
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let held = place.and_then(|place| Some(Held { share: share(free)?, _place: place }));
        let Some(held) = held else {
            self.shed.inc();
            return Err(GateError::Full);
        };
        Ok(Place { held: Arc::new(held), running: Arc::clone(&self.running) })
    }

    /// Waits for a turn; refused at once when the queue is full.
    pub async fn enter(&self) -> Result<Pass, GateError> {
        self.queue()?.turn().await
    }

    /// The same for one of many clients, who waits no longer than that: then he is refused.
    pub async fn enter_within(&self, patience: Duration, client: Client) -> Result<Pass, GateError> {
        timeout(patience, self.queue_for(client)?.turn()).await.unwrap_or_else(|_| {
            self.shed.inc();
            Err(GateError::Full)
        })
    }

    /// How many run, and how many wait for their turn.
    pub fn load(&self) -> (usize, usize) {
        let inside = self.size as usize - self.places.available_permits();
        let running = self.at_once - self.running.available_permits();
        (running, inside.saturating_sub(running))
    }
}

impl Place {
    /// Waits for a turn.
    pub async fn turn(&self) -> Result<Pass, GateError> {
        let turn = async |turns: &Arc<Semaphore>| {
            // It fails only once it is closed, which it never is.
            Arc::clone(turns).acquire_owned().await.map_err(|_| GateError::Full)
        };
        let own = match &self.held.share {
            Some(share) => Some(turn(&share.turns).await?),
            None => None,
        };
        let turn = turn(&self.running).await?;
        Ok(Pass { _held: Arc::new((self.clone(), turn, own)) })
    }
}

impl Pass {
    /// Does CPU-bound work off the async threads, on one of its own, which gives way to them: whoever asks for
    /// what is in memory does not wait behind renders. Starting one takes a hundredth of the shortest render.
    ///
    /// The pass stays taken until the work ends, even if the caller has gone away: a client that
    /// hangs up cannot make room for more work than the machine can do.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, GateError> {
        let pass = self.clone();
        let (done, result) = oneshot::channel();
        let job = move || {
            give_way();
            // Caught, so that the place is free before whoever asked hears of it.
            let worked = panic::catch_unwind(AssertUnwindSafe(work));
            drop(pass);
            // Whoever asked may have gone away.
            drop(done.send(worked));
        };
        thread::Builder::new().name("work".to_owned()).spawn(job).map_err(|_| GateError::NoThread)?;
        match result.await {
            Ok(Ok(worked)) => Ok(worked),
            Ok(Err(_)) | Err(_) => Err(GateError::Panicked),
        }
    }
}

/// Lets the calling thread give way to others.
fn give_way() {
    // Elsewhere than on Linux, this would be about the whole process.
    if !cfg!(target_os = "linux") {
        return;
    }
    let nicer = getpriority_process(None).map(|nice| (nice + NICER).min(NICEST));
    if let Err(error) = nicer.and_then(|nicer| setpriority_process(None, nicer)) {
        tracing::debug!("work is as urgent as everything else: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sheds_what_does_not_fit() {
        let gate = Gate::new(1, 0);
        let pass = gate.enter().await;
        assert!(pass.is_ok());
        assert_eq!(gate.enter().await.err(), Some(GateError::Full));
        drop(pass);
        assert!(gate.enter().await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_in_vain_is_refused_and_leaves_the_queue() {
        let gate = Gate::new(1, 1);
        let enter = |patience| gate.enter_within(patience, Client::numbered(1));
        let pass = enter(Duration::MAX).await;
        assert!(pass.is_ok());
        for _ in 0..3 {
            assert_eq!(enter(Duration::ZERO).await.err(), Some(GateError::Full));
        }
        assert_eq!(gate.load(), (1, 0));
        drop(pass);
        assert!(enter(Duration::ZERO).await.is_ok());
    }

    #[tokio::test]
    async fn a_panic_costs_one_job_and_frees_its_place() {
        let gate = Gate::new(1, 0);
        for _ in 0..3 {
            let Ok(pass) = gate.enter().await else { unreachable!("the place is free again") };
            let panicking = std::hint::black_box(true);
            let done = pass.run(move || assert!(!panicking, "expected: this job panics")).await;
            assert_eq!(done, Err(GateError::Panicked));
        }
    }

    #[tokio::test]
    async fn work_goes_on_counting_when_its_caller_hangs_up() {
        let gate = Gate::new(1, 0);
        let (release, released) = std::sync::mpsc::channel::<()>();
        let Ok(pass) = gate.enter().await else { unreachable!("the gate is open") };
        let job = tokio::spawn(async move { pass.run(move || released.recv()).await });
        tokio::task::yield_now().await;
        job.abort();
        drop(job.await);
        assert_eq!(gate.enter().await.err(), Some(GateError::Full));
        drop(release);
        while gate.enter().await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn it_is_quiet_when_who_waited_has_had_his_turn() {
        let gate = Gate::new(1, 1);
        let first = gate.enter().await;
        let second = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter().await }
        });
        tokio::task::yield_now().await;
        let quiet = tokio::spawn({
            let gate = gate.clone();
            async move { gate.quiet().await }
        });
        tokio::task::yield_now().await;
        drop(first);
        let Ok(Ok(second)) = second.await else { unreachable!("it is his turn") };
        tokio::task::yield_now().await;
        assert!(!quiet.is_finished());
        drop(second);
        assert!(quiet.await.is_ok());
        assert!(gate.enter().await.is_ok(), "it took no place");
    }

    #[tokio::test]
    async fn one_client_leaves_room_for_others() {
        let gate = Gate::new(2, 14);
        let [many, few] = [Client::numbered(1), Client::numbered(2)];
        let held: Vec<_> = (0..16).map_while(|_| gate.queue_for(many).ok()).collect();
        assert_eq!(held.len(), 9, "half of all");
        assert!(gate.queue_for(few).is_ok());
        drop(held);
        assert!(gate.queue_for(many).is_ok(), "what was given back is there again");
    }

    #[tokio::test]
    async fn who_comes_later_is_not_behind_all_of_one_client() {
        let gate = Gate::new(1, 15);
        let [many, few] = [Client::numbered(1), Client::numbered(2)];
        let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
        let job = |client, name| {
            let (place, done) = (gate.queue_for(client), done.clone());
            async move {
                let Ok(place) = place else { unreachable!("there is room") };
                let turn = place.turn().await;
                tokio::task::yield_now().await;
                assert!(done.send(name).is_ok());
                drop(turn);
            }
        };
        let mut jobs = tokio::task::JoinSet::new();
        for _ in 0..6 {
            jobs.spawn(job(many, "many"));
        }
        jobs.spawn(job(few, "few"));
        jobs.join_all().await;
        let order: Vec<_> = std::iter::from_fn(|| order.try_recv().ok()).collect();
        assert_eq!(order.len(), 7);
        assert!(order[..2].contains(&"few"), "{order:?}");
    }

    #[tokio::test]
    async fn it_is_empty_when_everybody_has_left() {
        let gate = Gate::new(1, 1);
        gate.empty().await;
        let pass = gate.enter().await;
        assert!(pass.is_ok());
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.empty().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(pass);
        assert!(waiting.await.is_ok());
    }
}
