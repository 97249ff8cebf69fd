//! How a pool is built over the state that it had before, and how its rules become live.

use super::census::Census;
use super::levels::HEALTHY;
use super::shared::Identity;
use super::weights::Weights;
use super::{Level, Member, PEAK_DECAY_S, Pool, Seat, Shared};
use crate::document;
use crate::endpoint::{Address, Endpoint, Threshold};
use crate::health::Health;
use crate::level::LEVELS_MAX;
use crate::load::Decay;
use crate::policy::{Phase, Policy, Prospect};
use crate::prepared::Prepared;
use crate::reported;
use crate::session::Sessions;
use crate::slow_start::SlowStart;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering, lock};
use crate::time::Nanos;
use std::sync::{Arc, Weak};

/// An address that belongs to a pool, before it has met its state.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The address as it was configured.
    pub configured: Arc<str>,
    /// Where to connect.
    pub address: Address,
    /// 0 takes no new requests.
    pub weight: u32,
    /// Whether it is being drained.
    pub drain: bool,
    /// The lower one is used first.
    pub priority: u32,
    /// Where it stands.
    pub zone: Option<Arc<str>>,
    /// Whether that is another zone than the own one.
    pub foreign: bool,
    /// Whether it is the own one, which nobody has who has none configured.
    pub near: bool,
}

/// What is chosen once for the whole process.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Workers that count.
    pub workers: usize,
    /// Where rotations begin.
    pub phase: Phase,
    /// Seeds what is random in the shared state.
    pub seed: u64,
}

impl Pool {
    /// Builds a pool over the state that it had before, if it had one; `None` when there is no policy of that name.
    /// Nothing that is live changes before [`Pool::activate`].
    pub fn build(
        config: &document::Pool,
        generation: u64,
        resolved: Vec<Resolved>,
        before: Option<Arc<Shared>>,
        options: &Options,
    ) -> Option<Self> {
        let shared = before.unwrap_or_else(|| Arc::new(Shared::new(options)));
        let probes = config.health.interval_ms.is_some();
        let mut known = lock(&shared.known);
        known.retain(|_, endpoint| endpoint.strong_count() > 0);
        // Those that a pool begins with are all equally new.
        let begins = known.is_empty();
        let mut endpoint = |found: &Resolved| {
            let tls_name = config.tls.as_ref().map(|tls| tls.name_for(&found.configured).into());
            let identity: Identity = (found.address.clone(), tls_name);
            if let Some(endpoint) = known.get(&identity).and_then(Weak::upgrade) {
                return (endpoint, false);
            }
            let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
            let address = found.address.clone();
            let new = Arc::new(Endpoint::new(id, address, options.workers, Health::new(probes)));
            known.insert(identity, Arc::downgrade(&new));
            (new, !begins)
        };
        let mut places: Vec<(u32, bool)> =
            resolved.iter().map(|found| (found.priority, found.foreign)).collect();
        places.sort_unstable();
        places.dedup();
        if places.is_empty() {
            places.push((0, false));
        }
        debug_assert!(places.len() <= LEVELS_MAX, "the number of priorities has been checked");
        let members: Vec<Member> = resolved
            .into_iter()
            .map(|found| {
                let (endpoint, joins) = endpoint(&found);
                Member {
                    endpoint,
                    joins,
                    configured: found.configured,
                    weight: found.weight,
                    draining: found.drain,
                    // Found, since it was put there just above.
                    level: places.binary_search(&(found.priority, found.foreign)).unwrap_or(0) as u8,
                    priority: found.priority,
                    zone: found.zone,
                    is_near: found.near,
                }
            })
            .collect();
        drop(known);
        let levels: Option<Box<[Level]>> = places
            .iter()
            .enumerate()
            .map(|(level, &(priority, foreign))| {
                let policy = Policy::build(&config.policy, &prospects(&members, level))?;
                let policy = if places.len() > 1 { policy.among_others() } else { policy };
                Some(Level { priority, foreign, policy, now: AtomicU32::new(u32::from(HEALTHY)) })
            })
            .collect();
        // Sessions know nothing of levels.
        let everyone: Vec<Prospect> = members
            .iter()
            .map(|member| Prospect { weight: member.weight, name: member.endpoint.name() })
            .collect();
        let sessions = Sessions::new(&config.policy, &everyone);
        let threshold = Threshold {
            requests: config.threshold.requests.unwrap_or(u32::MAX),
            latency_s: config.threshold.latency_ms.map_or(f32::INFINITY, |ms| ms as f32 / 1e3),
            bytes_per_second: config.threshold.bytes_per_second.map_or(f32::INFINITY, |bytes| bytes as f32),
        };
        let pool = Self {
            levels: levels?,
            prepared: Prepared::default(),
            census: Mutex::new(Census::new(members.len())),
            sessions,
            key: config.policy.key.as_deref().and_then(|text| text.parse().ok()),
            config: config.clone(),
            generation,
            seats: members.iter().map(Seat::of).collect(),
            members,
            threshold,
            peak_decay: Decay::over(config.policy.decay_ms.map_or(PEAK_DECAY_S, |ms| ms as f32 / 1e3)),
            slow_start: config.slow_start.as_ref().map(SlowStart::new),
            starting_until: AtomicU64::new(0),
            reports: config.reported.as_ref().map(reported::Rules::new),
            weights: Weights::default(),
            shared,
        };
        pool.recall();
        Some(pool)
    }

    /// Makes this snapshot's rules live, once it has been swapped in: drains, thresholds, probes switched on or
    /// off, the retry budget. Waiters then get what has become free.
    pub fn activate(self: &Arc<Self>, now: Nanos) {
        let probes = self.config.health.interval_ms.is_some();
        for (place, member) in self.members.iter().enumerate() {
            member.endpoint.set_place(place);
            let mut health = member.endpoint.health();
            health.set_draining(member.draining);
            health.set_probes(probes);
            if member.joins || member.endpoint.start().is_pending() {
                self.begin(member, now);
            } else if let Some(at) = member.endpoint.start().at() {
                self.note_start(at);
            }
            member.endpoint.publish(&health);
            drop(health);
            member.endpoint.weigh_latency(&self.threshold);
            member.endpoint.joins(now);
        }
        self.forget_weights();
        lock(&self.shared.budget).set_share(self.config.retry.budget);
        self.verdicts_changed(now);
    }
}

/// What a policy is told where only the members of one level are for it.
fn prospects(members: &[Member], level: usize) -> Vec<Prospect> {
    members
        .iter()
        .map(|member| Prospect {
            weight: if usize::from(member.level) == level { member.weight } else { 0 },
            name: member.endpoint.name(),
        })
        .collect()
}
