//! The connections of one worker to one endpoint, as those who want a stream on one see them.

use super::line::Line;
use super::open::Opened;
use super::waiters::{Waiter, Waiters};
use crate::connections::{Connection, Wanted};
use crate::fault::Fault;
use crate::timer::GiveUp;
use crate::tls::{PoolTls, same};
use crate::transport::Insecure;
use crate::worker::Worker;
use bytes::Bytes;
use h2::client::SendRequest;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use steelyard_core::document;
use steelyard_core::time::Nanos;

/// The connections to one endpoint that were opened by the same rules: in clear text, or under one and the same TLS, for
/// anybody or for one client. What becomes of those under other rules is no matter to whoever waits here.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub secured_by: Option<Arc<PoolTls>>,
    /// The client whose they are alone; 0 = anybody's.
    pub whose: u64,
    pub lines: RefCell<Vec<Rc<Line>>>,
    pub opening: Cell<Opening>,
    /// Whether the endpoint, which may choose, has last chosen HTTP/1.1: such connections are not shared, and each request
    /// opens its own.
    pub older: Cell<bool>,
    /// Connections of HTTP/1.1 for those who waited when they were opened.
    handed: RefCell<Vec<Connection>>,
    waiting: Cell<usize>,
    /// Whether these rules are not those in force any more.
    left: Cell<bool>,
    /// How many could not be opened, and why the last could not.
    pub failures: Cell<u64>,
    failure: RefCell<Option<io::Error>>,
    /// Each stream that ends is told to one who can use it, and to all that a connection is there or is not.
    waiters: Waiters,
}

/// Whether one more connection is being opened: whoever has no room waits for it, and nobody opens another meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Opening {
    #[default]
    No,
    /// There are as many as there may be.
    Counting,
    Connecting,
}

impl Group {
    /// One without any connection.
    pub fn new(secured_by: Option<&Arc<PoolTls>>, whose: u64) -> Self {
        Self { secured_by: secured_by.cloned(), whose, ..Self::default() }
    }

    /// Whether its connections were opened by these rules.
    pub fn is_under(&self, secured_by: Option<&Arc<PoolTls>>, whose: u64) -> bool {
        self.whose == whose && same(self.secured_by.as_ref(), secured_by)
    }

    /// Whether the endpoint chooses what is spoken.
    pub fn leaves_it_open(&self) -> bool {
        self.secured_by.as_ref().is_some_and(|tls| tls.leaves_it_open())
    }

    /// A connection that has room, and was opened after that moment.
    pub fn line(&self, younger: Option<Nanos>) -> Option<Rc<Line>> {
        self.lines.borrow().iter().find(|line| line.is_younger(younger) && line.has_room()).cloned()
    }

    /// Connections have come or gone, or have more room: everybody looks anew.
    pub fn changed(&self) {
        self.waiters.tell_all();
    }

    pub fn permit(self: &Rc<Self>, younger: Option<Nanos>, reused: bool) -> Option<Permit> {
        let line = self.line(younger)?;
        line.begin();
        let received = line.received();
        Some(Permit { line, group: Rc::clone(self), reused, received })
    }

    /// Why none could be opened, if that has happened since there were so many failures.
    pub fn failed(&self, since: u64) -> Option<io::Error> {
        if self.failures.get() == since {
            return None;
        }
        self.failure.borrow().as_ref().map(again)
    }

    /// Takes in what came of opening a connection.
    pub fn opened(&self, outcome: io::Result<Opened>, worker: &Worker, rules: &document::Connections) {
        match outcome {
            Ok(Opened::Room) => {}
            Ok(Opened::Line(line)) => self.add(line),
            Ok(Opened::Older(connection)) => {
                self.older.set(true);
                self.handed.borrow_mut().push(connection);
                self.keep_unclaimed(worker, rules);
            }
            Err(error) => {
                self.failures.set(self.failures.get() + 1);
                self.failure.replace(Some(error));
            }
        }
        self.opening.set(Opening::No);
        self.changed();
    }

    /// Takes in a connection that is to be shared.
    pub fn add(&self, line: Rc<Line>) {
        self.older.set(false);
        if self.left.get() && self.waiting.get() == 0 {
            line.retire();
        }
        self.lines.borrow_mut().push(line);
        self.changed();
    }

