//! When which endpoint is probed. Pure: it is told what time it is.

use rand::SeedableRng;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use steelyard_core::endpoint::Endpoint;
use steelyard_core::pool::{Member, Pool};
use steelyard_core::random::{Generator, unit};
use steelyard_core::time::Nanos;

/// Probes that run at once; when more are due they wait their turn.
pub const PROBES_MAX: usize = 64;
/// An interval is longer or shorter by up to this share of it, so that probes do not march in step.
const JITTER: f32 = 0.1;

/// A probe that is due.
#[derive(Debug)]
pub struct Due {
    /// Whose rules hold.
    pub pool: Arc<Pool>,
    /// Whom to probe.
    pub member: Member,
    /// It counts as running until this is dropped, however it ends.
    pub running: Running,
}

/// A probe's place among those that run.
#[derive(Debug)]
pub struct Running {
    key: usize,
    all: Arc<Mutex<HashSet<usize>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.key);
    }
}

/// What is being probed, and the chance behind the jitter. When each endpoint's next probe is due stands in its own
/// health, so that it survives a reload.
#[derive(Debug)]
pub struct Schedule {
    running: Arc<Mutex<HashSet<usize>>>,
    /// Probes that the last look found due, the longest overdue first.
    due: VecDeque<(Arc<Pool>, Member)>,
    rng: Generator,
}

impl Schedule {
    /// Nothing runs.
    pub fn new(seed: u64) -> Self {
        Self { running: Arc::default(), due: VecDeque::new(), rng: Generator::seed_from_u64(seed) }
    }

    /// Looks at every endpoint for what is due now.
    pub fn look(&mut self, pools: &[Arc<Pool>], now: Nanos) {
        let mut due = Vec::new();
        for pool in pools {
            let Some(interval) = pool.config().health.interval_ms.map(Nanos::from_millis) else { continue };
            for member in pool.members() {
                if let Some(since) = self.due_since(&member.endpoint, interval, now) {
                    due.push((since, Arc::clone(pool), member.clone()));
                }
            }
        }
        due.sort_by_key(|(since, ..)| *since);
        self.due = due.into_iter().map(|(_, pool, member)| (pool, member)).collect();
    }

    /// A probe to start now: the longest overdue that the last look has found, unless as many run as may.
    pub fn next(&mut self, now: Nanos) -> Option<Due> {
        if lock(&self.running).len() >= PROBES_MAX {
            return None;
        }
        let (pool, member) = self.due.pop_front()?;
        Some(self.start(pool, member, now))
    }

    fn start(&mut self, pool: Arc<Pool>, member: Member, now: Nanos) -> Due {
        let interval = Nanos::from_millis(pool.config().health.interval_ms.unwrap_or_default());
        member.endpoint.health().next_probe = now.plus(self.jittered(interval));
        let running = Running { key: key(&member.endpoint), all: Arc::clone(&self.running) };
        lock(&self.running).insert(running.key);
        Due { pool, member, running }
    }

    fn due_since(&mut self, endpoint: &Arc<Endpoint>, interval: Nanos, now: Nanos) -> Option<Nanos> {
        if lock(&self.running).contains(&key(endpoint)) {
            return None;
        }
        let mut health = endpoint.health();
        let latest = now.plus(stretched(interval, 1.0 + JITTER));
        if health.next_probe > latest {
            // It was set when the interval was longer.
            health.next_probe = now.plus(self.jittered(interval));
        }
        (health.next_probe <= now).then_some(health.next_probe)
    }

    fn jittered(&mut self, interval: Nanos) -> Nanos {
        stretched(interval, 1.0 + JITTER * (2.0 * unit(&mut self.rng) - 1.0))
    }
}

fn stretched(interval: Nanos, by: f32) -> Nanos {
    Nanos((interval.0 as f64 * f64::from(by)) as u64)
}

fn lock(running: &Mutex<HashSet<usize>>) -> MutexGuard<'_, HashSet<usize>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Unique while somebody holds the endpoint, and whoever probes it does.
fn key(endpoint: &Arc<Endpoint>) -> usize {
    Arc::as_ptr(endpoint).addr()
}

#[cfg(test)]
mod tests;
