//! Connections to endpoints that speak HTTP/2: each worker has its own, and its requests share them stream by stream.

use super::io::Pipe;
use super::line::{Line, drive};
use super::meter::Meter;
use super::{SEND_BUFFER_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX, connection_window};
use crate::connections::{KeyHasher, Security, Wanted, connect, count_in, key};
use crate::fault::Fault;
use crate::http1::Limits;
use crate::timer::{GiveUp, Timer, earlier};
use crate::worker::Worker;
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::hash::BuildHasherDefault;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use steelyard_core::endpoint::Endpoint;
use steelyard_core::time::Nanos;
use tokio::sync::Notify;

/// Frames without content that an endpoint may send within a minute, beside one for every 32 bytes carried.
const CONTROL_FRAMES_MAX: u32 = 10_000;

/// The connections of one worker, by endpoint.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    groups: RefCell<HashMap<usize, Rc<Group>, BuildHasherDefault<KeyHasher>>>,
}

/// The connections to one endpoint.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub lines: RefCell<Vec<Rc<Line>>>,
    opening: Cell<Opening>,
    /// How many could not be opened, and why the last could not.
    failures: Cell<u64>,
    failure: RefCell<Option<io::Error>>,
    /// Told whenever a stream ends, or a connection is there or is not.
    pub changed: Notify,
}

/// Whether one more connection is being opened: whoever has no room waits for it, and nobody opens another meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Opening {
    #[default]
    No,
    /// There are as many as there may be.
    Counting,
    Connecting,
}

/// Leave to open one stream. The connection is not closed for want of use while anybody holds one.
#[derive(Debug)]
pub(crate) struct Permit {
    line: Rc<Line>,
    group: Rc<Group>,
    /// Whether the connection was there before.
    pub reused: bool,
    /// Bytes that the endpoint had sent when this was given out.
    received: u64,
}

impl Group {
    /// A connection that has room, and was opened after that moment.
    fn line(&self, younger: Option<Nanos>) -> Option<Rc<Line>> {
        let is_young = |line: &&Rc<Line>| younger.is_none_or(|than| line.since > than);
        self.lines.borrow().iter().filter(is_young).find(|line| line.has_room()).cloned()
    }

    fn permit(self: &Rc<Self>, younger: Option<Nanos>, reused: bool) -> Option<Permit> {
        let line = self.line(younger)?;
        line.begin();
        let received = line.received();
        Some(Permit { line, group: Rc::clone(self), reused, received })
    }

    /// Why none could be opened, if that has happened since there were so many failures.
    fn failed(&self, since: u64) -> Option<io::Error> {
        if self.failures.get() == since {
            return None;
        }
        let failure = self.failure.borrow();
        let again = |error: &io::Error| {
            error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
        };
        failure.as_ref().map(again)
    }

    fn opened(&self, outcome: io::Result<Option<Rc<Line>>>) {
        match outcome {
            Ok(line) => self.lines.borrow_mut().extend(line),
            Err(error) => {
                self.failures.set(self.failures.get() + 1);
                self.failure.replace(Some(error));
            }
        }
        self.opening.set(Opening::No);
        self.changed.notify_waiters();
    }
}

impl Permit {
    /// What opens streams; `None` once the connection has ended.
    pub fn sender(&self) -> Option<SendRequest<Bytes>> {
        self.line.sender()
    }

    /// The exchange took too long. Where nothing at all has come meanwhile, the connection may be dead.
    pub fn is_overdue(&self) {
        if self.line.received() == self.received {
            self.line.retire();
        }
    }

    /// Ends the connection once its streams have.
    pub fn retire(&self) {
        self.line.retire();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.line.end();
        self.group.changed.notify_one();
    }
}

impl Lines {
    /// Leave to open a stream to an endpoint: on a connection that there is, else on a new one. `younger` asks for one
    /// that was opened after that moment.
    pub async fn take(
        &self,
        endpoint: &Arc<Endpoint>,
        worker: &Rc<Worker>,
        timer: &Timer,
        wanted: &Wanted<'_>,
        younger: Option<Nanos>,
    ) -> Result<Permit, Fault> {
        let group = self.group(endpoint);
        if let Some(permit) = group.permit(younger, true) {
            return Ok(permit);
        }
        let give_up = earlier(timer.after(wanted.connect_ms), wanted.give_up);
        let failures = group.failures.get();
        loop {
            let mut changed = pin!(group.changed.notified());
            changed.as_mut().enable();
            if let Some(permit) = group.permit(younger, false) {
                return Ok(permit);
            }
            if let Some(error) = group.failed(failures) {
                return Err(Fault::Connect(error));
            }
            if group.opening.get() == Opening::No {
                group.opening.set(Opening::Counting);
                let rules = Rules::of(wanted, younger);
                let (group, endpoint, worker) = (Rc::clone(&group), Arc::clone(endpoint), Rc::clone(worker));
                tokio::task::spawn_local(async move {
                    let outcome = open(&group, &endpoint, &worker, rules).await;
                    group.opened(outcome);
                });
            }
            wait(changed, timer, give_up).await.map_err(|_| late(&group, wanted, give_up))?;
        }
    }

