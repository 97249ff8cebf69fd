//! Two directions at once: the one towards the endpoint moves along while something else is waited for.

use crate::fault::Fault;
use crate::timer::{GiveUp, Timer};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// The direction towards the endpoint, moved along while the other one is waited for.
pub(super) struct Upload<'f, F> {
    future: Pin<&'f mut F>,
    ended: bool,
}

impl<'f, F: Future<Output = Result<(), Fault>>> Upload<'f, F> {
    pub fn new(future: Pin<&'f mut F>) -> Self {
        Self { future, ended: false }
    }

    /// Waits for `main` while the upload moves on; the upload's fault ends both, as does the moment that `until`
    /// names, with the fault that `late` makes.
    pub async fn race<T>(
        &mut self,
        mut main: Pin<&mut impl Future<Output = Result<T, Fault>>>,
        timer: &Timer,
        until: impl Fn() -> GiveUp,
        late: impl Fn() -> Fault,
    ) -> Result<T, Fault> {
        poll_fn(|cx| {
            if !self.ended {
                match self.future.as_mut().poll(cx) {
                    Poll::Ready(Ok(())) => self.ended = true,
                    Poll::Ready(Err(fault)) => {
                        // An answer that is already here counts for more than a fault, but for the client's departure.
                        return match main.as_mut().poll(cx) {
                            Poll::Ready(outcome) if !matches!(fault, Fault::ClientGone) => {
                                Poll::Ready(outcome)
                            }
                            _ => Poll::Ready(Err(fault)),
                        };
                    }
                    Poll::Pending => {}
                }
            }
            match main.as_mut().poll(cx) {
                Poll::Ready(outcome) => Poll::Ready(outcome),
                Poll::Pending => timer.poll(until(), cx).map(|()| Err(late())),
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
        if self.ended {
            return Ok(());
        }
        poll_fn(|cx| match self.future.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => timer.poll(until(), cx).map(|()| Err(Fault::Stalled)),
        })
        .await
    }
}
