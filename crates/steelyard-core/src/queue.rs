//! Where requests wait when every endpoint is at its threshold: one queue per pool and process.
//!
//! A slot that is freed goes to the oldest waiter, on whichever worker it waits; newcomers never overtake. Here are
//! order and tickets; the data plane brings the wakers.

use crate::endpoint::Endpoint;
use crate::pool::{Pick, Pool, Shared};
use crate::random::Generator;
use crate::seeker::Seeker;
use crate::sync::{AtomicUsize, Mutex, Ordering, fence, lock};
use crate::time::Nanos;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::Waker;

/// One place in the queue. Whoever holds it must end it with [`Pool::claim`] or [`Pool::leave`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// What a waiter was given.
#[derive(Debug)]
pub enum Grant {
    /// A slot of this endpoint, taken for the waiter.
    Slot(Arc<Endpoint>),
    /// No endpoint is left that it could ever get.
    Nobody,
}

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    seeker: Seeker,
    waker: Waker,
}

/// The queue of one pool.
#[derive(Debug)]
pub struct Queue {
    /// Waiters without a grant; read by every release.
    waiting: AtomicUsize,
    lines: Mutex<Lines>,
}

#[derive(Debug)]
struct Lines {
    waiting: VecDeque<Waiter>,
    granted: Vec<(Ticket, Grant)>,
    next: u64,
    rng: Generator,
    /// The newest snapshot of the pool that has come by: what waiters may be given.
    newest: Weak<Pool>,
    generation: u64,
    /// The same, held while anybody waits: its pool may leave the configuration before they do.
    waited_for: Option<Arc<Pool>>,
}

impl Queue {
    /// An empty queue; `rng` chooses among endpoints for those who waited.
    pub fn new(rng: Generator) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            lines: Mutex::new(Lines {
                waiting: VecDeque::new(),
                granted: Vec::new(),
                next: 0,
                rng,
                newest: Weak::new(),
                generation: 0,
                waited_for: None,
            }),
        }
    }

    /// Waiters that have not been given a slot.
    pub fn len(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives a slot back.
    fn give(&self, endpoint: &Endpoint) -> Given {
        let was_last = endpoint.give();
        // loom gives sequentially consistent accesses no more than acquire and release; the fence says to it what
        // the give and this look already say to the machine.
        #[cfg(loom)]
        fence(Ordering::SeqCst);
        Given { was_last, is_wanted: !self.is_empty() }
    }
}

/// What has become free since the line was last served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freed {
    /// One slot, by its release.
    Slot,
    /// Anything: verdicts, thresholds or members may have changed.
    Anything,
}

/// A slot that was given back.
struct Given {
    /// Whether its endpoint is idle now.
    was_last: bool,
    /// Whether anybody waits for one.
    is_wanted: bool,
}

impl Shared {
    /// Gives a slot back and hands it to the oldest waiter, for one that holds no snapshot: the pool may have left the
    /// configuration, or have come back to it.
    pub fn release(&self, endpoint: &Endpoint, now: Nanos) {
        let given = self.queue.give(endpoint);
        if given.was_last {
            self.fell_idle(endpoint);
        }
        if given.is_wanted
            && let Some(pool) = self.waited_for()
        {
            pool.serve(Freed::Slot, now);
        }
    }

    /// The newest snapshot of the pool, while anybody waits in it.
    pub fn waited_for(&self) -> Option<Arc<Pool>> {
        lock(&self.queue.lines).waited_for.clone()
    }
}

impl Pool {
    /// Lines up; `None` when the queue is full. `waker` is woken once there is something to claim.
    pub fn enqueue(self: &Arc<Self>, now: Nanos, seeker: Seeker, waker: Waker) -> Option<Ticket> {
        let queue = &self.shared.queue;
        let mut lines = lock(&queue.lines);
        if lines.waiting.len() >= self.queue_size() {
            return None;
        }
        let ticket = Ticket(lines.next);
        lines.next += 1;
        let is_known_full = self.is_full_for_the_first(&lines);
        lines.waiting.push_back(Waiter { ticket, seeker, waker });
        queue.waiting.store(lines.waiting.len(), Ordering::SeqCst);
        if is_known_full {
            return Some(ticket);
        }
        // A slot freed after this request found none, and before it stood in line, woke nobody. The fence pairs
        // with the give and look of `release`: one of the two sees the other.
        fence(Ordering::SeqCst);
        let woken = self.hand_out(&mut lines, Freed::Anything, now);
        drop(lines);
        woken.wake();
        Some(ticket)
    }

    /// Takes what the ticket was given; `None` = not yet, and `waker` will be woken.
    pub fn claim(&self, ticket: Ticket, waker: &Waker) -> Option<Grant> {
        let mut lines = lock(&self.shared.queue.lines);
        if let Some(place) = lines.granted.iter().position(|(granted, _)| *granted == ticket) {
            return Some(lines.granted.swap_remove(place).1);
        }
        if let Some(place) = lines.place_of(ticket) {
            lines.waiting[place].waker.clone_from(waker);
        }
        None
    }