    /// What nobody waits for lies idle.
    fn keep_unclaimed(&self, worker: &Worker, rules: &document::Connections) {
        if self.waiting.get() == 0 {
            for connection in self.handed.take() {
                if !self.left.get() {
                    worker.idle.put(connection, rules, None, worker.shared.clock.now());
                }
            }
        }
    }

    /// Ends the connections once their streams have; none is opened by these rules but for who began under them.
    pub fn leave(&self) {
        self.left.set(true);
        self.lines.borrow().iter().for_each(|line| line.retire());
    }
}

/// The same error, for one more who waited.
fn again(error: &io::Error) -> io::Error {
    if let Some(number) = error.raw_os_error() {
        return io::Error::from_raw_os_error(number);
    }
    match error.get_ref() {
        Some(inner) => match inner.downcast_ref::<Insecure>() {
            Some(insecure) => insecure.again().into(),
            None => io::Error::new(error.kind(), inner.to_string()),
        },
        None => error.kind().into(),
    }
}

/// One who waits until a connection has room, or there is one of its own.
pub(super) struct Waiting<'a> {
    group: &'a Group,
    worker: &'a Worker,
    rules: &'a document::Connections,
    waiter: Rc<Waiter>,
}

impl<'a> Waiting<'a> {
    /// Begins to wait for a connection that was opened after that moment.
    pub fn begin(
        group: &'a Group,
        worker: &'a Worker,
        rules: &'a document::Connections,
        younger: Option<Nanos>,
    ) -> Self {
        group.waiting.set(group.waiting.get() + 1);
        Self { group, worker, rules, waiter: group.waiters.enter(younger) }
    }

    /// Waits until it is worth to look anew.
    pub async fn told(&self) {
        self.waiter.told().await;
    }

    /// A connection that was opened meanwhile and is for one alone.
    pub fn handed(&self) -> Option<Connection> {
        self.group.handed.borrow_mut().pop()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Cut off before it heard of a stream, it leaves that to the next.
        if self.group.waiters.leave(&self.waiter) {
            self.group.waiters.tell_one(|younger| self.group.line(younger).is_some());
        }
        self.group.waiting.set(self.group.waiting.get() - 1);
        self.group.keep_unclaimed(self.worker, self.rules);
    }
}

/// What it means that the time for a connection is over.
pub(super) fn late(group: &Group, wanted: &Wanted<'_>, give_up: GiveUp) -> Fault {
    match group.opening.get() {
        // Cut off by the time for the whole request, it says nothing about the endpoint.
        _ if wanted.give_up == give_up && give_up.is_some() => Fault::TotalTimeout,
        Opening::Connecting => Fault::Connect(io::ErrorKind::TimedOut.into()),
        Opening::No | Opening::Counting => Fault::NoConnection,
    }
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

impl Permit {
    /// What opens streams; `None` once the connection has ended.
    pub fn sender(&self) -> Option<SendRequest<Bytes>> {
        self.line.sender()
    }

    /// Whether the connection is one over TLS.
    pub fn is_secure(&self) -> bool {
        self.group.secured_by.is_some()
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

    /// How the connection goes away under its streams, if it does.
    pub fn leave(&self) -> Option<Leave> {
        self.line
            .is_leaving()
            .then(|| Leave { fruitful: self.line.last_stream().is_some_and(|last| last > 0) })
    }
}

/// A connection that takes no more requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leave {
    /// Whether the endpoint has looked at some before it said so.
    pub fruitful: bool,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.line.end();
        if self.group.left.get() {
            self.line.retire();
        }
        if self.line.has_room() {
            self.group.waiters.tell_one(|younger| self.line.is_younger(younger));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_waited_hears_the_same() {
        let refused = io::Error::from_raw_os_error(111);
        assert_eq!(again(&refused).raw_os_error(), Some(111));
        let insecure = io::Error::from(Insecure::NoHttp2);
        let copy = again(&insecure);
        let inner = copy.get_ref().and_then(|inner| inner.downcast_ref::<Insecure>());
        assert!(matches!(inner, Some(Insecure::NoHttp2)));
        let said = again(&io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP/2"));
        assert_eq!(
            (said.kind(), said.to_string().as_str()),
            (io::ErrorKind::InvalidData, "it does not speak HTTP/2")
        );
        assert_eq!(again(&io::ErrorKind::TimedOut.into()).kind(), io::ErrorKind::TimedOut);
    }
}
