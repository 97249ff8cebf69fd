//! One data-plane thread: a runtime of its own, its sockets, its connections. No work is stolen.

mod accept;
mod datagrams;

use crate::accepted;
use crate::buffer::Buffers;
use crate::connections::{Connections, key};
use crate::free::FreeList;
use crate::head::FieldSpan;
use crate::http2::client::Lines;
use crate::http3;
use crate::pipes::Pipes;
use crate::registry::Registry;
use crate::shared::{Command, ListenerState, Shared, Socket};
use crate::sys;
use crate::sys::datagrams::Batch;
use crate::tls::{PoolTls, same};
pub(crate) use accept::is_want_of_descriptors;
use accept::{Accepted, listen};
use arc_swap::{ArcSwap, Cache};
use rand::{Rng, SeedableRng};
use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use steelyard_core::document::Protocol;
use steelyard_core::endpoint::Endpoint;
use steelyard_core::listener::Listener;
use steelyard_core::pool::{Member, Pool};
use steelyard_core::random::Generator;
use steelyard_core::snapshot::Snapshot;
use steelyard_core::time::Nanos;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc};

/// Between two looks for idle connections whose time is over.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// How long an idle connection that is to end stays open at most, since its client may be sending a request already:
/// that one is still answered, and told that it is the last.
const GRACE: Nanos = Nanos::from_millis(1_000);
/// The same as a part of the time to drain, where that is short.
const GRACE_PARTS: u64 = 4;
/// `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_BYTES: usize = 29;

/// Each byte in two hexadecimal digits.
const HEXADECIMAL: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = [digits[byte >> 4], digits[byte & 0xf]];
        byte += 1;
    }
    table
};

/// The snapshot in force, as one worker last saw it: a look costs a load where nothing has changed.
type Current = Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>;

/// What the requests of one worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub index: usize,
    pub shared: Arc<Shared>,
    pub buffers: Buffers,
    pub pipes: Pipes,
    pub vectors: FreeList<u8>,
    pub fields: FreeList<FieldSpan>,
    pub rng: RefCell<Generator>,
    pub idle: Connections,
    pub lines: Lines,
    pub registry: Rc<Registry>,
    /// Notified when a new snapshot is in force.
    pub reloads: Notify,
    /// Room for datagrams, made when the first is to come.
    batch: OnceCell<RefCell<Batch>>,
    pinned: RefCell<(Current, Rc<Pinned>)>,
    date: Cell<(u64, [u8; DATE_BYTES])>,
    /// Connections taken in so far.
    adopted: Cell<u64>,
    /// When accepting last paused for want of descriptors; one shortage is said once.
    out_of_descriptors: Cell<Option<Nanos>>,
}

/// A snapshot as the requests of one worker hold it: counted without touching what other workers touch.
#[derive(Debug)]
pub(crate) struct Pinned(Arc<Snapshot>);

impl Pinned {
    /// The listener of this name, unless it has left the configuration.
    pub fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        self.0.listener(name)
    }

    /// Every pool.
    pub fn pools(&self) -> &[Arc<Pool>] {
        &self.0.pools
    }

    /// The endpoints, each with its pool.
    fn endpoints(&self) -> impl Iterator<Item = (usize, &Arc<Pool>)> {
        let of = |pool| move |member: &Member| (key(&member.endpoint), pool);
        self.0.pools.iter().flat_map(move |pool| pool.members().iter().map(of(pool)))
    }
}

/// A connection's share of its listener's count.
#[derive(Debug)]
pub(crate) struct Seat {
    listener: Arc<ListenerState>,
    shared: Arc<Shared>,
}

impl Seat {
    /// Takes a seat if one is free. With `beyond` one more is taken all the same: what a closing socket has already
    /// accepted is not sent away.
    pub fn take(listener: &Arc<ListenerState>, shared: &Arc<Shared>, beyond: bool) -> Option<Self> {
        let max = listener.connections_max.load(Ordering::Relaxed);
        let one_more = |count: u32| (beyond || count < max).then_some(count + 1);
        listener.connections.fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more).ok()?;
        listener.accepted.fetch_add(1, Ordering::Relaxed);
        shared.connections.fetch_add(1, Ordering::Relaxed);
        Some(Self { listener: listener.clone(), shared: shared.clone() })
    }

    pub fn listener(&self) -> &ListenerState {
        &self.listener
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        let before = self.listener.connections.fetch_sub(1, Ordering::AcqRel);
        if before >= self.listener.connections_max.load(Ordering::Relaxed) {
            self.listener.freed.notify_waiters();
        }
    }
}