    /// Gives the place up. A slot that was already handed over passes on to the next.
    pub fn leave(self: &Arc<Self>, ticket: Ticket, now: Nanos) {
        let mut lines = lock(&self.shared.queue.lines);
        if let Some(place) = lines.granted.iter().position(|(granted, _)| *granted == ticket) {
            let (_, grant) = lines.granted.swap_remove(place);
            drop(lines);
            if let Grant::Slot(endpoint) = grant {
                self.release(&endpoint, now);
            }
        } else if let Some(place) = lines.place_of(ticket) {
            lines.waiting.remove(place);
            self.shared.queue.waiting.store(lines.waiting.len(), Ordering::SeqCst);
            if lines.waiting.is_empty() {
                lines.waited_for = None;
            }
        }
    }

    /// Gives a slot back and hands it to the oldest waiter.
    pub fn release(self: &Arc<Self>, endpoint: &Endpoint, now: Nanos) {
        let given = self.shared.queue.give(endpoint);
        if given.was_last {
            self.fell_idle(endpoint);
        }
        if given.is_wanted {
            self.serve(Freed::Slot, now);
        }
    }

    /// Hands out whatever is free: after a reload, a change of verdict, a timed return.
    pub fn wake_waiters(self: &Arc<Self>, now: Nanos) {
        self.serve(Freed::Anything, now);
    }

    fn serve(self: &Arc<Self>, freed: Freed, now: Nanos) {
        let mut lines = lock(&self.shared.queue.lines);
        let woken = self.hand_out(&mut lines, freed, now);
        drop(lines);
        woken.wake();
    }

    /// Whether nothing is free for whoever lines up now, because nothing is for the first in the line, who takes whatever
    /// there is: since that one stands there, each slot that becomes free is handed out by whoever frees it.
    fn is_full_for_the_first(&self, lines: &Lines) -> bool {
        let takes_anything = |waiter: &Waiter| waiter.seeker.excludes_none();
        lines.waiting.front().is_some_and(takes_anything)
            && lines.generation >= self.generation()
            && self.tells_all_that_frees()
    }

    /// Whether nothing becomes free but by an event, and what one waiter cannot have no other can. Not so where time and
    /// bytes have thresholds, since those loads fall by themselves, nor with sessions.
    fn tells_all_that_frees(&self) -> bool {
        self.threshold().requests_only() && !self.keeps_sessions()
    }

    fn hand_out(self: &Arc<Self>, lines: &mut Lines, freed: Freed, now: Nanos) -> Woken {
        if lines.generation < self.generation() || lines.newest.strong_count() == 0 {
            lines.newest = Arc::downgrade(self);
            lines.generation = self.generation();
            lines.waited_for = None;
        }
        let held = lines.waited_for.take().or_else(|| lines.newest.upgrade());
        let newest = held.unwrap_or_else(|| self.clone());
        // Whoever freed another slot hands that out, so that nobody has to find out that there is none.
        let only_one = freed == Freed::Slot && newest.tells_all_that_frees();
        let mut woken = Woken::default();
        let mut place = 0;
        let mut full = false;
        while let Some(waiter) = lines.waiting.get(place) {
            if full && waiter.seeker.session.is_none() {
                place += 1;
                continue;
            }
            let grant = match newest.pick(now, &mut lines.rng, &waiter.seeker) {
                Pick::Taken(index) => Grant::Slot(newest.members()[index].endpoint.clone()),
                Pick::Nobody => Grant::Nobody,
                // Full for one that excludes nothing is full for all behind it, but those whose session is with an
                // endpoint that is being drained.
                Pick::Full if waiter.seeker.excludes_none() && !newest.keeps_sessions() => break,
                Pick::Full if waiter.seeker.excludes_none() => {
                    full = true;
                    place += 1;
                    continue;
                }
                Pick::Full => {
                    place += 1;
                    continue;
                }
            };
            let is_last = only_one && matches!(grant, Grant::Slot(_));
            if let Some(waiter) = lines.waiting.remove(place) {
                lines.granted.push((waiter.ticket, grant));
                woken.add(waiter.waker);
            }
            if is_last {
                break;
            }
        }
        self.shared.queue.waiting.store(lines.waiting.len(), Ordering::SeqCst);
        lines.waited_for = (!lines.waiting.is_empty()).then_some(newest);
        woken
    }
}

impl Lines {
    /// Where a ticket stands: they wait in the order of their numbers.
    fn place_of(&self, ticket: Ticket) -> Option<usize> {
        self.waiting.binary_search_by_key(&ticket.0, |waiter| waiter.ticket.0).ok()
    }
}

/// Those to be woken once the lines are no longer locked; one in nearly every case.
#[derive(Default)]
struct Woken {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Woken {
    fn add(&mut self, waker: Waker) {
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            self.others.push(waker);
        }
    }

    fn wake(self) {
        self.first.into_iter().chain(self.others).for_each(Waker::wake);
    }
}
