//! What every thread of the engine sees: the snapshot in force, and live counts.

use crate::clock::Clock;
use crate::http3;
use crate::proofs::Proofs;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use steelyard_core::listener::Listener;
use steelyard_core::snapshot::Snapshot;
use tokio::sync::{Notify, mpsc};

/// The state of one engine.
#[derive(Debug)]
pub struct Shared {
    /// The one clock.
    pub clock: Clock,
    /// The snapshot in force. Swapped in one step, once everything it needs has been prepared.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Whether the process is draining, for the status.
    pub draining: AtomicBool,
    /// Seeds the generators of the workers.
    pub seed: u64,
    /// A mailbox for each worker, in order.
    pub workers: Vec<mpsc::UnboundedSender<Command>>,
    /// Where requests wait for a connection, for pools that bound them.
    pub connection_waits: ConnectionWaits,
    /// Notified when endpoints are to be asked for their loads.
    pub load_calls: Notify,
    /// What is shown to an authority that is about to issue a certificate; nearly always nothing.
    pub proofs: ArcSwapOption<Proofs>,
    /// Client connections that are open now, over all workers and listeners.
    pub connections: AtomicU32,
    /// What sockets of QUIC sign with.
    pub quic: http3::Keys,
    /// Connection tasks that ended in a panic.
    pub panics: AtomicU64,
}

/// Wakes requests that wait for a connection to an endpoint that has as many as it may.
#[derive(Debug, Default)]
pub struct ConnectionWaits {
    /// Requests that wait now, over all endpoints: while there are none, connections come and go without the lock.
    waiting: AtomicUsize,
    endpoints: Mutex<HashMap<usize, Arc<Notify>>>,
}

/// One request that waits for a connection.
#[derive(Debug)]
pub struct ConnectionWait<'w> {
    waits: &'w ConnectionWaits,
    /// Notified when a connection to its endpoint closes or falls idle.
    pub freed: Arc<Notify>,
}

impl Drop for ConnectionWait<'_> {
    fn drop(&mut self) {
        self.waits.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ConnectionWaits {
    /// Begins to wait for a connection to this endpoint (by the address of its state). Whoever has begun looks at the
    /// counts of the endpoint once more: a connection that went before says nothing, any after it is told.
    pub fn begin(&self, endpoint: usize) -> ConnectionWait<'_> {
        // In one order with the changes of the endpoint's counts and with the look in `wake_one`: of two that do not
        // see each other one would wait for ever.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        ConnectionWait { waits: self, freed: self.lock().entry(endpoint).or_default().clone() }
    }

    /// Wakes one that waits for a connection to this endpoint, if anyone does.
    pub fn wake_one(&self, endpoint: usize) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(waits) = self.lock().get(&endpoint) {
            waits.notify_one();
        }
    }

    /// Forgets endpoints that are not to be kept, but for those that somebody still waits for.
    pub fn retain(&self, keep: impl Fn(usize) -> bool) {
        self.lock().retain(|&endpoint, waits| keep(endpoint) || Arc::strong_count(waits) > 1);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Arc<Notify>>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The live side of a listener, kept by name across snapshots.
#[derive(Debug)]
pub struct ListenerState {
    /// Its name.
    pub name: String,
    /// Open connections over all workers.
    pub connections: AtomicU32,
    /// How many there may be; set from the snapshot or from the descriptors this process may have.
    pub connections_max: AtomicU32,
    /// Connections accepted so far.
    pub accepted: AtomicU64,
    /// Requests read so far, bad ones included.
    pub requests: AtomicU64,
    /// Requests refused for what they were: 400, 408, 414, 431, 501, 505.
    pub bad_requests: AtomicU64,
    /// TLS handshakes that went well, over all workers.
    pub handshakes: AtomicU64,
    /// Those among them that took up an earlier session.
    pub resumed: AtomicU64,
    /// TLS handshakes that did not go well, connections that ended before any among them.
    pub handshake_failures: AtomicU64,
    /// What a listener of datagrams has carried.
    pub datagrams: Datagrams,
    /// What of that was HTTP/3.
    pub http3: Http3Counts,
    /// Notified when a connection closes while the listener was full.
    pub freed: Notify,
    /// Its last configuration, once it has left: for requests that come before their connections have ended.
    pub farewell: OnceLock<Arc<Listener>>,
}

impl ListenerState {
    /// A listener that has accepted nothing.
    pub fn new(name: String, connections_max: u32) -> Self {
        Self {
            name,
            connections: AtomicU32::new(0),
            connections_max: AtomicU32::new(connections_max),
            accepted: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            bad_requests: AtomicU64::new(0),
            handshakes: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            handshake_failures: AtomicU64::new(0),
            datagrams: Datagrams::default(),
            http3: Http3Counts::default(),
            freed: Notify::new(),
            farewell: OnceLock::new(),
        }
    }
}

/// What a listener of datagrams has carried, over all workers.
#[derive(Debug, Default)]
pub struct Datagrams {
    /// Datagrams from clients.
    pub received: AtomicU64,
    /// Datagrams to clients.
    pub sent: AtomicU64,
    /// Bytes from clients.
    pub bytes_in: AtomicU64,
    /// Bytes to clients.
    pub bytes_out: AtomicU64,
    /// Sessions that ended to make room for others.
    pub evicted: AtomicU64,
    /// Datagrams that went nowhere, in the order of [`Dropped::ALL`].
    pub dropped: [AtomicU64; Dropped::ALL.len()],
}

/// Why a datagram went nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// No endpoint could serve it.
    NoEndpoint,
    /// Every endpoint was at its threshold.
    Busy,
    /// There were as many sessions as there may be, and none of a stranger's.
    Sessions,
    /// No descriptor or no port was left for another session.
    Descriptors,
    /// It would have begun a session while the process drains.
    Draining,
    /// It is larger than what can be received, or sent where it was to go.
    TooLarge,
    /// The system would not take it for the endpoint at that moment.
    ToEndpoint,
    /// The system would not take it for the client.
    ToClient,
}