impl Worker {
    fn new(index: usize, shared: Arc<Shared>) -> Self {
        let pinned = Rc::new(Pinned(shared.snapshot.load_full()));
        let current = Cache::new(shared.snapshot.clone());
        let seed = shared.seed.wrapping_add(index as u64);
        Self {
            index,
            shared,
            buffers: Buffers::default(),
            pipes: Pipes::default(),
            vectors: FreeList::default(),
            fields: FreeList::default(),
            rng: RefCell::new(Generator::seed_from_u64(seed)),
            idle: Connections::default(),
            lines: Lines::default(),
            registry: Rc::default(),
            reloads: Notify::new(),
            batch: OnceCell::new(),
            pinned: RefCell::new((current, pinned)),
            date: Cell::new((0, [0; DATE_BYTES])),
            adopted: Cell::new(0),
            out_of_descriptors: Cell::new(None),
        }
    }

    /// The snapshot in force.
    pub fn pin(&self) -> Rc<Pinned> {
        let (current, pinned) = &mut *self.pinned.borrow_mut();
        let current = current.load();
        if !Arc::ptr_eq(current, &pinned.0) {
            *pinned = Rc::new(Pinned(current.clone()));
        }
        pinned.clone()
    }

    /// The Date of responses, written anew once a second.
    pub fn date(&self, now: Nanos) -> [u8; DATE_BYTES] {
        let second = now.0 / 1_000_000_000;
        let (written, date) = self.date.get();
        if written == second {
            return date;
        }
        let text = httpdate::fmt_http_date(std::time::SystemTime::now());
        let mut date = [b' '; DATE_BYTES];
        date.copy_from_slice(&text.as_bytes()[..DATE_BYTES]);
        self.date.set((second, date));
        date
    }

    /// A number that no other connection of this worker has; never 0.
    pub fn number(&self) -> u64 {
        self.adopted.set(self.adopted.get() + 1);
        self.adopted.get()
    }

    /// Room for datagrams, for as long as nobody waits.
    pub fn batch(&self) -> RefMut<'_, Batch> {
        self.batch.get_or_init(RefCell::default).borrow_mut()
    }

    /// 16 bytes at random.
    pub fn random(&self) -> [u8; 16] {
        let mut random = [0; 16];
        self.rng.borrow_mut().fill_bytes(&mut random);
        random
    }

    /// 32 hexadecimal digits at random.
    pub fn request_id(&self) -> [u8; 32] {
        let random = self.random();
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(random) {
            pair.copy_from_slice(&HEXADECIMAL[usize::from(byte)]);
        }
        digits
    }

    /// Takes a connection in. Every one comes through here, wherever it was accepted.
    fn adopt(self: &Rc<Self>, seat: Seat, socket: u64, (transport, peer): Accepted) {
        // Entered before its task first runs, so that a drain in between does not pass it by.
        let place = self.registry.enter(socket);
        // A panic ends this one connection; the hook has logged it, and the guards give back what it held.
        tokio::task::spawn_local(accepted::serve(self.clone(), seat, place, transport, peer));
    }

    /// Whether an endpoint is still in the configuration, and spoken to by the same rules; `pool` is as the request saw it.
    pub fn is_current(&self, pool: &Pool, endpoint: &Arc<Endpoint>) -> bool {
        let pinned = self.pin();
        let has_it = |now: &Arc<Pool>| now.members().iter().any(|one| Arc::ptr_eq(&one.endpoint, endpoint));
        pinned.0.generation == pool.generation()
            || pinned.0.pools.iter().any(|now| has_it(now) && speaks_alike(now, pool))
    }

    /// Until when connections that are to end may lie idle.
    fn grace(&self) -> Nanos {
        let drain = Nanos::from_millis(self.pin().0.drain_timeout_ms);
        self.shared.clock.now().plus(GRACE.min(Nanos(drain.0 / GRACE_PARTS)))
    }

    /// Follows a new snapshot: connections to endpoints that have left, or by other rules than theirs, are not kept.
    fn reloaded(&self) {
        let pinned = self.pin();
        let pools: HashMap<usize, &Arc<Pool>> = pinned.endpoints().collect();
        let keeps = |endpoint, tls: Option<&Arc<PoolTls>>, speaks: fn(Protocol) -> bool| {
            pools
                .get(&endpoint)
                .is_some_and(|pool| speaks(pool.config().protocol) && same(pool.prepared.get(), tls))
        };
        self.idle.retain(|endpoint, tls| keeps(endpoint, tls, Protocol::may_be_http1));
        self.lines.retain(|endpoint, tls| keeps(endpoint, tls, Protocol::may_be_http2));
        self.reloads.notify_waiters();
    }
}

/// Whether the endpoints of a pool are spoken to as they were before.
fn speaks_alike(now: &Pool, before: &Pool) -> bool {
    now.config().protocol == before.config().protocol && same(now.prepared.get(), before.prepared.get())
}

