//! Connections to endpoints: opened, counted, lent for one exchange, kept while idle.
//!
//! Each worker keeps its own; the newest is used first, so that those in excess grow old and are closed.

mod connect;

use crate::fault::Fault;
use crate::proxied::{self, Told, Version};
use crate::shared::{Command, Shared};
use crate::timer::{GiveUp, Timer, earlier};
use crate::tls::{PoolTls, Spoken, same};
use crate::transport::Transport;
pub(crate) use connect::connect;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use steelyard_core::document;
use steelyard_core::endpoint::Endpoint;
use steelyard_core::pool::Pool;
use steelyard_core::time::Nanos;
use tokio::sync::futures::Notified;

/// A request that may not be repeated does not go out on a connection that was idle for longer.
const UNREPEATABLE_IDLE_MAX: Nanos = Nanos::from_millis(1_000);

/// The name of an endpoint's state while it lives: its address in memory.
pub fn key(endpoint: &Arc<Endpoint>) -> usize {
    Arc::as_ptr(endpoint) as usize
}

/// Spreads addresses of endpoints, which nobody outside can choose: one multiplication instead of a keyed hash.
#[derive(Debug, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_usize(usize::from(byte));
        }
    }

    fn write_usize(&mut self, key: usize) {
        // The golden ratio of 2^64 (D. Knuth, "The art of computer programming", volume 3, section 6.4); the table
        // takes its place from the low bits and its tag from the high ones.
        let product = (self.0 ^ key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }
}

/// An open connection to an endpoint, counted while it is open.
#[derive(Debug)]
pub struct Connection {
    /// What carries its bytes.
    pub transport: Transport,
    /// Whether it has carried an exchange before.
    pub reused: bool,
    /// The client that it is of alone; 0 = of any.
    whose: u64,
    /// What it was secured by; `None` = it is in clear text.
    secured_by: Option<Arc<PoolTls>>,
    count: Counted,
}

impl Connection {
    /// One that has carried nothing yet.
    pub(crate) fn new(transport: Transport, security: Security<'_>, whose: u64, count: Counted) -> Self {
        Self { transport, reused: false, whose, secured_by: security.tls().cloned(), count }
    }

    /// Whether HTTP/2 was agreed on.
    pub(crate) fn speaks_http2(&self) -> bool {
        self.secured_by.as_ref().is_some_and(|tls| tls.spoken(self.transport.alpn()) == Some(Spoken::Http2))
    }

    /// What carries its bytes, and its share of the endpoint's count.
    pub(crate) fn into_parts(self) -> (Transport, Counted) {
        (self.transport, self.count)
    }
}

/// One connection's share of its endpoint's count.
#[derive(Debug)]
pub(crate) struct Counted {
    endpoint: Arc<Endpoint>,
    shared: Arc<Shared>,
}

impl Counted {
    /// Counts one more, unless there are `max` already.
    fn take(endpoint: &Arc<Endpoint>, shared: &Arc<Shared>, max: Option<u32>) -> Option<Self> {
        let below = |count: u32| (count < max.unwrap_or(u32::MAX)).then_some(count + 1);
        // Sequentially consistent for the sake of those who wait; see `ConnectionWaits::begin`.
        endpoint.connections.fetch_update(Ordering::SeqCst, Ordering::SeqCst, below).ok()?;
        Some(Self { endpoint: endpoint.clone(), shared: shared.clone() })
    }
}

impl Counted {
    /// Counts its connection as one that nobody uses.
    pub fn is_idle(&self) {
        self.endpoint.idle_connections.fetch_add(1, Ordering::SeqCst);
        self.shared.connection_waits.wake_one(key(&self.endpoint));
    }

    /// Counts it so no more.
    pub fn is_used(&self) {
        self.endpoint.idle_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.endpoint.connections.fetch_sub(1, Ordering::SeqCst);
        // Whether or not the pool bounded connections when this one was opened: it may do so now.
        self.shared.connection_waits.wake_one(key(&self.endpoint));
    }
}

