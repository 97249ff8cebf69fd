//! A pool in one snapshot: its members and rules, over the state that outlives snapshots.

mod health;
mod learning;
mod levels;
mod reports;
mod view;

use crate::document::{self};
use crate::endpoint::{Address, Endpoint, Threshold};
use crate::health::{Health, Verdict};
use crate::key::{KeySource, KeyView};
use crate::level::{LEVELS_MAX, Share};
use crate::load::{Smoothed, Tail};
use crate::policy::{Phase, Policy, Prospect, Rotation};
use crate::prepared::Prepared;
use crate::queue::Queue;
use crate::random::Generator;
use crate::reading::{Live, Reading};
use crate::retry::Budget;
use crate::seeker::Seeker;
use crate::session::Sessions;
use crate::slow_start::SlowStart;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering, lock};
use crate::time::Nanos;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use view::View;

/// Verdicts that picks accept, a bit each.
const HEALTHY: u8 = 1 << Verdict::Healthy as u8;
const UNKNOWN: u8 = 1 << Verdict::Unknown as u8;
const DOWN: u8 = 1 << Verdict::Down as u8;
const ALL: u8 = HEALTHY | UNKNOWN | DOWN;

/// Phantoms decay over the pool's smoothed success time, within these bounds.
const PHANTOM_S_MIN: f32 = 0.001;
const PHANTOM_S_MAX: f32 = 10.0;
/// Before any success there is none to go by.
const PHANTOM_S_FIRST: f32 = 0.1;

/// The time constant of peaks where none is configured; Finagle's own.
const PEAK_DECAY_S: f32 = 10.0;
/// What an endpoint costs that carries requests and has never answered, in seconds: more than any that has. Finagle's
/// penalty, likewise far beyond any real time.
const UNANSWERED_S: f32 = 1e6;

/// One endpoint with what this snapshot says of it.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its live state.
    pub endpoint: Arc<Endpoint>,
    /// The address as it was configured: a host name keeps its name.
    pub configured: Arc<str>,
    /// 0 takes no new requests.
    pub weight: u32,
    inverse_weight: f32,
    draining: bool,
    /// Whether it is new where others have been.
    joins: bool,
    /// Its place among the levels of the pool.
    level: u8,
    /// The lower one is used first.
    pub priority: u32,
    /// Where it stands.
    pub zone: Option<Arc<str>>,
    /// Whether that is the own zone.
    is_near: bool,
}

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

/// Endpoints that are wanted alike, with what the policy has worked out for them. See [`crate::level`].
#[derive(Debug)]
pub struct Level {
    /// The lower one is used first.
    pub priority: u32,
    /// Whether they stand in other zones than the own one.
    pub foreign: bool,
    policy: Policy,
    /// What holds now: the verdicts that picks accept and the share of the load. Of this snapshot alone: a request that
    /// holds an older one knows other members.
    now: AtomicU32,
}

/// What holds for each level at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan([u16; LEVELS_MAX]);

impl Plan {
    fn word(accept: u8, share: Share) -> u16 {
        u16::from(accept) | u16::from(share.panics) << 7 | u16::from(share.load) << 8
    }

    /// The verdicts that picks accept.
    fn accept(&self, level: usize) -> u8 {
        self.0[level] as u8 & ALL
    }

    fn share(&self, level: usize) -> Share {
        Share { load: (self.0[level] >> 8) as u8, panics: self.0[level] & 1 << 7 != 0 }
    }
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

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A response that is no failure.
    Success,
    /// The endpoint failed; the word says how, for people.
    Failure(&'static str),
    /// Neither: the client went away, or nobody said.
    Cancelled,
}

/// Why a request got no endpoint, or which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// A slot of the member at this index is taken.
    Taken(usize),
    /// Some could serve it, but each is at its threshold. Said only after a scan.
    Full,
    /// None could serve it.
    Nobody,
}

/// What makes an endpoint the same in the next snapshot: where it is, and whom it has to prove to be. Another name is
/// another server, however it is reached.
type Identity = (Address, Option<Box<str>>);

/// What outlives snapshots, kept by the pool's name; also while the pool is out of the configuration, for as long as
/// a request of it lasts.
#[derive(Debug)]
pub struct Shared {
    rotation: Rotation,
    pub(crate) queue: Queue,
    requests: AtomicU64,
    budget: Mutex<Budget>,
    success: Smoothed,
    /// The slow end of response times: what a failure counts as at least, for policies that compare times.
    tail: Tail,
    next_id: AtomicU32,
    /// Every endpoint that lives: one that left the configuration and comes back while it still carries requests is the
    /// same.
    known: Mutex<HashMap<Identity, Weak<Endpoint>>>,
    /// Requests that waited in vain.
    pub queue_timeouts: AtomicU64,
}

