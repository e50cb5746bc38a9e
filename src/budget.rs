//! Memory for work on pictures: a budget of bytes that everybody who decodes or encodes shares.
//!
//! A job says what it may hold at most, and waits until that much is free. Who came first goes first, so
//! that a large job is not overtaken for ever by small ones.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::gate::{GateError, Pass};

/// What bytes are counted in.
const UNIT_BYTES: u64 = 64 << 10;

/// So many bytes, shared; clones share them too.
#[derive(Clone, Debug)]
pub struct Budget {
    free: Arc<Semaphore>,
    units: u32,
}

/// Bytes taken from a [`Budget`], until this is dropped.
#[derive(Debug)]
struct Share {
    _held: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// A budget of `bytes`, or somewhat more.
    pub fn new(bytes: u64) -> Self {
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let units = units(bytes).clamp(1, most);
        Self { free: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Does work off the async threads once `bytes` are free for it, and counts them as taken until it ends
    /// (see [`Pass::run`]). What would take more than there is at all waits for all of it, and runs alone.
    pub async fn run<T: Send + 'static>(
        &self,
        pass: &Pass,
        bytes: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, GateError> {
        let share = self.take(bytes).await;
        let job = move || {
            let done = work();
            drop(share);
            done
        };
        pass.run(job).await
    }

    /// Whether `bytes` are at most half of all there are.
    pub fn has_twice(&self, bytes: u64) -> bool {
        units(bytes) <= self.units / 2
    }

    /// How many bytes are taken.
    pub fn held_bytes(&self) -> u64 {
        let free = u64::try_from(self.free.available_permits()).unwrap_or(u64::MAX);
        u64::from(self.units).saturating_sub(free) * UNIT_BYTES
    }

    /// How many there are.
    pub fn limit_bytes(&self) -> u64 {
        u64::from(self.units) * UNIT_BYTES
    }

    async fn take(&self, bytes: u64) -> Share {
        let units = units(bytes).min(self.units);
        // It fails only once it is closed, which it never is.
        Share { _held: Arc::clone(&self.free).acquire_many_owned(units).await.ok() }
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::mpsc, task::yield_now, time::timeout};

    use super::*;
    use crate::gate::Gate;

    const MIB: u64 = 1 << 20;

    /// Whether so much could be taken right now.
    async fn has_free(budget: &Budget, bytes: u64) -> bool {
        timeout(Duration::ZERO, budget.take(bytes)).await.is_ok()
    }

    #[tokio::test]
    async fn a_job_waits_until_there_is_room_for_it() {
        let budget = Budget::new(10 * MIB);
        let share = budget.take(7 * MIB).await;
        assert_eq!((budget.held_bytes(), budget.limit_bytes()), (7 * MIB, 10 * MIB));
        assert!(has_free(&budget, 3 * MIB).await);
        assert!(!has_free(&budget, 4 * MIB).await);
        drop(share);
        assert!(has_free(&budget, 10 * MIB).await);
    }

    #[tokio::test]
    async fn what_is_larger_than_the_budget_runs_alone() {
        let budget = Budget::new(10 * MIB);
        let share = budget.take(u64::MAX).await;
        assert!(!has_free(&budget, 1).await);
        drop(share);
        let small = budget.take(1).await;
        assert!(!has_free(&budget, 11 * MIB).await);
        drop(small);
        assert!(has_free(&budget, 11 * MIB).await);
        assert!(budget.has_twice(5 * MIB) && !budget.has_twice(5 * MIB + 1));
        // Even with no budget at all, one after the other.
        let none = Budget::new(0);
        let only = none.take(MIB).await;
        assert!(!has_free(&none, MIB).await);
        drop(only);
        assert!(has_free(&none, MIB).await);
    }

    #[tokio::test]
    async fn the_large_one_is_not_overtaken() {
        let budget = Budget::new(10 * MIB);
        let first = budget.take(2 * MIB).await;
        let (done, mut order) = mpsc::unbounded_channel();
        let enter = |name, bytes| {
            let (budget, done) = (budget.clone(), done.clone());
            tokio::spawn(async move {
                let _share = budget.take(bytes).await;
                done.send(name).unwrap();
            })
        };
        enter("large", 10 * MIB);
        yield_now().await;
        // There is room for these, and they came later.
        let small = [enter("small", MIB), enter("small", MIB)];
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(order.try_recv().is_err());
        drop(first);
        for job in small {
            job.await.unwrap();
        }
        assert_eq!(order.recv().await, Some("large"));
    }

    #[tokio::test]
    async fn a_panic_gives_its_bytes_back() {
        let (budget, gate) = (Budget::new(MIB), Gate::new(1, 0));
        for _ in 0..3 {
            let Ok(pass) = gate.enter().await else { unreachable!("the place is free again") };
            let panicking = std::hint::black_box(true);
            let done = budget.run(&pass, MIB, move || assert!(!panicking, "expected: this job panics")).await;
            assert_eq!(done, Err(GateError::Panicked));
        }
        assert!(has_free(&budget, MIB).await);
    }

    #[tokio::test]
    async fn bytes_stay_taken_while_the_work_goes_on_without_its_caller() {
        let (budget, gate) = (Budget::new(MIB), Gate::new(2, 0));
        let (release, released) = std::sync::mpsc::channel::<()>();
        let Ok(pass) = gate.enter().await else { unreachable!("the gate is open") };
        let job = tokio::spawn({
            let budget = budget.clone();
            async move { budget.run(&pass, MIB, move || released.recv()).await }
        });
        while has_free(&budget, MIB).await {
            yield_now().await;
        }
        job.abort();
        drop(job.await);
        assert!(!has_free(&budget, MIB).await);
        drop(release);
        while !has_free(&budget, MIB).await {
            yield_now().await;
        }

        // Who hangs up while he waits leaves nothing taken.
        let share = budget.take(MIB).await;
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { drop(budget.take(MIB).await) }
        });
        yield_now().await;
        waiting.abort();
        drop(waiting.await);
        drop(share);
        assert!(has_free(&budget, MIB).await);
    }
}
