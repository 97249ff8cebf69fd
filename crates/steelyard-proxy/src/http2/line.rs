//! One connection to an endpoint that speaks HTTP/2, and what drives it.

use super::STREAMS_MAX;
use super::group::Group;
use super::io::{Io, Pipe};
use crate::clock::Clock;
use crate::connections::Counted;
use crate::timer::Timer;
use crate::transport::Transport;
use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use steelyard_core::time::Nanos;
use tokio::sync::Notify;

/// A connection as those who open streams on it see it.
#[derive(Debug)]
pub(super) struct Line {
    /// Taken away when no more streams are to be opened; `h2` then ends the connection with its last stream.
    sender: RefCell<Option<SendRequest<Bytes>>>,
    pipe: Rc<Pipe<Transport>>,
    streams: Cell<usize>,
    /// When it was opened.
    since: Nanos,
    /// How long nobody may use it.
    idle_ms: Option<u64>,
    /// Whether the endpoint has said what it may be asked.
    settled: Cell<bool>,
    /// How many streams the endpoint allows at once.
    allowed: Cell<usize>,
    over: Cell<bool>,
    /// Whether it counts as one that nobody uses.
    resting: Cell<bool>,
    told: Notify,
    /// Wakes what drives it when the number of streams has become zero, or no more are to be opened.
    stirred: Notify,
    count: RefCell<Option<Counted>>,
}

impl Line {
    pub fn new(
        sender: SendRequest<Bytes>,
        pipe: Rc<Pipe<Transport>>,
        since: Nanos,
        idle_ms: Option<u64>,
        count: Counted,
    ) -> Self {
        Self {
            sender: RefCell::new(Some(sender)),
            pipe,
            streams: Cell::new(0),
            since,
            idle_ms,
            settled: Cell::new(false),
            allowed: Cell::new(0),
            over: Cell::new(false),
            resting: Cell::new(false),
            told: Notify::new(),
            stirred: Notify::new(),
            count: RefCell::new(Some(count)),
        }
    }

    /// What opens streams, unless no more are to be.
    pub fn sender(&self) -> Option<SendRequest<Bytes>> {
        self.sender.borrow().clone()
    }

    /// Whether one more stream may be opened.
    pub fn has_room(&self) -> bool {
        let theirs = self.sender.borrow().as_ref().map_or(0, SendRequest::current_max_send_streams);
        !self.over.get() && self.streams.get() < theirs.min(STREAMS_MAX as usize)
    }

    /// Whether it was opened after that moment, if there has to be one.
    pub fn is_younger(&self, than: Option<Nanos>) -> bool {
        than.is_none_or(|than| self.since > than)
    }

    /// Bytes that the endpoint has sent.
    pub fn received(&self) -> u64 {
        self.pipe.received()
    }

    /// Counts one more stream.
    pub fn begin(&self) {
        self.streams.set(self.streams.get() + 1);
        self.is_used();
    }

    /// Counts one less.
    pub fn end(&self) {
        self.streams.set(self.streams.get() - 1);
        if self.streams.get() == 0 {
            self.rest();
            self.stirred.notify_one();
        }
    }

    /// Nobody uses it.
    pub fn rest(&self) {
        if let Some(count) = &*self.count.borrow()
            && !self.resting.replace(true)
        {
            count.is_idle();
        }
    }

    fn is_used(&self) {
        if let Some(count) = &*self.count.borrow()
            && self.resting.take()
        {
            count.is_used();
        }
    }

    /// Whether nobody uses it.
    pub fn is_idle(&self) -> bool {
        self.streams.get() == 0 && !self.over.get() && self.sender.borrow().is_some()
    }

    /// Lets no more streams be opened; with the last one it ends.
    pub fn retire(&self) {
        drop(self.sender.take());
        self.stirred.notify_one();
    }

    /// Whether no more streams are to be opened, or the endpoint has said that it looks at no more.
    pub fn is_leaving(&self) -> bool {
        self.over.get() || self.sender.borrow().is_none() || self.last_stream().is_some()
    }

    /// The last stream that the endpoint looks at, if it has said so.
    pub fn last_stream(&self) -> Option<u32> {
        self.pipe.meter().last_stream()
    }

    /// Waits until the endpoint has said what it may be asked, or the connection is over.
    pub async fn settled(&self) {
        while !self.settled.get() && !self.over.get() {
            let told = self.told.notified();
            if !self.settled.get() && !self.over.get() {
                told.await;
            }
        }
    }

    /// Whether the connection has ended.
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    fn settle(&self) {
        if !self.settled.replace(true) {
            self.told.notify_waiters();
        }
    }

    /// Whether the endpoint allows more streams at once than it did.
    fn has_grown(&self) -> bool {
        let allowed = self.sender.borrow().as_ref().map_or(0, SendRequest::current_max_send_streams);
        self.allowed.replace(allowed) < allowed
    }

    fn finish(&self) {
        drop(self.sender.take());
        self.is_used();
        drop(self.count.take());
        self.over.set(true);
        self.told.notify_waiters();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.is_used();
    }
}

/// Moves a connection along until it has ended.
pub(super) async fn drive(
    mut connection: Connection<Io<Transport>, Bytes>,
    pipe: Rc<Pipe<Transport>>,
    line: Rc<Line>,
    group: Rc<Group>,
    clock: Clock,
) {
    let timer = Timer::new(clock);
    let mut idle_since = Some(timer.now());
    let mut stirred = Box::pin(line.stirred.notified());
    poll_fn(|cx| {
        timer.wake();
        pipe.meter().recover(timer.now());
        while stirred.as_mut().poll(cx).is_ready() {
            stirred.set(line.stirred.notified());
        }
        idle_since = (line.streams.get() == 0).then(|| idle_since.unwrap_or_else(|| timer.now()));
        let ended = poll(&mut connection, &pipe, &line, &timer, idle_since, cx);
        if line.has_grown() {
            group.changed();
        }
        ended
    })
    .await;
    group.lines.borrow_mut().retain(|one| !Rc::ptr_eq(one, &line));
    line.finish();
    group.changed();
}

/// Ready when the connection has ended, or is to.
fn poll(
    connection: &mut Connection<Io<Transport>, Bytes>,
    pipe: &Pipe<Transport>,
    line: &Line,
    timer: &Timer,
    idle_since: Option<Nanos>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        if let Poll::Ready(outcome) = Pin::new(&mut *connection).poll(cx) {
            if let Err(error) = outcome {
                tracing::debug!(%error, "an HTTP/2 connection to an endpoint ended");
            }
            return Poll::Ready(());
        }
        if pipe.meter().has_settings() {
            line.settle();
        }
        if pipe.meter().last_stream().is_some() && line.sender.borrow().is_some() {
            // Who comes from here on opens another.
            line.retire();
        }
        if pipe.meter().is_exhausted() {
            tracing::debug!("an endpoint sends too many frames without content");
            return Poll::Ready(());
        }
        if let Poll::Ready(Err(_)) = pipe.poll_send(cx) {
            return Poll::Ready(());
        }
        let quiet = idle_since.zip(line.idle_ms).map(|(since, ms)| since.plus(Nanos::from_millis(ms)));
        if line.sender.borrow().is_none() || timer.poll(quiet, cx).is_pending() {
            return Poll::Pending;
        }
        // Its time is over: `h2` says goodbye.
        line.retire();
    }
}
