//! Which client connections a worker has, so that those of a closing listener can be told while they are idle.

use crate::timer::{GiveUp, earlier};
use slab::Slab;
use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use steelyard_core::time::Nanos;
use tokio::sync::Notify;

#[derive(Debug)]
struct Entry {
    /// The socket it was accepted from.
    socket: u64,
    /// Until when it may lie idle, once it is to end.
    closing: Option<Nanos>,
    waker: Option<Waker>,
}

/// The connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: RefCell<Slab<Entry>>,
    changed: Notify,
}

/// One connection's place; it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    registry: Rc<Registry>,
    key: usize,
}

impl Registry {
    /// Enters a connection.
    pub fn enter(self: &Rc<Self>, socket: u64) -> Place {
        let key = self.entries.borrow_mut().insert(Entry { socket, closing: None, waker: None });
        Place { registry: self.clone(), key }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.borrow().is_empty()
    }

    /// Waits until the last one has left, or [`Registry::notify`].
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Wakes whoever waits for a change.
    pub fn notify(&self) {
        self.changed.notify_one();
    }

    /// Tells the connections of one socket, or of all, to end after the next response, and no later than `until`
    /// where they lie idle.
    pub fn close(&self, socket: Option<u64>, until: Nanos) {
        let mut woken = Vec::new();
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            if socket.is_none_or(|socket| socket == entry.socket) {
                entry.closing.get_or_insert(until);
                woken.extend(entry.waker.take());
            }
        }
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Place {
    /// Whether this connection is to end after the response at hand.
    pub fn is_closing(&self) -> bool {
        self.registry.entries.borrow()[self.key].closing.is_some()
    }

    /// Ready when it is to end, with the moment until which it may lie idle; until then the task is woken when that
    /// changes.
    pub fn poll_closing(&self, cx: &mut Context<'_>) -> Poll<Nanos> {
        let mut entries = self.registry.entries.borrow_mut();
        let entry = &mut entries[self.key];
        if let Some(until) = entry.closing {
            return Poll::Ready(until);
        }
        if !entry.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            entry.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Place {
    /// The earlier of `give_up` and the moment until which the connection may lie idle, where it is to end.
    pub fn until(&self, give_up: GiveUp, cx: &mut Context<'_>) -> GiveUp {
        match self.poll_closing(cx) {
            Poll::Ready(closing) => earlier(give_up, Some(closing)),
            Poll::Pending => give_up,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut entries = self.registry.entries.borrow_mut();
        entries.remove(self.key);
        if entries.is_empty() {
            self.registry.notify();
        }
    }
}
