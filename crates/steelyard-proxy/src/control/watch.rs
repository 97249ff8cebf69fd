//! Tells every change of verdict once, whoever made it: a probe, a worker that ejects, a drain.

use crate::shared::Shared;
use std::collections::HashMap;
use std::sync::Arc;
use steelyard_core::health::Verdict;
use steelyard_core::pool::{Member, Pool};
use steelyard_core::snapshot::Snapshot;
use steelyard_core::time::Nanos;

/// The verdicts that have been told.
#[derive(Debug, Default)]
pub(super) struct Watch {
    snapshot: Option<Arc<Snapshot>>,
    pools: Vec<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    failing_open: bool,
    panics: bool,
    /// As the members of the pool.
    verdicts: Vec<Verdict>,
}

impl Watch {
    /// Looks at every endpoint and logs what has changed.
    pub fn look(&mut self, shared: &Shared) {
        let snapshot = shared.snapshot.load();
        if self.snapshot.as_ref().is_none_or(|seen| seen.generation != snapshot.generation) {
            self.follow(Arc::clone(&snapshot));
        }
        let now = shared.clock.now();
        for (pool, seen) in snapshot.pools.iter().zip(&mut self.pools) {
            for (member, verdict) in pool.members().iter().zip(&mut seen.verdicts) {
                let present = member.endpoint.verdict();
                if std::mem::replace(verdict, present) != present {
                    tell(pool, member, now);
                }
            }
            let failing_open = pool.failing_open();
            if std::mem::replace(&mut seen.failing_open, failing_open) != failing_open {
                tell_failing_open(pool, failing_open);
            }
            let panics = pool.panics();
            if std::mem::replace(&mut seen.panics, panics) != panics {
                tell_panic(pool, panics);
            }
        }
    }

    /// Takes over what was told of the endpoints that stay; of a new one, what it begins with.
    fn follow(&mut self, snapshot: Arc<Snapshot>) {
        let mut told: HashMap<usize, Verdict> = HashMap::new();
        let mut failing: HashMap<&str, (bool, bool)> = HashMap::new();
        let before = self.snapshot.iter().flat_map(|seen| &seen.pools).zip(&self.pools);
        for (pool, seen) in before {
            failing.insert(pool.name(), (seen.failing_open, seen.panics));
            told.extend(pool.members().iter().map(key).zip(seen.verdicts.iter().copied()));
        }
        let pools = snapshot.pools.iter().map(|pool| {
            let (failing_open, panics) = failing.get(pool.name()).copied().unwrap_or_default();
            let verdict =
                |member: &Member| told.get(&key(member)).copied().unwrap_or(member.endpoint.verdict());
            Seen { failing_open, panics, verdicts: pool.members().iter().map(verdict).collect() }
        });
        self.pools = pools.collect();
        self.snapshot = Some(snapshot);
    }
}

/// Unique while a snapshot holds the endpoint.
fn key(member: &Member) -> usize {
    Arc::as_ptr(&member.endpoint).addr()
}

fn tell(pool: &Pool, member: &Member, now: Nanos) {
    let (verdict, why) = member.endpoint.health().explain(now);
    let (pool, endpoint) = (pool.name(), member.endpoint.address());
    if matches!(verdict, "unhealthy" | "ejected") {
        tracing::warn!(pool, %endpoint, why, "endpoint is {verdict}");
    } else {
        tracing::info!(pool, %endpoint, why, "endpoint is {verdict}");
    }
}

fn tell_panic(pool: &Pool, panics: bool) {
    let pool = pool.name();
    if panics {
        tracing::warn!(pool, "too few endpoints are available: requests go to all that do not drain");
    } else {
        tracing::info!(pool, "enough endpoints are available again");
    }
}

fn tell_failing_open(pool: &Pool, failing_open: bool) {
    let pool = pool.name();
    if failing_open {
        tracing::warn!(pool, "no endpoint is usable: requests go to those that are known to be bad");
    } else {
        tracing::info!(pool, "requests no longer go to endpoints that are known to be bad");
    }
}
