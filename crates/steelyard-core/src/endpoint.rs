//! One server as the pool knows it: what it carries now, how it has done, whether it may be used.
//!
//! An endpoint outlives snapshots: it is kept by identity (pool and address) while the configuration around it
//! changes, so that counts in flight, learned times and verdicts survive a reload.

mod cells;
mod learned;
mod slots;
mod standing;
mod threshold;

pub use cells::Cells;
pub use threshold::{Over, Threshold};

use crate::health::Health;
use crate::key;
use crate::learned::Learned;
use crate::load::{Decaying, Peak, Smoothed};
use crate::report::Reporting;
use crate::reported::Reported;
use crate::slow_start::Start;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering};
use crate::time::Nanos;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Where an endpoint listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Socket(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What every pick reads, on a pair of cache lines of its own so that writers of one endpoint never slow readers
/// of another (x86 fetches lines in pairs).
#[derive(Debug)]
#[repr(align(128))]
struct Hot {
    in_flight: AtomicU32,
    flags: AtomicU32,
    /// Recent failures, as requests that are not there.
    phantoms: Decaying,
    latency: Smoothed,
    bytes: Decaying,
    /// Of response times; fed only where the policy goes by it.
    peak: Peak,
    start: Start,
}

/// One server of one pool.
#[derive(Debug)]
pub struct Endpoint {
    hot: Hot,
    /// Unique within its pool for the life of the process.
    id: u32,
    /// The hash of its address: the same on every instance.
    name: u64,
    address: Address,
    /// Its index among the members of the newest snapshot: where to look first.
    place: AtomicU32,
    /// When it was last tried while out for its latency.
    trial: AtomicU64,
    /// Requests in flight whose response has begun: their time is known, though they may last for hours.
    begun: AtomicU32,
    /// The share of attempts that failed, smoothed; fed only where the policy goes by it.
    pub errors: Smoothed,
    /// When it joined; a pool's first endpoints have no start of their own.
    born: AtomicU64,
    /// What it says of its own load, where the policy asks.
    pub reporting: Reporting,
    /// What its responses say of its load, where the pool listens.
    pub reported: Reported,
    /// The weight that was learned of it.
    pub learned: Learned,
    failures_in_a_row: AtomicU32,
    health: Mutex<Health>,
    /// Open connections over all workers, idle ones included.
    pub connections: AtomicU32,
    /// Idle connections over all workers.
    pub idle_connections: AtomicU32,
    cells: Box<[OnceLock<Box<Cells>>]>,
}

impl Endpoint {
    /// An endpoint that nobody has used, counted by `workers` workers.
    pub fn new(id: u32, address: Address, workers: usize, health: Health) -> Self {
        Self {
            hot: Hot {
                in_flight: AtomicU32::new(0),
                flags: AtomicU32::new(health.verdict() as u32),
                phantoms: Decaying::default(),
                latency: Smoothed::default(),
                bytes: Decaying::default(),
                peak: Peak::default(),
                start: Start::default(),
            },
            id,
            name: key::hash(address.to_string().as_bytes()),
            address,
            place: AtomicU32::new(0),
            trial: AtomicU64::new(0),
            begun: AtomicU32::new(0),
            errors: Smoothed::default(),
            born: AtomicU64::new(0),
            reporting: Reporting::default(),
            reported: Reported::default(),
            learned: Learned::default(),
            failures_in_a_row: AtomicU32::new(0),
            health: Mutex::new(health),
            connections: AtomicU32::new(0),
            idle_connections: AtomicU32::new(0),
            cells: (0..workers).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Unique within its pool for the life of the process.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What it is called wherever instances have to agree: the hash of its address.
    pub fn name(&self) -> u64 {
        self.name
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Where it is likely to be found among the members of its pool.
    pub(crate) fn place(&self) -> usize {
        self.place.load(Ordering::Relaxed) as usize
    }

    /// Says where it is to be found.
    pub(crate) fn set_place(&self, place: usize) {
        self.place.store(place as u32, Ordering::Relaxed);
    }

    /// It is there from now on, unless it was before.
    pub fn joins(&self, now: Nanos) {
        let _ = self.born.compare_exchange(0, now.0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// How long ago it joined or last came back, in seconds.
    pub fn age_s(&self, now: Nanos) -> f64 {
        let born = Nanos(self.born.load(Ordering::Relaxed));
        let since = self.start().at().map_or(born, |start| start.max(born));
        now.since(since).0 as f64 * 1e-9
    }

    /// When it last joined or came back.
    pub fn start(&self) -> &Start {
        &self.hot.start
    }

    /// The peak of its response times.
    pub fn peak(&self) -> &Peak {
        &self.hot.peak
    }

    /// The cells of one worker, allocated on its first use of this endpoint.
    pub fn cells(&self, worker: usize) -> &Cells {
        self.cells[worker].get_or_init(Box::default)
    }

    /// The cells of every worker that has used it.
    pub fn all_cells(&self) -> impl Iterator<Item = &Cells> {
        self.cells.iter().filter_map(|cells| cells.get().map(|cells| &**cells))
    }
}