    fn group(&self, endpoint: &Arc<Endpoint>) -> Rc<Group> {
        Rc::clone(self.groups.borrow_mut().entry(key(endpoint)).or_default())
    }

    /// Whether there is a connection to an endpoint that nobody uses.
    pub fn has_idle(&self, endpoint: usize) -> bool {
        self.groups
            .borrow()
            .get(&endpoint)
            .is_some_and(|group| group.lines.borrow().iter().any(|line| line.is_idle()))
    }

    /// Closes one of those, if there is one.
    pub fn close_one(&self, endpoint: usize) {
        let groups = self.groups.borrow();
        let Some(group) = groups.get(&endpoint) else { return };
        if let Some(line) = group.lines.borrow().iter().find(|line| line.is_idle()) {
            line.retire();
        }
    }

    /// Ends the connections to endpoints that are not to be kept, once their streams have ended.
    pub fn retain(&self, keep: impl Fn(usize) -> bool) {
        self.groups.borrow_mut().retain(|&endpoint, group| {
            let keep = keep(endpoint);
            if !keep {
                group.lines.borrow().iter().for_each(|line| line.retire());
            }
            keep
        });
    }
}

/// What it means that the time for a connection is over.
fn late(group: &Group, wanted: &Wanted<'_>, give_up: GiveUp) -> Fault {
    match group.opening.get() {
        // Cut off by the time for the whole request, it says nothing about the endpoint.
        _ if wanted.give_up == give_up && give_up.is_some() => Fault::TotalTimeout,
        Opening::Connecting => Fault::Connect(io::ErrorKind::TimedOut.into()),
        Opening::No | Opening::Counting => Fault::NoConnection,
    }
}

/// Waits until told, or until it is late.
async fn wait(told: impl Future<Output = ()>, timer: &Timer, give_up: GiveUp) -> io::Result<()> {
    let mut told = pin!(told);
    poll_fn(|cx| match told.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending => timer.poll(give_up, cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
    })
    .await
}

/// By what a connection is opened.
#[derive(Debug, Clone, Copy)]
struct Rules {
    max: Option<u32>,
    connect_ms: Option<u64>,
    idle_ms: Option<u64>,
    /// Older ones do not do.
    younger: Option<Nanos>,
}

impl Rules {
    fn of(wanted: &Wanted<'_>, younger: Option<Nanos>) -> Self {
        let (max, idle_ms) = (wanted.rules.max, wanted.rules.idle_timeout_ms);
        Self { max, connect_ms: wanted.connect_ms, idle_ms, younger }
    }
}

/// Opens a connection, unless there is room before there may be one, and waits until the endpoint has said what it may be
/// asked. One that speaks another protocol never does: nothing was asked of it then.
async fn open(
    group: &Rc<Group>,
    endpoint: &Arc<Endpoint>,
    worker: &Rc<Worker>,
    rules: Rules,
) -> io::Result<Option<Rc<Line>>> {
    let timer = &Timer::new(worker.shared.clock);
    let has_room = || {
        let room = group.line(rules.younger).is_some();
        if !room {
            worker.lines.close_one(key(endpoint));
        }
        room
    };
    let give_up = timer.after(rules.connect_ms);
    // Whoever waited so long knows it already.
    let counted = count_in(endpoint, &worker.shared, timer, rules.max, give_up, has_room).await;
    let Ok(Some(count)) = counted else { return Ok(None) };
    group.opening.set(Opening::Connecting);
    let give_up = timer.after(rules.connect_ms);
    let transport = connect(endpoint.address(), &[], Security::ClearText, timer, give_up).await?;
    let meter = Meter::new(CONTROL_FRAMES_MAX, false);
    let pipe = Pipe::new(transport, Vec::new(), worker.vectors.clone(), meter);
    // It only writes, to where there is room.
    let (sender, connection) = builder().handshake(pipe.end()).await.map_err(io::Error::other)?;
    let line = Rc::new(Line::new(sender, Rc::clone(&pipe), timer.look(), rules.idle_ms, count));
    let driven = (Rc::clone(&line), Rc::clone(group));
    tokio::task::spawn_local(drive(connection, pipe, driven.0, driven.1, worker.shared.clock));
    if let Err(late) = wait(line.settled(), timer, give_up).await {
        line.retire();
        return Err(late);
    }
    if line.is_over() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP/2"));
    }
    line.rest();
    Ok(Some(line))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(connection_window(STREAMS_MAX))
        .max_header_list_size(Limits::default().header_bytes_max)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX);
    builder
}
