//! Threads that do nothing but serve connections: one for each core, each with an event loop of its own.
//!
//! A connection stays on its thread, so that nothing is woken, locked or stolen between threads while it is
//! answered from memory. Whatever waits or calculates belongs on the workers that everybody shares.

use std::{io, num::NonZeroUsize, sync::mpsc, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// The threads; dropping them ends them, and cuts off what they still serve.
#[derive(Debug)]
pub struct Threads {
    loops: Vec<Handle>,
    handles: Vec<thread::JoinHandle<()>>,
    /// The threads run until these are gone.
    running: Vec<oneshot::Sender<()>>,
}

impl Threads {
    /// Starts `count` threads; 0 means one for each core.
    pub fn start(count: usize) -> io::Result<Self> {
        let one_a_core = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let count = if count > 0 { count } else { one_a_core() };
        let mut started = Self { loops: Vec::new(), handles: Vec::new(), running: Vec::new() };
        for number in 0..count {
            let (running, ends) = oneshot::channel::<()>();
            let (built, event_loop) = mpsc::channel();
            let serve = move || {
                // Built where it is dropped: an event loop does not end within another one.
                let runtime = match Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(built.send(Err(error))),
                };
                drop(built.send(Ok(runtime.handle().clone())));
                // It is never sent: it ends when its other half is dropped.
                let _ = runtime.block_on(ends);
            };
            started.handles.push(thread::Builder::new().name(format!("connections-{number}")).spawn(serve)?);
            started.running.push(running);
            started.loops.push(event_loop.recv().map_err(io::Error::other)??);
        }
        Ok(started)
    }

    /// The event loops, over and over.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = Handle> {
        self.loops.iter().cloned().cycle()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.running.clear();
        for thread in self.handles.drain(..) {
            // It panicked: what it served is lost, and it is gone, which is what is wanted.
            drop(thread.join());
        }
    }
}