/// What a wait for a connection ends with.
enum Leave {
    /// One more may be opened.
    Open(Counted),
    /// One that lay idle.
    Reuse(Connection),
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Nanos,
    until: GiveUp,
}

impl Idle {
    fn wake_up(self) -> Connection {
        self.connection.count.is_used();
        let Self { mut connection, .. } = self;
        connection.reused = true;
        connection
    }
}

/// The idle connections of one worker, by endpoint.
#[derive(Debug, Default)]
pub struct Connections {
    idle: RefCell<HashMap<usize, Vec<Idle>, BuildHasherDefault<KeyHasher>>>,
    /// Whether any has ever been of one client alone.
    personal: Cell<bool>,
}

/// Which connections will do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The pool's rules.
    pub rules: &'a document::Connections,
    /// How long connecting may take.
    pub connect_ms: Option<u64>,
    /// When the whole request gives up.
    pub give_up: GiveUp,
    /// Whether the request may be sent twice.
    pub repeatable: bool,
    /// Whether only a new one will do.
    pub fresh: bool,
    /// What it has to be secured by.
    pub security: Security<'a>,
    /// What it begins with, which makes it one client's alone.
    pub preface: Option<Preface<'a>>,
}

/// A header of the PROXY protocol for one client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Preface<'a> {
    /// The client's number on this worker; never 0.
    pub whose: u64,
    /// How it is written.
    pub version: Version,
    /// What it tells.
    pub told: Told<'a>,
}

impl Wanted<'_> {
    /// The client that a connection is to be of alone; 0 = of any.
    pub fn whose(&self) -> u64 {
        self.preface.map_or(0, |preface| preface.whose)
    }

    /// What a connection begins with, before TLS.
    pub fn first(&self) -> Vec<u8> {
        let mut first = Vec::new();
        if let Some(preface) = self.preface {
            proxied::write(preface.version, preface.told, &mut first);
        }
        first
    }
}

/// What a connection to an endpoint has to be secured by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Security<'a> {
    /// Nothing.
    ClearText,
    /// TLS, with the name that the endpoint was configured with.
    Tls(&'a Arc<PoolTls>, &'a str),
    /// The same for what is carried as it is, which no protocol is agreed on for.
    Carried(&'a Arc<PoolTls>, &'a str),
}

impl<'a> Security<'a> {
    /// What a pool wants for one of its endpoints; `None` where it wants TLS that was not loaded.
    pub fn of(pool: &'a Pool, endpoint: &Arc<Endpoint>) -> Option<Self> {
        if pool.config().tls.is_none() {
            return Some(Self::ClearText);
        }
        pool.prepared.get().map(|tls| Self::Tls(tls, pool.configured(endpoint)))
    }

    /// The same for what is carried as it is.
    pub fn carried(self) -> Self {
        match self {
            Self::Tls(tls, configured) => Self::Carried(tls, configured),
            other => other,
        }
    }

    /// The TLS that it is.
    pub fn tls(self) -> Option<&'a Arc<PoolTls>> {
        match self {
            Self::ClearText => None,
            Self::Tls(tls, _) | Self::Carried(tls, _) => Some(tls),
        }
    }

    /// Whether a connection was secured by the same: other certificates or rules are not those it was opened under.
    fn is_of(self, connection: &Connection) -> bool {
        same(self.tls(), connection.secured_by.as_ref())
    }
}

impl Connections {
    /// A connection to the endpoint: the newest idle one that is still good, else a new one.
    pub(crate) async fn take(
        &self,
        endpoint: &Arc<Endpoint>,
        shared: &Arc<Shared>,
        timer: &Timer,
        wanted: &Wanted<'_>,
    ) -> Result<Connection, Fault> {
        if !wanted.fresh
            && let Some(connection) = self.take_idle(endpoint, timer, wanted)
        {
            return Ok(connection);
        }
        let give_up = earlier(timer.after(wanted.connect_ms), wanted.give_up);
        let count = match self.count_in(endpoint, shared, timer, wanted, give_up).await? {
            Leave::Open(count) => count,
            Leave::Reuse(connection) => return Ok(connection),
        };
        let first = wanted.first();
        let connecting = connect(endpoint.address(), &first, wanted.security, timer, give_up);
        let transport = connecting.await.map_err(|error| {
            // Cut off by the time for the whole request, it says nothing about the endpoint.
            let total =
                error.kind() == io::ErrorKind::TimedOut && wanted.give_up == give_up && give_up.is_some();
            if total { Fault::TotalTimeout } else { Fault::Connect(error) }
        })?;
        Ok(Connection::new(transport, wanted.security, wanted.whose(), count))
    }