/// A pool in one snapshot.
#[derive(Debug)]
pub struct Pool {
    config: document::Pool,
    generation: u64,
    members: Vec<Member>,
    /// In the order in which they are wanted; there is at least one.
    levels: Box<[Level]>,
    /// What TLS needs, once it has been loaded.
    pub prepared: Prepared,
    key: Option<KeySource>,
    sessions: Option<Sessions>,
    threshold: Threshold,
    slow_start: Option<SlowStart>,
    /// Until when someone is in slow start: one look tells a pick that nobody is.
    starting_until: AtomicU64,
    pub(crate) shared: Arc<Shared>,
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
                    inverse_weight: if found.weight == 0 { f32::INFINITY } else { 1.0 / found.weight as f32 },
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
        Some(Self {
            levels: levels?,
            prepared: Prepared::default(),
            sessions,
            key: config.policy.key.as_deref().and_then(|text| text.parse().ok()),
            config: config.clone(),
            generation,
            members,
            threshold,
            slow_start: config.slow_start.as_ref().map(SlowStart::new),
            starting_until: AtomicU64::new(0),
            shared,
        })
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
        lock(&self.shared.budget).set_share(self.config.retry.budget);
        self.verdicts_changed(now);
    }

    /// An endpoint's address as it was configured.
    pub fn configured(&self, endpoint: &Arc<Endpoint>) -> &str {
        let same = |member: &&Member| Arc::ptr_eq(&member.endpoint, endpoint);
        self.members.iter().find(same).map_or("", |member| &member.configured)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Its configuration.
    pub fn config(&self) -> &document::Pool {
        &self.config
    }

    /// The snapshot it belongs to.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Its endpoints.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Its threshold.
    pub fn threshold(&self) -> &Threshold {
        &self.threshold
    }

    /// Requests that wait now.
    pub fn queued(&self) -> usize {
        self.shared.queue.len()
    }

    /// How many may wait.
    pub(crate) fn queue_size(&self) -> usize {
        self.config.queue.size.map_or(0, |size| size as usize)
    }

    /// What outlives snapshots.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A request that looks for an endpoint here, with what the policy goes by.
    pub fn seeker(&self, view: &impl KeyView) -> Seeker {
        let mut seeker = Seeker::of(self.key.as_ref().and_then(|source| source.key(view)));
        seeker.session = self.sessions.as_ref().and_then(|sessions| sessions.find(view));
        seeker
    }

    /// Whether it keeps sessions.
    pub(crate) fn keeps_sessions(&self) -> bool {
        self.sessions.is_some()
    }

    /// The Set-Cookie that a response of this endpoint is to carry; empty where there is none to set, or where the
    /// client has it. `tls` says whether the client came over TLS.
    pub fn set_cookie(&self, seeker: &Seeker, endpoint: &Endpoint, tls: bool) -> Vec<u8> {
        match &self.sessions {
            Some(sessions) if seeker.session != Some(endpoint.name()) => {
                sessions.set_cookie(endpoint.name(), tls)
            }
            _ => Vec::new(),
        }
    }

    /// Counts a request that has come for this pool.
    pub fn count_request(&self) {
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a retry is within the budget; if so it is spent.
    pub fn may_retry(&self, now: Nanos) -> bool {
        lock(&self.shared.budget).withdraw(self.shared.requests.load(Ordering::Relaxed), now)
    }

    /// For a newcomer: takes a slot unless others wait already, in which case it must line up behind them.
    pub fn admit(&self, now: Nanos, rng: &mut impl Rng, seeker: &Seeker) -> Pick {
        self.admit_by(&Live, now, rng, seeker)
    }

    /// The same for a balancer that knows the loads only as `reading` tells them.
    pub fn admit_by(&self, reading: &impl Reading, now: Nanos, rng: &mut impl Rng, seeker: &Seeker) -> Pick {
        if self.shared.queue.is_empty() { self.pick_by(reading, now, rng, seeker) } else { Pick::Full }
    }

    /// Chooses an endpoint and takes a slot of it.
    pub fn pick(&self, now: Nanos, rng: &mut impl Rng, seeker: &Seeker) -> Pick {
        self.pick_by(&Live, now, rng, seeker)
    }

    fn pick_by(&self, reading: &impl Reading, now: Nanos, rng: &mut impl Rng, seeker: &Seeker) -> Pick {
        let salt = if self.any_starting(now) { Some(rng.next_u64()) } else { None };
        // Most pools have one level and find someone in it: what follows costs as much as a pick.
        if let [level] = &*self.levels {
            let view = View { pool: self, reading, now, seeker, level: 0, accept: level.accept(), salt };
            if let Some(index) = level.policy.pick(&view, &self.shared.rotation, rng) {
                return Pick::Taken(index);
            }
        }
        self.pick_among_levels(reading, salt, now, rng, seeker)
    }

    /// The whole of a pick: a level is drawn, the others are asked, and the live verdicts are looked at.
    #[inline(never)]
    fn pick_among_levels(
        &self,
        reading: &impl Reading,
        salt: Option<u64>,
        now: Nanos,
        rng: &mut impl Rng,
        seeker: &Seeker,
    ) -> Pick {
        let mut plan = self.plan();
        loop {
            let first = self.draw_level(&plan, seeker, rng);
            // Where nobody of the level can take it, at its threshold or tried already, the others are asked in order.
            for level in std::iter::once(first).chain((0..self.levels.len()).filter(|&level| level != first))
            {
                let accept = plan.accept(level);
                let view = View { pool: self, reading, now, seeker, level: level as u8, accept, salt };
                if let Some(index) = self.levels[level].policy.pick(&view, &self.shared.rotation, rng) {
                    return Pick::Taken(index);
                }
            }
            // Verdicts may have changed since the plan was written: look at the live ones before saying no.
            let live = self.derive();
            if live == plan {
                let any = self.members.iter().any(|member| member.is_possible(&plan, seeker))
                    || self.session_with(seeker, Member::is_possible_for_session).is_some();
                return if any { Pick::Full } else { Pick::Nobody };
            }
            plan = live;
        }
    }

    /// Whether another endpoint than this one, and than those that are excluded, could take a request now.
    pub fn has_another(&self, endpoint: &Endpoint, seeker: &Seeker, now: Nanos) -> bool {
        let any = |plan: &Plan| {
            self.members.iter().any(|member| {
                member.endpoint.id() != endpoint.id()
                    && member.is_possible(plan, seeker)
                    && member.endpoint.eligible(plan.accept(member.level.into()), &self.threshold, now)
            })
        };
        // As in a pick: the live verdicts are looked at before it is said that there is none.
        self.shared.queue.is_empty() && (any(&self.plan()) || any(&self.derive()))
    }

    /// How it chooses; the levels differ only in for whom.
    fn policy(&self) -> &Policy {
        &self.levels[0].policy
    }

    fn member_of(&self, endpoint: &Endpoint) -> Option<&Member> {
        self.members.iter().find(|member| member.endpoint.id() == endpoint.id())
    }

    /// The index of the endpoint that the request's session is with, of whatever level, if that is in the pool, was not
    /// tried, and `may`, given the verdicts that its level accepts.
    fn session_with(&self, seeker: &Seeker, may: impl FnOnce(&Member, u8) -> bool) -> Option<usize> {
        let index = self.sessions.as_ref()?.index(seeker.session?)?;
        let member = &self.members[index];
        let accept = self.levels[usize::from(member.level)].accept();
        (!seeker.excludes(member.endpoint.id()) && may(member, accept)).then_some(index)
    }
}

impl Member {
    /// Whether only a threshold can keep it from serving this request.
    fn is_possible(&self, plan: &Plan, seeker: &Seeker) -> bool {
        self.weight > 0
            && self.endpoint.accepted(plan.accept(self.level.into()))
            && !seeker.excludes(self.endpoint.id())
    }

    /// Whether only a threshold can keep it from serving a request of one of its own sessions.
    fn is_possible_for_session(&self, accept: u8) -> bool {
        self.endpoint.accepted_for_session(accept)
    }
}

impl Level {
    /// The verdicts that picks accept.
    fn accept(&self) -> u8 {
        self.now.load(Ordering::Relaxed) as u8 & ALL
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

impl Shared {
    /// The last request of an endpoint has ended; only those wait here that some `join_idle_queue` has seated.
    pub(crate) fn fell_idle(&self, endpoint: &Endpoint) {
        self.rotation.idle.join(endpoint.id(), endpoint.place());
    }

    fn new(options: &Options) -> Self {
        let mut rng = Generator::seed_from_u64(options.seed);
        Self {
            rotation: Rotation::new(options.phase, &mut rng),
            queue: Queue::new(rng),
            requests: AtomicU64::new(0),
            budget: Mutex::new(Budget::new(None)),
            success: Smoothed::default(),
            tail: Tail::default(),
            next_id: AtomicU32::new(0),
            known: Mutex::new(HashMap::new()),
            queue_timeouts: AtomicU64::new(0),
        }
    }
}
