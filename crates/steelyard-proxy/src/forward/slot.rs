//! A slot of an endpoint for one attempt: counted while it is held, and what it teaches.

use crate::fault::{Fault, Side};
use crate::worker::Worker;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use steelyard_core::endpoint::{Cells, Endpoint};
use steelyard_core::histogram::bump;
use steelyard_core::pool::{Outcome, Pool, Shared};
use steelyard_core::time::Nanos;

/// Bytes that are counted at once; fewer wait for more or for the end.
const COUNT_BYTES: usize = 64 * 1024;

/// A pool as the request first saw it, or only what of it outlives snapshots.
enum Held {
    Pool(Arc<Pool>),
    Shared(Arc<Shared>),
}

/// How far the outcome is known. Dropped while it is open, an attempt was *cancelled*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// A good response has begun; its time has been taught, and its end makes it a success.
    Begun,
    Settled,
}

/// A slot that was taken. It is given back, and handed to the oldest waiter, when this is dropped.
pub(super) struct Slot {
    worker: Rc<Worker>,
    pool: Held,
    endpoint: Arc<Endpoint>,
    /// When the last byte of the request was sent.
    sent: Cell<Option<Nanos>>,
    stage: Cell<Stage>,
    /// Whether the endpoint counts this as one whose response has begun.
    counted_begun: Cell<bool>,
    /// When it ended, if that is known: spares a look at the clock.
    ended: Cell<Option<Nanos>>,
    inward: Cell<usize>,
    outward: Cell<usize>,
}

impl Slot {
    pub fn new(worker: &Rc<Worker>, pool: &Arc<Pool>, endpoint: Arc<Endpoint>) -> Self {
        let slot = Self {
            worker: worker.clone(),
            pool: Held::Pool(pool.clone()),
            endpoint,
            sent: Cell::new(None),
            stage: Cell::new(Stage::Open),
            counted_begun: Cell::new(false),
            ended: Cell::new(None),
            inward: Cell::new(0),
            outward: Cell::new(0),
        };
        bump(&slot.cells().requests, 1);
        slot
    }

    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub fn cells(&self) -> &Cells {
        self.endpoint.cells(self.worker.index)
    }

    /// When the last byte of the request was sent.
    pub fn sent(&self) -> Option<Nanos> {
        self.sent.get()
    }

    /// The request has been sent; `None` takes it back for another try.
    pub fn set_sent(&self, at: Option<Nanos>) {
        self.sent.set(at);
    }

    /// The head of a final response has come.
    pub fn answered(&self, status: u16, now: Nanos) {
        let lasted = self.answer_begins(now);
        if status >= 500 {
            bump(&self.cells().failures, 1);
            self.settle(Outcome::Failure("answered with errors of its own"), lasted, now);
        } else {
            self.answers_well(lasted, now);
        }
    }

    /// The first datagram has come back.
    pub fn replied(&self, now: Nanos) {
        let lasted = self.answer_begins(now);
        self.answers_well(lasted, now);
    }

    /// Counts how long the answer took to begin.
    fn answer_begins(&self, now: Nanos) -> Option<Nanos> {
        let lasted = self.sent.get().map(|sent| now.since(sent));
        if let Some(lasted) = lasted {
            self.cells().times.record(lasted.0);
        }
        self.begins();
        lasted
    }

    fn answers_well(&self, lasted: Option<Nanos>, now: Nanos) {
        if let Held::Pool(pool) = &self.pool {
            self.stage.set(Stage::Begun);
            if let Some(lasted) = lasted {
                pool.teach(&self.endpoint, lasted.as_secs_f32(), now);
            }
        }
    }

    /// The connection has changed protocol: a good answer, but its time teaches nothing.
    pub fn tunnelled(&self, now: Nanos) {
        self.begins();
        self.settle(Outcome::Success, None, now);
    }

    /// No retry is possible any more and nothing will be learned: from here on the slot holds its endpoint, and not the
    /// snapshot that its pool belongs to.
    pub fn let_pool_go(&mut self) {
        if let Held::Pool(pool) = &self.pool {
            self.pool = Held::Shared(Arc::clone(pool.shared()));
        }
    }

    /// The pool, unless it was let go.
    pub fn pool(&self) -> Option<&Arc<Pool>> {
        match &self.pool {
            Held::Pool(pool) => Some(pool),
            Held::Shared(_) => None,
        }
    }

    /// Holds the pool of a newer snapshot, in which the endpoint still is; `None` lets it go.
    pub fn follow(&mut self, pool: Option<&Arc<Pool>>) {
        match pool {
            Some(pool) => self.pool = Held::Pool(Arc::clone(pool)),
            None => self.let_pool_go(),
        }
    }

    /// The exchange has ended well; the slot is about to be given back.
    pub fn end(&self, now: Nanos) {
        self.ended.set(Some(now));
        if self.stage.get() == Stage::Begun {
            self.settle(Outcome::Success, None, now);
        }
    }

    /// Where a trial of the endpoint may wait for it: only a threshold on latency knows trials.
    fn begins(&self) {
        if let Held::Pool(pool) = &self.pool
            && pool.threshold().latency_s.is_finite()
            && !self.counted_begun.replace(true)
        {
            self.endpoint.response_begins();
        }
    }

    /// The attempt failed. What is no fault of the endpoint's is not held against it.
    pub fn fail(&self, fault: &Fault) {
        if fault.whose() == Side::Client || fault.is_our_own() || self.stage.get() == Stage::Settled {
            return;
        }
        bump(&self.cells().failures, 1);
        let now = self.worker.shared.clock.now();
        // A response that has begun took its time to the head, which has been taught; its body teaches none.
        let open = self.stage.get() == Stage::Open;
        let lasted = self.sent.get().filter(|_| open).map(|sent| now.since(sent));
        self.settle(Outcome::Failure(fault.in_short()), lasted, now);
    }

    fn settle(&self, outcome: Outcome, lasted: Option<Nanos>, now: Nanos) {
        self.stage.set(Stage::Settled);
        if let Held::Pool(pool) = &self.pool {
            pool.learn(&self.endpoint, outcome, lasted, now);
        }
    }

    /// Counts bytes from and to the endpoint.
    pub fn count(&self, inward: usize, outward: usize) {
        self.inward.set(self.inward.get() + inward);
        self.outward.set(self.outward.get() + outward);
        if self.inward.get() + self.outward.get() >= COUNT_BYTES {
            self.count_out(self.worker.shared.clock.now());
        }
    }

    fn count_out(&self, now: Nanos) {
        let (inward, outward) = (self.inward.take(), self.outward.take());
        if inward + outward > 0 {
            self.cells().count_bytes(inward, outward);
            self.endpoint.count_bytes(inward + outward, now);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let now = self.ended.get().unwrap_or_else(|| self.worker.shared.clock.now());
        self.count_out(now);
        if self.stage.get() == Stage::Open {
            self.settle(Outcome::Cancelled, self.sent.get().map(|sent| now.since(sent)), now);
        }
        if self.counted_begun.get() {
            self.endpoint.response_ends();
        }
        match &self.pool {
            Held::Pool(pool) => pool.release(&self.endpoint, now),
            Held::Shared(shared) => shared.release(&self.endpoint, now),
        }
    }
}
