//! What outlives snapshots.

use super::Options;
use crate::endpoint::{Address, Endpoint};
use crate::load::Times;
use crate::policy::Rotation;
use crate::queue::Queue;
use crate::random::Generator;
use crate::retry::Budget;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering};
use crate::time::Nanos;
use rand::SeedableRng;
use std::collections::HashMap;
use std::sync::Weak;

/// What makes an endpoint the same in the next snapshot: where it is, and whom it has to prove to be. Another name is
/// another server, however it is reached.
pub(super) type Identity = (Address, Option<Box<str>>);

/// No phantom is left for so long: of however many failures, a number of 32 bits counts 2^24 at the most, and these fall
/// below a thousandth in less than 24 times [`PHANTOM_S_MAX`](super::PHANTOM_S_MAX).
const PHANTOM_MAX: Nanos = Nanos::from_millis(240_000);

/// What outlives snapshots, kept by the pool's name; also while the pool is out of the configuration, for as long as
/// a request of it lasts.
#[derive(Debug)]
pub struct Shared {
    pub(super) rotation: Rotation,
    pub(crate) queue: Queue,
    pub(super) requests: AtomicU64,
    pub(super) budget: Mutex<Budget>,
    pub(super) times: Times,
    /// From when on no endpoint has phantoms.
    phantoms_until: AtomicU64,
    pub(super) next_id: AtomicU32,
    /// Every endpoint that lives: one that left the configuration and comes back while it still carries requests is the
    /// same.
    pub(super) known: Mutex<HashMap<Identity, Weak<Endpoint>>>,
    /// Requests that waited in vain.
    pub queue_timeouts: AtomicU64,
}

impl Shared {
    /// The last request of an endpoint has ended; only those wait here that some `join_idle_queue` has seated.
    pub(crate) fn fell_idle(&self, endpoint: &Endpoint) {
        self.rotation.idle.join(endpoint.id(), endpoint.place());
    }

    /// An endpoint has failed.
    pub(super) fn note_phantom(&self, now: Nanos) {
        self.phantoms_until.fetch_max(now.plus(PHANTOM_MAX).0, Ordering::Relaxed);
    }

    /// Whether the phantoms of all failures have faded at this moment.
    #[inline]
    pub(super) fn phantoms_gone(&self, moment: Nanos) -> bool {
        moment.0 >= self.phantoms_until.load(Ordering::Relaxed)
    }

    pub(super) fn new(options: &Options) -> Self {
        let mut rng = Generator::seed_from_u64(options.seed);
        Self {
            rotation: Rotation::new(options.phase, &mut rng),
            queue: Queue::new(rng),
            requests: AtomicU64::new(0),
            budget: Mutex::new(Budget::new(None)),
            times: Times::default(),
            phantoms_until: AtomicU64::new(0),
            next_id: AtomicU32::new(0),
            known: Mutex::new(HashMap::new()),
            queue_timeouts: AtomicU64::new(0),
        }
    }
}
