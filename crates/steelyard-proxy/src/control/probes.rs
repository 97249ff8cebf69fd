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

    /// Looks which probes are due, and starts as many as may run. Must be called within the runtime.
    pub fn look(&mut self, shared: &Shared, now: Nanos) {
        let pools: Vec<_> = shared.snapshot.load().live_pools().collect();
        self.schedule.look(&pools, now);
        self.start(now);
    }

    fn start(&mut self, now: Nanos) {
        while let Some(Due { pool, member, running }) = self.schedule.next(now) {
            let config = pool.config();
            let address = member.endpoint.address().clone();
            let probe = Probe::new(&config.health, config.protocol, address, &member.configured)
                .over(pool.prepared.get(), &member.configured)
                .announced(config.send_proxy);
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

    /// Takes the answer in, and lets the next that was found due take its place. Must be called within the runtime.
    pub fn record(&mut self, probed: Probed, shared: &Shared) {
        take_in(probed, shared);
        self.start(shared.clock.now());
    }

    /// Calls every probe off.
    pub fn abort(&mut self) {
        self.running.abort_all();
    }
}

/// Takes an answer in, by the rules that hold now. It is dropped when its endpoint has left meanwhile, or is no longer
/// probed.
fn take_in(probed: Probed, shared: &Shared) {
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