/// Starts a worker thread. It ends after [`Command::Drain`] once its last connection has, or at [`Command::Stop`].
pub fn spawn(
    index: usize,
    shared: Arc<Shared>,
    mailbox: mpsc::UnboundedReceiver<Command>,
) -> io::Result<std::thread::JoinHandle<()>> {
    // Local runtimes cannot be moved between threads, so it is built where it runs; what can fail in building it
    // (descriptors) is tried here first, where there is someone to tell.
    drop(Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?);
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        sys::block_broken_pipes();
        match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => {
                let worker = Rc::new(Worker::new(index, shared));
                runtime.block_on(obey(worker, mailbox));
            }
            Err(error) => tracing::error!(worker = index, %error, "the worker could not start"),
        }
    })
}

/// The end of one socket that accepts.
struct Closing {
    owner: RefCell<Owner>,
    now: Notify,
    /// Dropped once it is closed.
    told: Cell<Option<std::sync::mpsc::Sender<()>>>,
}

/// Whose a socket is, and what names it: that of a socket of QUIC may change.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub id: u64,
    pub listener: Arc<ListenerState>,
}

impl Closing {
    fn of(id: u64, listener: &Arc<ListenerState>) -> Self {
        let owner = RefCell::new(Owner { id, listener: Arc::clone(listener) });
        Self { owner, now: Notify::default(), told: Cell::default() }
    }

    /// Whether somebody waits for it to close, because the address is given up.
    fn is_awaited(&self) -> bool {
        let told = self.told.take();
        let is_awaited = told.is_some();
        self.told.set(told);
        is_awaited
    }
}

/// A socket that is accepted from; a drain waits for it, and for no longer when what accepts has panicked.
struct Accepts(Rc<Cell<usize>>, Rc<Registry>);

impl Accepts {
    fn begin(count: &Rc<Cell<usize>>, registry: &Rc<Registry>) -> Self {
        count.set(count.get() + 1);
        Self(count.clone(), registry.clone())
    }
}

impl Drop for Accepts {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
        self.1.notify();
    }
}

/// Does what it is told until it is told to end.
async fn obey(worker: Rc<Worker>, mut mailbox: mpsc::UnboundedReceiver<Command>) {
    let mut sockets: HashMap<u64, Rc<Closing>> = HashMap::new();
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let accepting = Rc::new(Cell::new(0));
    let mut draining = false;
    while !(draining && worker.registry.is_empty() && accepting.get() == 0) {
        let command = tokio::select! {
            command = mailbox.recv() => command.unwrap_or(Command::Stop),
            () = worker.registry.changed(), if draining => continue,
            _ = sweep.tick() => {
                worker.idle.sweep(worker.shared.clock.now());
                continue;
            }
        };
        match command {
            Command::Listen { id, listener, socket } => {
                let closing = Rc::new(Closing::of(id, &listener));
                sockets.insert(id, closing.clone());
                let begun = Accepts::begin(&accepting, &worker.registry);
                let worker = worker.clone();
                tokio::task::spawn_local(async move {
                    let _begun = begun;
                    let closed = || {
                        drop(closing.told.take());
                        worker.registry.close(Some(closing.owner.borrow().id), worker.grace());
                    };
                    match socket {
                        Socket::Udp(socket) => {
                            datagrams::carry(&worker, &listener, socket, &closing).await;
                            closed();
                        }
                        // Its connections need the socket until they have ended.
                        Socket::Quic(socket, others) => {
                            http3::endpoint::listen(&worker, &closing.owner, socket, &closing.now, closed)
                                .await;
                            drop(others);
                        }
                        socket => {
                            listen(&worker, id, &listener, socket, &closing.now).await;
                            closed();
                        }
                    }
                });
            }
            Command::Unlisten { id, closed } => {
                if let Some(closing) = sockets.remove(&id) {
                    closing.told.set(Some(closed));
                    closing.now.notify_one();
                }
            }
            Command::Move { from, to, listener } => {
                if let Some(closing) = sockets.remove(&from) {
                    closing.owner.replace(Owner { id: to, listener });
                    sockets.insert(to, closing);
                    worker.registry.close(Some(from), worker.grace());
                }
            }
            Command::Reloaded => worker.reloaded(),
            Command::CloseIdle { endpoint, done } => {
                // Claimed only by a worker that has one: a claim that was given back could have kept off the one that has.
                let is_here = worker.idle.has_one(endpoint) || worker.lines.has_idle(endpoint);
                if is_here && !done.swap(true, Ordering::AcqRel) {
                    worker.idle.close_one(endpoint);
                    worker.lines.close_one(endpoint);
                }
            }
            Command::Drain => {
                draining = true;
                for (_, closing) in sockets.drain() {
                    closing.now.notify_one();
                }
                worker.registry.close(None, worker.grace());
            }
            Command::Stop => return,
        }
    }
}
