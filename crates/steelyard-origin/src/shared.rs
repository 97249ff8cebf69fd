//! What the connections of one origin share: its settings, switches and counts.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Semaphore;

use crate::behaviour::Behaviour;
use crate::options::Options;

pub(crate) struct Shared {
    /// Status line and the fields that every ordinary answer has.
    pub(crate) name: String,
    pub(crate) status: u16,
    pub(crate) page: Vec<u8>,
    pub(crate) idle_timeout: Duration,
    /// Permits of requests served at once.
    pub(crate) busy: Option<Semaphore>,
    pub(crate) healthy: AtomicBool,
    /// Set before the workers end: a connection that is dropped then is reset.
    pub(crate) stopping: AtomicBool,
    delay_us: AtomicU64,
    faulty: AtomicBool,
    fault: Mutex<Option<Behaviour>>,
    pub(crate) counts: Counts,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) requests: AtomicU64,
    pub(crate) probes: AtomicU64,
    pub(crate) bad_requests: AtomicU64,
    pub(crate) aborted: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) in_flight_max: AtomicU64,
}

/// The counts of an origin at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Stats {
    /// Requests begun, probes and controls not among them.
    pub requests: u64,
    /// Requests for `/healthz`.
    pub probes: u64,
    /// Requests that broke the protocol and were answered 400.
    pub bad_requests: u64,
    /// Requests whose client left before the answer was written.
    pub aborted: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open: u64,
    /// Requests being served or waiting for their turn now.
    pub in_flight: u64,
    /// The most there were at once.
    pub in_flight_max: u64,
}

impl Shared {
    pub(crate) fn new(options: &Options, port: u16) -> Self {
        let name = options.name.clone().unwrap_or_else(|| port.to_string());
        let mut page = format!("hello from {name}").into_bytes();
        page.resize(options.body_bytes, b'.');
        Self {
            name,
            status: options.status,
            page,
            idle_timeout: options.idle_timeout,
            busy: options.concurrency.map(Semaphore::new),
            healthy: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            delay_us: AtomicU64::new(options.delay.as_micros() as u64),
            faulty: AtomicBool::new(options.fault.is_some()),
            fault: Mutex::new(options.fault.clone()),
            counts: Counts::default(),
        }
    }

    pub(crate) fn delay(&self) -> Duration {
        Duration::from_micros(self.delay_us.load(Ordering::Relaxed))
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        self.delay_us.store(delay.as_micros() as u64, Ordering::Relaxed);
    }

    pub(crate) fn fault(&self) -> Option<Behaviour> {
        if !self.faulty.load(Ordering::Relaxed) {
            return None;
        }
        self.fault.lock().ok()?.clone()
    }

    pub(crate) fn set_fault(&self, fault: Option<Behaviour>) {
        // A holder of this lock only clones or stores, so it is never poisoned.
        if let Ok(mut current) = self.fault.lock() {
            self.faulty.store(fault.is_some(), Ordering::Relaxed);
            *current = fault;
        }
    }
}

impl Counts {
    pub(crate) fn stats(&self) -> Stats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            requests: read(&self.requests),
            probes: read(&self.probes),
            bad_requests: read(&self.bad_requests),
            aborted: read(&self.aborted),
            connections: read(&self.connections),
            open: read(&self.open),
            in_flight: read(&self.in_flight),
            in_flight_max: read(&self.in_flight_max),
        }
    }

    pub(crate) fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts one request in flight until dropped.
pub(crate) struct InFlight<'a>(&'a Counts);

impl<'a> InFlight<'a> {
    pub(crate) fn enter(counts: &'a Counts) -> Self {
        Counts::add(&counts.requests);
        let now = counts.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        if now > counts.in_flight_max.load(Ordering::Relaxed) {
            counts.in_flight_max.fetch_max(now, Ordering::Relaxed);
        }
        Self(counts)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
