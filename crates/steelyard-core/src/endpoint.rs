//! One server as the pool knows it: what it carries now, how it has done, whether it may be used.
//!
//! An endpoint outlives snapshots: it is kept by identity (pool and address) while the configuration around it
//! changes, so that counts in flight, learned times and verdicts survive a reload.

use crate::health::{Health, Verdict};
use crate::histogram::{Histogram, bump};
use crate::key;
use crate::learned::Learned;
use crate::load::{BYTES_TIME_CONSTANT_S, Decaying, Peak, Smoothed};
use crate::report::Reporting;
use crate::reported::Reported;
use crate::slow_start::Start;
use crate::sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering, lock};
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

/// An endpoint out of the rotation for its latency is tried at most this often.
const TRIAL_INTERVAL: Nanos = Nanos::from_millis(1_000);
/// A load that was over its threshold lets go below this share of it.
const RETURN_SHARE: f32 = 0.8;

const VERDICT: u32 = 0b11;
const LATENCY_OUT: u32 = 0b100;
const BYTES_OUT: u32 = 0b1000;
/// Unhealthy or ejected, which the verdict of a drained endpoint does not tell.
const DOWN: u32 = 0b1_0000;

/// What every pick reads, on a pair of cache lines of its own so that writers of one endpoint never slow readers
/// of another (x86 fetches lines in pairs).
#[derive(Debug)]
#[repr(align(128))]
struct Hot {
    in_flight: AtomicU32,
    flags: AtomicU32,
    /// Recent failures, as requests that are not there.
    phantoms: Decaying,
    start: Start,
}

/// What one worker has counted at one endpoint. Written by that worker alone.
#[derive(Debug, Default)]
pub struct Cells {
    /// Attempts sent here.
    pub requests: AtomicU64,
    /// Attempts that failed.
    pub failures: AtomicU64,
    /// Attempts sent here after another had failed.
    pub retries: AtomicU64,
    /// Bytes from the endpoint.
    pub bytes_in: AtomicU64,
    /// Bytes to the endpoint.
    pub bytes_out: AtomicU64,
    /// Load reports in its responses that are in force, are of no use, and are not of the form.
    pub reports: [AtomicU64; 3],
    /// Response times.
    pub times: Histogram,
}

/// The loads at which an endpoint leaves the rotation; `f32::INFINITY` and `u32::MAX` stand for off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// In flight at once.
    pub requests: u32,
    /// Smoothed response time, in seconds.
    pub latency_s: f32,
    /// Both directions together.
    pub bytes_per_second: f32,
}

impl Threshold {
    /// No threshold at all.
    pub const OFF: Self =
        Self { requests: u32::MAX, latency_s: f32::INFINITY, bytes_per_second: f32::INFINITY };

    /// Whether neither time nor bytes have a threshold.
    fn requests_only(&self) -> bool {
        self.latency_s.to_bits() & self.bytes_per_second.to_bits() == f32::INFINITY.to_bits()
    }
}