impl Dropped {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::NoEndpoint,
        Self::Busy,
        Self::Sessions,
        Self::Descriptors,
        Self::Draining,
        Self::TooLarge,
        Self::ToEndpoint,
        Self::ToClient,
    ];

    /// Its name in the status.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoEndpoint => "no_endpoint",
            Self::Busy => "busy",
            Self::Sessions => "sessions",
            Self::Descriptors => "descriptors",
            Self::Draining => "draining",
            Self::TooLarge => "too_large",
            Self::ToEndpoint => "to_endpoint",
            Self::ToClient => "to_client",
        }
    }
}

/// What of a listener's connections and requests was HTTP/3.
#[derive(Debug, Default)]
pub struct Http3Counts {
    /// Open connections, handshakes included.
    pub connections: AtomicU32,
    /// Connections accepted so far.
    pub accepted: AtomicU64,
    /// Requests read so far, bad ones included.
    pub requests: AtomicU64,
    /// Those among them that came before the end of the handshake and have to come again after it: 425.
    pub too_early: AtomicU64,
}

/// A connection's share of the count.
#[derive(Debug)]
pub struct Http3Counted<'c>(&'c Http3Counts);

impl Http3Counts {
    /// Counts a connection until what is returned is dropped.
    pub fn begin(&self) -> Http3Counted<'_> {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
        Http3Counted(self)
    }
}

impl Drop for Http3Counted<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A bound, listening, non-blocking socket that belongs to one worker.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A unix socket.
    Unix(std::os::unix::net::UnixListener),
    /// UDP, which takes datagrams.
    Udp(std::net::UdpSocket),
    /// UDP, over which QUIC is spoken, and what keeps those of the other workers open for as long: the kernel spreads packets
    /// over all of them, and anew when one goes.
    Quic(std::net::UdpSocket, Arc<Vec<std::net::UdpSocket>>),
}

/// What a worker is told.
#[derive(Debug)]
pub enum Command {
    /// Accept from this socket. `id` names it in [`Command::Unlisten`].
    Listen {
        /// Unique in the process.
        id: u64,
        /// Whom its connections belong to.
        listener: Arc<ListenerState>,
        /// Where they come from.
        socket: Socket,
    },
    /// Accept what is waiting, close the socket, and end its connections after a last response each.
    Unlisten {
        /// As in [`Command::Listen`].
        id: u64,
        /// Dropped once the socket is closed, for whoever waits to bind its address anew.
        closed: std::sync::mpsc::Sender<()>,
    },
    /// Go on accepting from a socket of QUIC for another listener, and end the connections of the one that it was of after a
    /// last response each.
    Move {
        /// What has named it.
        from: u64,
        /// What names it now.
        to: u64,
        /// Whom its connections belong to from here on.
        listener: Arc<ListenerState>,
    },
    /// A new snapshot is in force.
    Reloaded,
    /// Close one idle connection to this endpoint (by the address of its state), if no other worker has.
    CloseIdle {
        /// The address of the endpoint's state.
        endpoint: usize,
        /// Set by the worker that closes one.
        done: Arc<AtomicBool>,
    },
    /// Unlisten everywhere and end when the last connection has.
    Drain,
    /// End at once.
    Stop,
}
