//! Probes as they run: started when they are due, recorded when they have answered.

use super::probe::{Probe, Verdict};
use super::schedule::{Due, Running, Schedule};
use crate::shared::Shared;
use std::sync::Arc;
use steelyard_core::endpoint::Endpoint;
use steelyard_core::time::Nanos;
use tokio::task::JoinSet;

/// A probe that has ended.
#[derive(Debug)]
pub(super) struct Probed {
    pool: String,
    endpoint: Arc<Endpoint>,
    verdict: Verdict,
    /// Given back when the answer has been taken in, and by a probe that panics.
    _running: Running,
}

/// The probes that run.
#[derive(Debug)]
pub(super) struct Probes {
    schedule: Schedule,
    running: JoinSet<Probed>,
}

impl Probes {
    pub fn new(seed: u64) -> Self {
        Self { schedule: Schedule::new(seed), running: JoinSet::new() }
    }

    /// Starts every probe that is due. Must be called within the runtime.
    pub fn start_due(&mut self, shared: &Shared, now: Nanos) {
        let pools: Vec<_> = shared.snapshot.load().live_pools().collect();
        for Due { pool, member, running } in self.schedule.due(&pools, now) {
            let health = &pool.config().health;
            let probe = Probe::new(health, member.endpoint.address().clone(), &member.configured);
            let (pool, endpoint) = (pool.name().to_owned(), member.endpoint);
            self.running.spawn(async move {
                let verdict = probe.run().await;
                Probed { pool, endpoint, verdict, _running: running }
            });
        }
    }

    /// The next probe that ends; `None` when none runs. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Probed> {
        // A probe ends in an error only when it was aborted or has a fault of its own, which has been logged.
        self.running.join_next().await?.ok()
    }

    /// Takes the answer in, by the rules that hold now. It is dropped when its endpoint has left meanwhile, or is
    /// no longer probed.
    pub fn record(&mut self, probed: Probed, shared: &Shared) {
        let Probed { pool, endpoint, verdict, _running } = probed;
        let snapshot = shared.snapshot.load();
        let Some(pool) = snapshot.live_pools().find(|one| one.name() == pool).filter(|pool| {
            pool.config().health.interval_ms.is_some()
                && pool.members().iter().any(|member| Arc::ptr_eq(&member.endpoint, &endpoint))
        }) else {
            return;
        };
        let (good, said) = match verdict {
            Verdict::Good(said) => (true, said),
            Verdict::Bad(said) => (false, said),
            Verdict::Ours(error) => {
                let endpoint = endpoint.address();
                tracing::warn!(pool = pool.name(), %endpoint, error, "cannot probe; the verdict stays");
                return;
            }
        };
        pool.record_probe(&endpoint, good, said, shared.clock.now());
    }

    /// Calls every probe off.
    pub fn abort(&mut self) {
        self.running.abort_all();
    }
}
