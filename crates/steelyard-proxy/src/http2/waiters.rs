//! Those who wait for a stream on a connection to an endpoint, in the order in which they came.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use steelyard_core::time::Nanos;

/// The line that they stand in. Whoever is told has left it.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    all: RefCell<VecDeque<Rc<Waiter>>>,
}

/// One of them.
#[derive(Debug, Default)]
pub(super) struct Waiter {
    /// A connection that was not opened after that moment will not do.
    younger: Option<Nanos>,
    told: Cell<bool>,
    /// Whether it knows.
    heard: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Waiters {
    /// Lines one more up behind the others.
    pub fn enter(&self, younger: Option<Nanos>) -> Rc<Waiter> {
        let waiter = Rc::new(Waiter { younger, ..Waiter::default() });
        self.all.borrow_mut().push_back(Rc::clone(&waiter));
        waiter
    }

    /// Lets one go; says whether it had been told without having heard.
    pub fn leave(&self, waiter: &Rc<Waiter>) -> bool {
        let mut all = self.all.borrow_mut();
        if let Some(at) = all.iter().position(|one| Rc::ptr_eq(one, waiter)) {
            all.remove(at);
        }
        waiter.told.get() && !waiter.heard.get()
    }

    /// Tells the first whom it helps, given the moment after which its connection has to be opened.
    pub fn tell_one(&self, helps: impl Fn(Option<Nanos>) -> bool) {
        let mut all = self.all.borrow_mut();
        if let Some(at) = all.iter().position(|one| helps(one.younger))
            && let Some(waiter) = all.remove(at)
        {
            waiter.tell();
        }
    }

    /// Tells everybody.
    pub fn tell_all(&self) {
        self.all.take().iter().for_each(|waiter| waiter.tell());
    }
}

impl Waiter {
    fn tell(&self) {
        self.told.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits until it is told.
    pub async fn told(&self) {
        poll_fn(|cx| {
            if self.told.get() {
                self.heard.set(true);
                return Poll::Ready(());
            }
            self.waker.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_whom_it_helps_is_told() {
        let waiters = Waiters::default();
        let [picky, first, second] =
            [Some(Nanos::from_millis(5)), None, None].map(|younger| waiters.enter(younger));
        let told = || [&picky, &first, &second].map(|waiter| waiter.told.get());
        waiters.tell_one(|younger| younger.is_none());
        assert_eq!(told(), [false, true, false]);
        waiters.tell_one(|younger| younger.is_none());
        assert_eq!(told(), [false, true, true]);
        waiters.tell_one(|younger| younger.is_none());
        assert_eq!(told(), [false, true, true]);
        waiters.tell_one(|younger| younger.is_some_and(|than| than < Nanos::from_millis(9)));
        assert_eq!(told(), [true, true, true]);
    }

    #[test]
    fn one_that_has_left_is_passed_over() {
        let waiters = Waiters::default();
        let (left, stays) = (waiters.enter(None), waiters.enter(None));
        assert!(!waiters.leave(&left));
        waiters.tell_one(|_| true);
        assert!(!left.told.get());
        assert!(waiters.leave(&stays));
    }
}
