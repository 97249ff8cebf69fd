//! One data-plane thread: a runtime of its own, its sockets, its connections. No work is stolen.

use crate::buffer::Buffers;
use crate::connections::Connections;
use crate::free::FreeList;
use crate::head::FieldSpan;
use crate::http1::client;
use crate::registry::Registry;
use crate::shared::{Command, ListenerState, Shared, Socket};
use crate::transport::Transport;
use rand::{Rng, SeedableRng};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use steelyard_core::listener::Listener;
use steelyard_core::random::Generator;
use steelyard_core::snapshot::Snapshot;
use steelyard_core::time::Nanos;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc};

/// Between two looks for idle connections whose time is over.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// How long accepting pauses when the process has no descriptor left, unless one falls free before.
const DESCRIPTORS_PAUSE: Duration = Duration::from_millis(100);
/// `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_BYTES: usize = 29;

/// What the requests of one worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub index: usize,
    pub shared: Arc<Shared>,
    pub buffers: Buffers,
    pub vectors: FreeList<u8>,
    pub fields: FreeList<FieldSpan>,
    pub rng: RefCell<Generator>,
    pub idle: Connections,
    pub registry: Registry,
    pinned: RefCell<Rc<Pinned>>,
    date: Cell<(u64, [u8; DATE_BYTES])>,
    /// Whether accepting has paused for want of descriptors, which is said once.
    out_of_descriptors: Cell<bool>,
}

/// A snapshot as the requests of one worker hold it: counted without touching what other workers touch.
#[derive(Debug)]
pub(crate) struct Pinned(Arc<Snapshot>);

impl Pinned {
    /// The listener of this name, unless it has left the configuration.
    pub fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        self.0.listener(name)
    }
}

/// A connection's share of its listener's count.
#[derive(Debug)]
pub(crate) struct Seat {
    listener: Arc<ListenerState>,
    shared: Arc<Shared>,
}

impl Seat {
    fn take(listener: &Arc<ListenerState>, shared: &Arc<Shared>) -> Self {
        listener.connections.fetch_add(1, Ordering::Relaxed);
        listener.accepted.fetch_add(1, Ordering::Relaxed);
        shared.connections.fetch_add(1, Ordering::Relaxed);
        Self { listener: listener.clone(), shared: shared.clone() }
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
        let seed = shared.seed.wrapping_add(index as u64);
        Self {
            index,
            shared,
            buffers: Buffers::default(),
            vectors: FreeList::default(),
            fields: FreeList::default(),
            rng: RefCell::new(Generator::seed_from_u64(seed)),
            idle: Connections::default(),
            registry: Registry::default(),
            pinned: RefCell::new(pinned),
            date: Cell::new((0, [0; DATE_BYTES])),
            out_of_descriptors: Cell::new(false),
        }
    }

    /// The snapshot in force.
    pub fn pin(&self) -> Rc<Pinned> {
        let mut pinned = self.pinned.borrow_mut();
        let current = self.shared.snapshot.load();
        if !Arc::ptr_eq(&current, &pinned.0) {
            *pinned = Rc::new(Pinned(arc_swap::Guard::into_inner(current)));
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

    /// 32 hexadecimal digits at random.
    pub fn request_id(&self) -> [u8; 32] {
        let mut rng = self.rng.borrow_mut();
        let bits = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        std::array::from_fn(|place| b"0123456789abcdef"[(bits >> (124 - 4 * place)) as usize & 0xf])
    }

    /// Takes a connection in. Every one comes through here, wherever it was accepted.
    fn adopt(
        self: &Rc<Self>,
        listener: &Arc<ListenerState>,
        socket: u64,
        transport: Transport,
        peer: Option<IpAddr>,
    ) {
        let seat = Seat::take(listener, &self.shared);
        // A panic ends this one connection; the hook has logged it, and the guards give back what it held.
        tokio::task::spawn_local(client::serve(self.clone(), seat, socket, transport, peer));
    }
}

/// A socket that listens.
#[derive(Debug)]
enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Accepting {
    fn new(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(socket) => Self::Tcp(tokio::net::TcpListener::from_std(socket)?),
            Socket::Unix(socket) => Self::Unix(tokio::net::UnixListener::from_std(socket)?),
        })
    }

