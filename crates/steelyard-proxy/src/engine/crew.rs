//! The worker threads of an engine: whoever holds them ends them.

use super::State;
use crate::shared::Command;
use crate::worker;
use std::io;
use std::sync::Arc;
use std::thread::{JoinHandle, ThreadId};
use tokio::sync::mpsc;

/// Every worker thread. Where they are still there when this is dropped, something has failed: they are told to stop,
/// and joined.
pub(crate) struct Crew {
    state: Arc<State>,
    workers: Vec<JoinHandle<()>>,
}

impl Crew {
    /// Starts a worker for each mailbox, or fails and leaves none.
    pub fn hire(state: &Arc<State>, mailboxes: Vec<mpsc::UnboundedReceiver<Command>>) -> io::Result<Self> {
        let mut crew = Self { state: Arc::clone(state), workers: Vec::with_capacity(mailboxes.len()) };
        for (index, mailbox) in mailboxes.into_iter().enumerate() {
            crew.workers.push(worker::spawn(index, Arc::clone(&state.shared), mailbox)?);
        }
        Ok(crew)
    }

    /// Which threads they are.
    pub fn threads(&self) -> Vec<ThreadId> {
        self.workers.iter().map(|worker| worker.thread().id()).collect()
    }

    /// Whether every one has ended.
    pub fn has_ended(&self) -> bool {
        self.workers.iter().all(JoinHandle::is_finished)
    }

    /// Waits until every one has ended.
    pub fn join(&mut self) {
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a worker ended in a panic");
            }
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        if !self.workers.is_empty() {
            self.state.tell_workers(|| Command::Stop);
            self.join();
        }
    }
}
