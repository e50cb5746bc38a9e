//! Fair shares of a queue: no client takes more than half of what the others leave, and turns go round.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Semaphore;

use crate::client::Client;

/// Who holds how many places. No more clients are known than there are places.
#[derive(Debug)]
pub(super) struct Shares {
    turns: usize,
    clients: Mutex<HashMap<Client, Held>>,
}

#[derive(Debug)]
struct Held {
    places: usize,
    turns: Arc<Semaphore>,
}

/// That a client holds one place.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    client: Client,
    /// A client has no more than these in line for a turn, or at it: whoever comes then is behind those alone, and
    /// not behind all that one client asked for.
    pub(super) turns: Arc<Semaphore>,
}

impl Shares {
    /// Each client has so many jobs running, or next in line, at once.
    pub(super) fn new(turns: usize) -> Self {
        Self { turns, clients: Mutex::default() }
    }

    /// One more place for a client while `free` are free, unless he holds more than that: so a queue that a few
    /// clients fill still has room for another one.
    /// (Choudhury and Hahne, Dynamic Queue Length Thresholds for Shared-Memory Packet Switches, 1998.)
    pub(super) fn take(self: &Arc<Self>, client: Client, free: usize) -> Option<Share> {
        let mut clients = self.clients();
        let held = clients.entry(client).or_insert_with(|| {
            let turns = Arc::new(Semaphore::new(self.turns));
            Held { places: 0, turns }
        });
        if held.places > free {
            return None;
        }
        held.places += 1;
        Some(Share { shares: Arc::clone(self), client, turns: Arc::clone(&held.turns) })
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<Client, Held>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut clients = self.shares.clients();
        let Some(held) = clients.get_mut(&self.client) else { return };
        held.places -= 1;
        if held.places == 0 {
            clients.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_nothing_is_forgotten() {
        let shares = Arc::new(Shares::new(1));
        let first = shares.take(Client::numbered(1), 9);
        let second = shares.take(Client::numbered(1), 8);
        assert!(first.is_some() && second.is_some());
        drop(first);
        assert_eq!(shares.clients().len(), 1);
        drop(second);
        assert!(shares.clients().is_empty());
    }
}