/// The load that keeps an endpoint out of the rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// As many requests in flight as its threshold allows.
    Requests,
    /// Its smoothed response time.
    Latency,
    /// Its byte rate.
    BytesPerSecond,
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
    latency: Smoothed,
    /// Of response times; fed only where the policy goes by it.
    pub peak: Peak,
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
    bytes: Decaying,
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
                start: Start::default(),
            },
            id,
            name: key::hash(address.to_string().as_bytes()),
            address,
            place: AtomicU32::new(0),
            trial: AtomicU64::new(0),
            begun: AtomicU32::new(0),
            latency: Smoothed::default(),
            peak: Peak::default(),
            errors: Smoothed::default(),
            born: AtomicU64::new(0),
            reporting: Reporting::default(),
            reported: Reported::default(),
            learned: Learned::default(),
            bytes: Decaying::default(),
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

    /// Requests in flight over all workers.
    pub fn in_flight(&self) -> u32 {
        self.hot.in_flight.load(Ordering::Relaxed)
    }

    /// Takes a slot below the threshold, or says that there is none. Nothing else may raise the count.
    pub fn take(&self, threshold: &Threshold, now: Nanos) -> bool {
        if self.hot.flags.load(Ordering::Relaxed) & LATENCY_OUT != 0 && threshold.latency_s.is_finite() {
            return self.take_trial(now);
        }
        if threshold.requests == u32::MAX {
            self.hot.in_flight.fetch_add(1, Ordering::AcqRel);
            return true;
        }
        let mut seen = self.hot.in_flight.load(Ordering::Relaxed);
        while seen < threshold.requests {
            match self.hot.in_flight.compare_exchange_weak(
                seen,
                seen + 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(other) => seen = other,
            }
        }
        false
    }

    /// Takes a slot where nothing is in flight.
    pub fn take_idle(&self, threshold: &Threshold, now: Nanos) -> bool {
        if self.in_flight() != 0 {
            return false;
        }
        if self.hot.flags.load(Ordering::Relaxed) & LATENCY_OUT != 0 && threshold.latency_s.is_finite() {
            return self.take_trial(now);
        }
        self.hot.in_flight.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Takes the one slot of an endpoint that is out for its latency and due to be tried.
    fn take_trial(&self, now: Nanos) -> bool {
        let last = self.trial.load(Ordering::Relaxed);
        let begun = self.begun.load(Ordering::Acquire);
        self.trial_is_due(now, last)
            && self
                .hot
                .in_flight
                .compare_exchange(begun, begun + 1, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            && {
                self.trial.store(now.0, Ordering::Relaxed);
                true
            }
    }

    fn trial_is_due(&self, now: Nanos, last: u64) -> bool {
        self.in_flight() == self.begun.load(Ordering::Acquire)
            && (last == 0 || now.since(Nanos(last)) >= TRIAL_INTERVAL)
    }

    /// Counts a request in flight whose response has begun, which no trial has to wait for.
    pub fn response_begins(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts it out, before its slot is given back.
    pub fn response_ends(&self) {
        self.begun.fetch_sub(1, Ordering::AcqRel);
    }

    /// Gives a slot back; says whether it was the last.
    pub fn give(&self) -> bool {
        let before = self.hot.in_flight.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "a slot is given back once");
        before == 1
    }

    /// Whether a verdict in `accept` (a bit for each [`Verdict`]) and every threshold let it take a request.
    pub fn eligible(&self, accept: u8, threshold: &Threshold, now: Nanos) -> bool {
        let flags = self.hot.flags.load(Ordering::Relaxed);
        if accept & (1 << (flags & VERDICT)) == 0 || self.in_flight() >= threshold.requests {
            return false;
        }
        // Most endpoints have no other threshold, and every pick comes by here for each of them.
        if threshold.requests_only() {
            return true;
        }
        if threshold.latency_s.is_finite()
            && flags & LATENCY_OUT != 0
            && !self.trial_is_due(now, self.trial.load(Ordering::Relaxed))
        {
            return false;
        }
        !(threshold.bytes_per_second.is_finite() && self.over_bytes(flags, threshold.bytes_per_second, now))
    }

    /// The verdicts that let it take the requests of its own sessions: those in `accept`, and its own while it is
    /// drained and nothing else is wrong with it.
    fn accept_of_sessions(&self, accept: u8) -> u8 {
        let flags = self.hot.flags.load(Ordering::Relaxed);
        let drained = flags & (VERDICT | DOWN) == Verdict::Draining as u32;
        if drained { accept | 1 << Verdict::Draining as u8 } else { accept }
    }

    /// Like [`Endpoint::eligible`], for the requests of its own sessions.
    pub fn eligible_for_session(&self, accept: u8, threshold: &Threshold, now: Nanos) -> bool {
        self.eligible(self.accept_of_sessions(accept), threshold, now)
    }

    /// Like [`Endpoint::accepted`], for the requests of its own sessions.
    pub fn accepted_for_session(&self, accept: u8) -> bool {
        self.accepted(self.accept_of_sessions(accept))
    }

    /// Whether it is unhealthy or ejected, drained or not.
    pub fn is_down(&self) -> bool {
        self.hot.flags.load(Ordering::Relaxed) & DOWN != 0
    }

    /// Whether its verdict is in `accept`.
    pub fn accepted(&self, accept: u8) -> bool {
        accept & (1 << (self.hot.flags.load(Ordering::Relaxed) & VERDICT)) != 0
    }

    fn over_bytes(&self, flags: u32, threshold: f32, now: Nanos) -> bool {
        let rate = self.bytes_per_second(now);
        let out = if flags & BYTES_OUT == 0 { rate >= threshold } else { rate >= threshold * RETURN_SHARE };
        self.set_flag(BYTES_OUT, out);
        out
    }

    fn set_flag(&self, flag: u32, on: bool) {
        let flags = self.hot.flags.load(Ordering::Relaxed);
        if (flags & flag != 0) == on {
            return;
        }
        if on {
            self.hot.flags.fetch_or(flag, Ordering::Relaxed);
        } else {
            self.hot.flags.fetch_and(!flag, Ordering::Relaxed);
        }
    }

    /// The load that keeps it out of the rotation now, for people to read.
    pub fn over(&self, threshold: &Threshold, now: Nanos) -> Option<Over> {
        let flags = self.hot.flags.load(Ordering::Relaxed);
        if self.in_flight() >= threshold.requests {
            Some(Over::Requests)
        } else if flags & LATENCY_OUT != 0 && threshold.latency_s.is_finite() {
            Some(Over::Latency)
        } else if threshold.bytes_per_second.is_finite()
            && self.over_bytes(flags, threshold.bytes_per_second, now)
        {
            Some(Over::BytesPerSecond)
        } else {
            None
        }
    }

    /// Requests in flight and the phantoms of recent failures, which decay over `time_constant_s`.
    pub fn burden(&self, now: Nanos, time_constant_s: impl FnOnce() -> f32) -> f32 {
        self.burden_beside(self.in_flight(), now, time_constant_s)
    }

    /// The same where requests in flight were read elsewhere.
    pub(crate) fn burden_beside(
        &self,
        in_flight: u32,
        now: Nanos,
        time_constant_s: impl FnOnce() -> f32,
    ) -> f32 {
        let real = in_flight as f32;
        if self.hot.phantoms.is_zero() { real } else { real + self.hot.phantoms.get(now, time_constant_s()) }
    }

    /// The phantoms of recent failures alone.
    pub fn phantoms(&self, now: Nanos, time_constant_s: impl FnOnce() -> f32) -> f32 {
        if self.hot.phantoms.is_zero() { 0.0 } else { self.hot.phantoms.get(now, time_constant_s()) }
    }

    /// Adds one phantom request.
    pub fn add_phantom(&self, now: Nanos, time_constant_s: f32) {
        self.hot.phantoms.add(1.0, now, time_constant_s);
    }

    /// The smoothed response time.
    pub fn smoothed(&self) -> &Smoothed {
        &self.latency
    }

    /// The smoothed response time in seconds.
    pub fn smoothed_s(&self) -> Option<f32> {
        self.latency.get()
    }

    /// Teaches a response time, and lets the latency threshold follow it.
    pub fn teach(&self, response_s: f32, threshold: &Threshold, now: Nanos) {
        self.latency.record(response_s, now);
        self.weigh_latency(threshold);
    }

    /// Teaches a time only if it is longer than what is expected: how a failure or a cancelled request counts,
    /// whose own time says little when it was short.
    pub fn teach_at_least(&self, lasted_s: f32, threshold: &Threshold, now: Nanos) {
        if self.latency.get().is_some_and(|expected| lasted_s > expected) {
            self.teach(lasted_s, threshold, now);
        }
    }

    /// Compares the smoothed time with the threshold, which may have changed.
    pub fn weigh_latency(&self, threshold: &Threshold) {
        let Some(smoothed) = self.latency.get().filter(|_| threshold.latency_s.is_finite()) else {
            return self.set_flag(LATENCY_OUT, false);
        };
        if smoothed > threshold.latency_s {
            self.set_flag(LATENCY_OUT, true);
        } else if smoothed < threshold.latency_s * RETURN_SHARE {
            self.set_flag(LATENCY_OUT, false);
        }
    }

    /// Counts bytes of either direction.
    pub fn count_bytes(&self, bytes: usize, now: Nanos) {
        self.bytes.add(bytes as f32, now, BYTES_TIME_CONSTANT_S);
    }

    /// The decaying byte rate.
    pub fn bytes_per_second(&self, now: Nanos) -> f32 {
        self.bytes.get(now, BYTES_TIME_CONSTANT_S) / BYTES_TIME_CONSTANT_S
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

    /// Failures are no longer in a row: after a good attempt, or when they have led to an ejection.
    pub fn forget_failures(&self) {
        if self.failures_in_a_row.load(Ordering::Relaxed) != 0 {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a failed attempt and returns how many there were in a row.
    pub fn note_failure(&self) -> u32 {
        self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Its health, locked; a change of verdict is published when [`Endpoint::publish`] is called with it.
    pub fn health(&self) -> MutexGuard<'_, Health> {
        lock(&self.health)
    }

    /// Makes the verdict visible to every pick; says whether it changed.
    pub fn publish(&self, health: &Health) -> bool {
        let verdict = health.verdict() as u32;
        let down = if health.is_down() { DOWN } else { 0 };
        let mut before = self.hot.flags.load(Ordering::Relaxed);
        while let Err(seen) = self.hot.flags.compare_exchange_weak(
            before,
            before & !(VERDICT | DOWN) | verdict | down,
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            before = seen;
        }
        before & VERDICT != verdict
    }

    /// When it last joined or came back.
    pub fn start(&self) -> &Start {
        &self.hot.start
    }

    /// The verdict that picks see.
    pub fn verdict(&self) -> Verdict {
        Verdict::from_bits(self.hot.flags.load(Ordering::Relaxed) & VERDICT)
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

impl Cells {
    /// Counts bytes from (`inward`) or to the endpoint.
    pub fn count_bytes(&self, inward: usize, outward: usize) {
        if inward > 0 {
            bump(&self.bytes_in, inward as u64);
        }
        if outward > 0 {
            bump(&self.bytes_out, outward as u64);
        }
    }
}