    fn take_idle(&self, endpoint: &Arc<Endpoint>, timer: &Timer, wanted: &Wanted<'_>) -> Option<Connection> {
        let repeatable = wanted.repeatable;
        let mut all = self.idle.borrow_mut();
        let stack = all.get_mut(&key(endpoint)).filter(|stack| !stack.is_empty())?;
        let now = timer.now();
        let is_meant = |idle: &Idle| idle.connection.whose == wanted.whose();
        while let Some(at) = stack.iter().rposition(is_meant) {
            let newest = &stack[at];
            if !repeatable && now.since(newest.since) > UNREPEATABLE_IDLE_MAX {
                return None;
            }
            let expired = newest.until.is_some_and(|until| until <= now);
            let connection = stack.remove(at).wake_up();
            // What the runtime has not heard of yet costs a repeat, where there may be one.
            let transport = &connection.transport;
            let is_sound = if repeatable { transport.is_quiet() } else { transport.is_silent() };
            if !expired && is_sound && wanted.security.is_of(&connection) {
                return Some(connection);
            }
        }
        None
    }

    /// Waits for leave to open one more, or for one that falls idle here. At the pool's `max` an idle connection is closed
    /// first, here or on another worker.
    async fn count_in(
        &self,
        endpoint: &Arc<Endpoint>,
        shared: &Arc<Shared>,
        timer: &Timer,
        wanted: &Wanted<'_>,
        give_up: GiveUp,
    ) -> Result<Leave, Fault> {
        let max = wanted.rules.max;
        if let Some(count) = Counted::take(endpoint, shared, max) {
            return Ok(Leave::Open(count));
        }
        let waits = shared.connection_waits.begin(key(endpoint));
        loop {
            let mut freed = std::pin::pin!(waits.freed.notified());
            freed.as_mut().enable();
            // One that fell idle here is used as it is; one that will not do makes room.
            if !wanted.fresh
                && let Some(connection) = self.take_idle(endpoint, timer, wanted)
            {
                return Ok(Leave::Reuse(connection));
            }
            self.close_one(key(endpoint));
            if let Some(count) = Counted::take(endpoint, shared, max) {
                return Ok(Leave::Open(count));
            }
            wait_for_one(freed, endpoint, shared, timer, give_up).await?;
        }
    }

    /// Keeps a connection whose exchange has ended cleanly. `stays_s` is what the endpoint said of how long it
    /// keeps it.
    pub fn put(
        &self,
        connection: Connection,
        rules: &document::Connections,
        stays_s: Option<u32>,
        now: Nanos,
    ) {
        let endpoint = connection.count.endpoint.clone();
        let mut all = self.idle.borrow_mut();
        let stack = all.entry(key(&endpoint)).or_default();
        if stack.len() >= rules.idle_max as usize {
            return;
        }
        let ours = rules.idle_timeout_ms.map(|millis| now.plus(Nanos::from_millis(millis)));
        // A second early: the endpoint's clock started before ours, and it may round down.
        let theirs = stays_s.map(|s| now.plus(Nanos::from_millis(u64::from(s).saturating_sub(1) * 1000)));
        if theirs.is_some_and(|until| until <= now) {
            return;
        }
        connection.count.is_idle();
        self.personal.set(self.personal.get() || connection.whose != 0);
        stack.push(Idle { connection, since: now, until: earlier(ours, theirs) });
    }

