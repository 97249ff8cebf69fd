//! One lazily moved timer per connection.
//!
//! Whoever waits brings the moment at which it gives up. The armed timer is only moved when a wait would end before
//! it, and looks again when it fires; a busy connection therefore touches the timer wheel once per timeout, not
//! five times per request. Several waits of one task may share it, each with a moment of its own.

use crate::clock::Clock;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use steelyard_core::time::Nanos;
use tokio::time::Sleep;

/// The moment at which a wait gives up; `None` = never.
pub type GiveUp = Option<Nanos>;

/// The earlier of two moments.
pub fn earlier(a: GiveUp, b: GiveUp) -> GiveUp {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

/// This close to its moment the armed timer may have fired.
const ABOUT: Nanos = Nanos::from_millis(5);

/// A timer that many waits of one task share: it wakes the task that first polled it.
#[derive(Debug)]
pub struct Timer {
    clock: Clock,
    /// The last look at the clock; `None` since the task woke up.
    moment: Cell<Option<Nanos>>,
    armed: RefCell<Option<(Nanos, Pin<Box<Sleep>>)>>,
}

impl Timer {
    /// A timer that is not armed and holds no memory.
    pub fn new(clock: Clock) -> Self {
        Self { clock, moment: Cell::new(None), armed: RefCell::new(None) }
    }

    /// This moment, as it was when somebody first asked since the task woke up: nothing that a task does without
    /// waiting takes long enough to look again.
    pub fn now(&self) -> Nanos {
        self.moment.get().unwrap_or_else(|| self.look())
    }

    /// This moment exactly: for the ends of spans that are measured.
    pub fn look(&self) -> Nanos {
        let now = self.clock.now();
        self.moment.set(Some(now));
        now
    }

    /// The task has woken up: time has passed.
    pub fn wake(&self) {
        self.moment.set(None);
    }

    /// The moment a span of milliseconds from now; `None` stays off.
    pub fn after(&self, millis: Option<u64>) -> GiveUp {
        millis.map(|millis| self.now().plus(Nanos::from_millis(millis)))
    }

    /// Ready once `at` has passed; until then the task is woken when it has.
    pub fn poll(&self, at: GiveUp, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = at else { return Poll::Pending };
        let mut armed = self.armed.borrow_mut();
        // Armed to wake this task soon enough, and not about to: the runtime need not be asked.
        if armed.as_ref().is_some_and(|(when, _)| *when <= at && self.now().plus(ABOUT) < *when) {
            return Poll::Pending;
        }
        let (when, sleep) =
            armed.get_or_insert_with(|| (at, Box::pin(tokio::time::sleep_until(self.clock.instant(at)))));
        if at < *when {
            *when = at;
            sleep.as_mut().reset(self.clock.instant(at));
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if at <= self.clock.now() {
                return Poll::Ready(());
            }
            *when = at;
            sleep.as_mut().reset(self.clock.instant(at));
        }
        Poll::Pending
    }
}
