//! Two directions at once: the one towards the endpoint moves along while something else is waited for.

use crate::fault::Fault;
use crate::timer::{GiveUp, Timer};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The direction towards the endpoint, moved along while the other one is waited for.
pub(super) struct Upload<'f, F> {
    future: Pin<&'f mut F>,
    /// The future has given its outcome and is never polled again.
    ended: bool,
    /// The fault it ended with, where something that was there already has gone before it.
    fault: Option<Fault>,
}

impl<'f, F: Future<Output = Result<(), Fault>>> Upload<'f, F> {
    pub fn new(future: Pin<&'f mut F>) -> Self {
        Self { future, ended: false, fault: None }
    }

    /// Moves on, unless it has ended.
    fn advance(&mut self, cx: &mut Context<'_>) {
        if self.ended {
            return;
        }
        if let Poll::Ready(outcome) = self.future.as_mut().poll(cx) {
            self.ended = true;
            self.fault = outcome.err();
        }
    }

    /// Waits for `main` while the upload moves on; the upload's fault ends both, as does the moment that `until`
    /// names, with the fault that `late` makes. Where `main` was ready before that fault could end it, the fault is kept
    /// for whatever is waited for next.
    pub async fn race<T>(
        &mut self,
        mut main: Pin<&mut impl Future<Output = Result<T, Fault>>>,
        timer: &Timer,
        until: impl Fn() -> GiveUp,
        late: impl Fn() -> Fault,
    ) -> Result<T, Fault> {
        poll_fn(|cx| {
            self.advance(cx);
            // An answer that is already here counts for more than a fault, but for the client's departure.
            if let Some(gone) = self.fault.take_if(|fault| matches!(fault, Fault::ClientGone)) {
                return Poll::Ready(Err(gone));
            }
            if let Poll::Ready(outcome) = main.as_mut().poll(cx) {
                return Poll::Ready(outcome);
            }
            match self.fault.take() {
                Some(fault) => Poll::Ready(Err(fault)),
                None => timer.poll(until(), cx).map(|()| Err(late())),
            }
        })
        .await
    }

    /// As [`race`](Self::race), but `main` goes first: most answers have come whole with their head, and nothing of the
    /// upload can matter to those any more.
    pub async fn race_behind<T>(
        &mut self,
        mut main: Pin<&mut impl Future<Output = Result<T, Fault>>>,
        timer: &Timer,
        until: impl Fn() -> GiveUp,
        late: impl Fn() -> Fault,
    ) -> Result<T, Fault> {
        match poll_fn(|cx| Poll::Ready(main.as_mut().poll(cx))).await {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => self.race(main, timer, until, late).await,
        }
    }

    /// Waits for the upload alone.
    pub async fn finish(&mut self, timer: &Timer, until: impl Fn() -> GiveUp) -> Result<(), Fault> {
        poll_fn(|cx| {
            self.advance(cx);
            match self.fault.take() {
                Some(fault) => Poll::Ready(Err(fault)),
                None if self.ended => Poll::Ready(Ok(())),
                None => timer.poll(until(), cx).map(|()| Err(Fault::Stalled)),
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use std::future::{pending, ready};
    use std::pin::pin;
    use std::task::Waker;

    /// What `future` comes to without waiting.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn a_fault_that_came_with_an_answer_ends_the_next_wait() {
        let timer = Timer::new(Clock::start());
        let future = pin!(ready(Err(Fault::Stalled)));
        let mut upload = Upload::new(future);
        let answer = now(upload.race(pin!(ready(Ok(7))), &timer, || None, || Fault::TotalTimeout));
        assert!(matches!(answer, Ok(7)));
        // Another answer that is here already still goes before.
        let answer = now(upload.race_behind(pin!(ready(Ok(8))), &timer, || None, || Fault::TotalTimeout));
        assert!(matches!(answer, Ok(8)));
        let never = pin!(pending::<Result<(), Fault>>());
        let waited = now(upload.race_behind(never, &timer, || None, || Fault::TotalTimeout));
        assert!(matches!(waited, Err(Fault::Stalled)));
    }

    #[test]
    fn a_fault_that_came_with_the_end_of_the_other_direction_is_not_lost() {
        let timer = Timer::new(Clock::start());
        let future = pin!(ready(Err(Fault::Reset)));
        let mut upload = Upload::new(future);
        assert!(now(upload.race(pin!(ready(Ok(()))), &timer, || None, || Fault::Stalled)).is_ok());
        assert!(matches!(now(upload.finish(&timer, || None)), Err(Fault::Reset)));
    }

    #[test]
    fn a_client_that_has_gone_gets_no_answer() {
        let timer = Timer::new(Clock::start());
        let future = pin!(ready(Err(Fault::ClientGone)));
        let mut upload = Upload::new(future);
        let answer = now(upload.race(pin!(ready(Ok(7))), &timer, || None, || Fault::Stalled));
        assert!(matches!(answer, Err(Fault::ClientGone)));
    }
}