    async fn accept(&self) -> io::Result<(Transport, Option<IpAddr>)> {
        Ok(match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                // Small writes leave at once. A connection that is gone already will say so when it is read.
                let _ = stream.set_nodelay(true);
                (stream.into(), Some(peer.ip().to_canonical()))
            }
            Self::Unix(socket) => (socket.accept().await?.0.into(), None),
        })
    }
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
        match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => {
                let worker = Rc::new(Worker::new(index, shared));
                runtime.block_on(obey(worker, mailbox));
            }
            Err(error) => tracing::error!(worker = index, %error, "the worker could not start"),
        }
    })
}

/// Does what it is told until it is told to end.
async fn obey(worker: Rc<Worker>, mut mailbox: mpsc::UnboundedReceiver<Command>) {
    let mut sockets: HashMap<u64, Rc<Notify>> = HashMap::new();
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
                let close = Rc::new(Notify::new());
                sockets.insert(id, close.clone());
                accepting.set(accepting.get() + 1);
                let (worker, accepting) = (worker.clone(), accepting.clone());
                tokio::task::spawn_local(async move {
                    listen(&worker, id, &listener, socket, &close).await;
                    worker.registry.close(Some(id));
                    accepting.set(accepting.get() - 1);
                    worker.registry.notify();
                });
            }
            Command::Unlisten { id } => {
                if let Some(close) = sockets.remove(&id) {
                    close.notify_one();
                }
            }
            Command::Reloaded => drop(worker.pin()),
            Command::CloseIdle { endpoint, done } => {
                if !done.load(Ordering::Acquire) && worker.idle.close_one(endpoint) {
                    done.store(true, Ordering::Release);
                }
            }
            Command::Drain => {
                draining = true;
                for (_, close) in sockets.drain() {
                    close.notify_one();
                }
                worker.registry.close(None);
            }
            Command::Stop => return,
        }
    }
}

/// Accepts until told to close; what is waiting then is still accepted.
async fn listen(worker: &Rc<Worker>, id: u64, listener: &Arc<ListenerState>, socket: Socket, close: &Notify) {
    let socket = match Accepting::new(socket) {
        Ok(socket) => socket,
        Err(error) => {
            return tracing::error!(listener = listener.name, %error, "the socket cannot be used");
        }
    };
    tokio::select! {
        () = accept_all(worker, id, listener, &socket) => {}
        () = close.notified() => {}
    }
    loop {
        tokio::select! {
            biased;
            accepted = socket.accept() => match accepted {
                Ok((transport, peer)) => worker.adopt(listener, id, transport, peer),
                Err(_) => return,
            },
            () = std::future::ready(()) => return,
        }
    }
}

async fn accept_all(worker: &Rc<Worker>, id: u64, listener: &Arc<ListenerState>, socket: &Accepting) {
    loop {
        wait_for_room(listener).await;
        match socket.accept().await {
            Ok((transport, peer)) => {
                if worker.out_of_descriptors.replace(false) {
                    tracing::info!(listener = listener.name, "accepting again");
                }
                worker.adopt(listener, id, transport, peer);
            }
            Err(error) if is_want_of_descriptors(&error) => {
                if !worker.out_of_descriptors.replace(true) {
                    tracing::warn!(
                        listener = listener.name,
                        worker = worker.index,
                        %error,
                        "accepting pauses until a descriptor falls free; raise the limit of open files \
                         or lower limits.connections"
                    );
                }
                tokio::time::sleep(DESCRIPTORS_PAUSE).await;
            }
            // The connection that was waiting is gone; the next may be sound.
            Err(error) => tracing::debug!(listener = listener.name, %error, "could not accept"),
        }
    }
}

async fn wait_for_room(listener: &ListenerState) {
    let full =
        || listener.connections.load(Ordering::Acquire) >= listener.connections_max.load(Ordering::Relaxed);
    while full() {
        let freed = listener.freed.notified();
        if full() {
            freed.await;
        }
    }
}

fn is_want_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].iter().any(|e| code == Some(e.raw_os_error()))
}