    /// Closes the idle connections of a client that has gone.
    pub fn forget(&self, whose: u64) {
        if self.personal.get() {
            self.idle.borrow_mut().retain(|_, stack| {
                stack
                    .extract_if(.., |idle| idle.connection.whose == whose)
                    .for_each(|idle| drop(idle.wake_up()));
                !stack.is_empty()
            });
        }
    }

    /// Whether there is an idle connection to an endpoint.
    pub fn has_one(&self, endpoint: usize) -> bool {
        self.idle.borrow().get(&endpoint).is_some_and(|stack| !stack.is_empty())
    }

    /// Closes the oldest idle connection to an endpoint, if there is one.
    pub fn close_one(&self, endpoint: usize) {
        if let Some(stack) = self.idle.borrow_mut().get_mut(&endpoint).filter(|stack| !stack.is_empty()) {
            drop(stack.remove(0).wake_up());
        }
    }

    /// Closes the idle connections that are not to be kept: `keep` is asked of an endpoint and of what secures them.
    pub(crate) fn retain(&self, keep: impl Fn(usize, Option<&Arc<PoolTls>>) -> bool) {
        self.idle.borrow_mut().retain(|&endpoint, stack| {
            stack
                .extract_if(.., |idle| !keep(endpoint, idle.connection.secured_by.as_ref()))
                .for_each(|idle| drop(idle.wake_up()));
            !stack.is_empty()
        });
    }

    /// Closes the idle connections whose time is over, or that the endpoint has closed.
    pub fn sweep(&self, now: Nanos) {
        self.idle.borrow_mut().retain(|_, stack| {
            stack
                .extract_if(.., |idle| {
                    idle.until.is_some_and(|until| until <= now) || !idle.connection.transport.is_quiet()
                })
                .for_each(|idle| drop(idle.wake_up()));
            !stack.is_empty()
        });
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        for idle in self.idle.borrow_mut().drain().flat_map(|(_, stack)| stack) {
            drop(idle.wake_up());
        }
    }
}

/// Leave to open one more connection to an endpoint whose requests share them; `None` once `has_room` finds that none is
/// needed. At the pool's `max` one that nobody uses is closed first, here by `has_room` or on another worker.
pub(crate) async fn count_in(
    endpoint: &Arc<Endpoint>,
    shared: &Arc<Shared>,
    timer: &Timer,
    max: Option<u32>,
    give_up: GiveUp,
    has_room: impl Fn() -> bool,
) -> Result<Option<Counted>, Fault> {
    if let Some(count) = Counted::take(endpoint, shared, max) {
        return Ok(Some(count));
    }
    let waits = shared.connection_waits.begin(key(endpoint));
    loop {
        let mut freed = std::pin::pin!(waits.freed.notified());
        freed.as_mut().enable();
        if has_room() {
            // Whatever it was woken for, it leaves to the next.
            shared.connection_waits.wake_one(key(endpoint));
            return Ok(None);
        }
        if let Some(count) = Counted::take(endpoint, shared, max) {
            return Ok(Some(count));
        }
        wait_for_one(freed, endpoint, shared, timer, give_up).await?;
    }
}

/// Asks the other workers for a connection that nobody uses, and waits until one is free.
async fn wait_for_one(
    mut freed: Pin<&mut Notified<'_>>,
    endpoint: &Arc<Endpoint>,
    shared: &Arc<Shared>,
    timer: &Timer,
    give_up: GiveUp,
) -> Result<(), Fault> {
    if endpoint.idle_connections.load(Ordering::SeqCst) > 0 {
        let done = Arc::new(AtomicBool::new(false));
        for worker in &shared.workers {
            // A worker that has ended has no idle connections.
            let _ = worker.send(Command::CloseIdle { endpoint: key(endpoint), done: done.clone() });
        }
    }
    std::future::poll_fn(|cx| match freed.as_mut().poll(cx) {
        std::task::Poll::Ready(()) => std::task::Poll::Ready(Ok(())),
        std::task::Poll::Pending => timer.poll(give_up, cx).map(|()| Err(Fault::NoConnection)),
    })
    .await
}
