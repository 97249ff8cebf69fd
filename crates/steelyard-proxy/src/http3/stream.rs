//! The way back of a stream: what the answer is written to, and where the client's departure shows.

use super::code::Code;
use crate::fault::Fault;
use crate::timer::Timer;
use bytes::Bytes;
use quinn::SendStream;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The way back, for both halves of an exchange.
#[derive(Debug)]
pub(super) struct Back {
    stream: RefCell<SendStream>,
    gone: Cell<bool>,
}

pub(super) type SharedBack = Rc<Back>;

impl Back {
    pub fn new(stream: SendStream) -> SharedBack {
        Rc::new(Self { stream: RefCell::new(stream), gone: Cell::new(false) })
    }

    /// Waits until the client wants no answer any more, or is not there.
    pub async fn gone(&self) {
        let stopped = self.stream.borrow().stopped();
        match stopped.await {
            // All has arrived; nobody can leave any more.
            Ok(None) => std::future::pending().await,
            Ok(Some(_)) | Err(_) => self.gone.set(true),
        }
    }

    /// Notes that the client has left.
    pub fn has_left(&self) {
        self.gone.set(true);
    }

    /// Whether the client has left.
    pub fn is_left(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.gone.get() || pin!(self.gone()).poll(&mut cx).is_ready()
    }

    /// Ends the stream at once, as one that was not finished.
    pub fn reset(&self, code: Code) {
        // One that has ended needs no end.
        let _ = self.stream.borrow_mut().reset(code.into());
    }

    /// Writes all of these. A write that moves nothing for `patience_ms` fails.
    pub async fn write(
        &self,
        mut pieces: &mut [Bytes],
        timer: &Timer,
        patience_ms: Option<u64>,
    ) -> Result<(), Fault> {
        let mut give_up = None;
        while let Some(first) = pieces.first() {
            if first.is_empty() {
                pieces = &mut pieces[1..];
                continue;
            }
            let written = poll_fn(|cx| {
                let mut stream = self.stream.borrow_mut();
                match pin!(stream.write_chunks(pieces)).poll(cx) {
                    Poll::Ready(outcome) => Poll::Ready(outcome.map_err(|_| {
                        self.has_left();
                        Fault::ClientGone
                    })),
                    Poll::Pending => {
                        let at = *give_up.get_or_insert_with(|| timer.after(patience_ms));
                        timer.poll(at, cx).map(|()| Err(Fault::ClientStuck))
                    }
                }
            })
            .await?;
            give_up = None;
            pieces = &mut pieces[written.chunks..];
        }
        Ok(())
    }

    /// Says that this was all.
    pub fn finish(&self) -> Result<(), Fault> {
        self.stream.borrow_mut().finish().map_err(|_| {
            self.has_left();
            Fault::ClientGone
        })
    }

    /// Waits until the client has received all, or for so long at the most.
    pub async fn received(&self, timer: &Timer, patience_ms: Option<u64>) {
        let stopped = self.stream.borrow().stopped();
        let mut stopped = pin!(stopped);
        let give_up = timer.after(patience_ms);
        poll_fn(|cx| match stopped.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => timer.poll(give_up, cx),
        })
        .await;
    }
}
