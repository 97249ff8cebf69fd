//! A pool in one snapshot: its members and rules, over the state that outlives snapshots.

use crate::document::{self, Load};
use crate::endpoint::{Address, Endpoint, Threshold};
use crate::health::{FAILURES_TO_EJECT, Health, Rules, Verdict};
use crate::key::{KeySource, KeyView};
use crate::level::{self, Count, LEVELS_MAX, Share};
use crate::load::{Smoothed, Tail};
use crate::policy::{Candidates, Facts, Phase, Policy, Prospect, Rotation, Source};
use crate::queue::Queue;
use crate::random::{Generator, below, mix};
use crate::reading::{Live, Reading};
use crate::report::Report;
use crate::retry::Budget;
use crate::seeker::Seeker;
use crate::session::Sessions;
use crate::slow_start::SlowStart;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering, lock};
use crate::time::Nanos;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

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
    known: Mutex<HashMap<Address, Weak<Endpoint>>>,
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
        let mut endpoint = |address: &Address| {
            if let Some(endpoint) = known.get(address).and_then(Weak::upgrade) {
                return (endpoint, false);
            }
            let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
            let new = Arc::new(Endpoint::new(id, address.clone(), options.workers, Health::new(probes)));
            known.insert(address.clone(), Arc::downgrade(&new));
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
                let (endpoint, joins) = endpoint(&found.address);
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

    /// Derives anew what holds for each level, because verdicts may have changed.
    pub fn refresh(&self) {
        self.derive();
    }

    /// What holds for each level, as it was last derived.
    fn plan(&self) -> Plan {
        let mut plan = Plan([0; LEVELS_MAX]);
        for (word, level) in plan.0.iter_mut().zip(&self.levels) {
            *word = level.now.load(Ordering::Relaxed) as u16;
        }
        plan
    }

    /// Which level a request goes to first. Requests with a key stay with one as long as the loads do.
    fn draw_level(&self, plan: &Plan, seeker: &Seeker, rng: &mut impl Rng) -> usize {
        if self.levels.len() == 1 {
            return 0;
        }
        let mut draw = match seeker.key {
            Some(key) => (mix(key.rotate_left(32)) * 100.0) as u8,
            None => below(rng, 100) as u8,
        };
        for level in 0..self.levels.len() {
            let load = plan.share(level).load;
            if draw < load {
                return level;
            }
            draw -= load;
        }
        0
    }

    /// Derives what holds for each level. Accepted are healthy endpoints; where a priority has none, those never probed;
    /// in a level that panics, and everywhere when nobody is left and the pool fails open, all that are not draining.
    fn derive(&self) -> Plan {
        let mut seen = [[0u32; 4]; LEVELS_MAX];
        for member in self.members.iter().filter(|member| member.weight > 0) {
            seen[member.level as usize][member.endpoint.verdict() as usize] += 1;
        }
        let mut accepts = [HEALTHY; LEVELS_MAX];
        let mut counts = [Count::default(); LEVELS_MAX];
        for (place, level) in self.levels.iter().enumerate() {
            let peers =
                || self.levels.iter().zip(&seen).filter(|(other, _)| other.priority == level.priority);
            let has = |verdict: Verdict| peers().any(|(_, seen)| seen[verdict as usize] > 0);
            let used = if !has(Verdict::Healthy) && has(Verdict::Unknown) {
                Verdict::Unknown
            } else {
                Verdict::Healthy
            };
            let available = seen[place][used as usize];
            accepts[place] = 1 << used as u8;
            counts[place] = Count { available, all: available + seen[place][Verdict::Down as usize] };
        }
        let counts = &counts[..self.levels.len()];
        let none_available = counts.iter().all(|count| count.available == 0);
        let fails_open = self.config.fail_open && none_available && counts.iter().any(|count| count.all > 0);
        let shares = level::share(counts, self.config.panic_threshold, self.config.fail_open);
        let mut plan = Plan([0; LEVELS_MAX]);
        for (place, level) in self.levels.iter().enumerate() {
            let accept = match shares[place].panics {
                _ if fails_open => DOWN,
                true => ALL,
                false => accepts[place],
            };
            plan.0[place] = Plan::word(accept, shares[place]);
            level.now.store(u32::from(plan.0[place]), Ordering::Relaxed);
        }
        plan
    }

    /// Its levels, in the order in which they are wanted, and what each gets now.
    pub fn levels(&self) -> impl Iterator<Item = (&Level, Share)> {
        let plan = self.plan();
        self.levels.iter().enumerate().map(move |(place, level)| (level, plan.share(place)))
    }

    /// Whether requests now go to endpoints that are known to be bad, for want of better ones.
    pub fn failing_open(&self) -> bool {
        let plan = self.plan();
        (0..self.levels.len()).all(|level| plan.accept(level) == DOWN)
    }

    /// Whether a level now uses all of its endpoints because too few of them are available.
    pub fn panics(&self) -> bool {
        !self.failing_open() && self.levels().any(|(_, share)| share.panics)
    }

    /// How it chooses; the levels differ only in for whom.
    fn policy(&self) -> &Policy {
        &self.levels[0].policy
    }

    /// Takes in the response head of an attempt, or its failure. `lasted` runs from the request sent.
    pub fn learn(self: &Arc<Self>, endpoint: &Endpoint, outcome: Outcome, lasted: Option<Nanos>, now: Nanos) {
        if matches!(self.policy(), Policy::Scored(..)) && outcome != Outcome::Cancelled {
            endpoint.errors.record(f32::from(outcome != Outcome::Success), now);
        }
        match (outcome, lasted.map(Nanos::as_secs_f32)) {
            (Outcome::Success, lasted_s) => {
                endpoint.forget_failures();
                if let Some(lasted_s) = lasted_s {
                    self.teach(endpoint, lasted_s, now);
                }
            }
            (Outcome::Failure(how), lasted_s) => {
                endpoint.add_phantom(now, self.phantom_s());
                if matches!(self.policy(), Policy::Prequal(_)) {
                    self.shared.rotation.probes.forget(endpoint.id());
                }
                if self.compares_times() {
                    // However fast it failed: never a reason to be chosen again.
                    let counted_s = self.shared.tail.get().unwrap_or(0.0).max(lasted_s.unwrap_or(0.0));
                    endpoint.teach(counted_s, &self.threshold, now);
                    self.teach_peak(endpoint, counted_s, now);
                } else if let Some(lasted_s) = lasted_s {
                    endpoint.teach_at_least(lasted_s, &self.threshold, now);
                }
                self.count_failure(endpoint, how, now);
            }
            (Outcome::Cancelled, Some(lasted_s)) => endpoint.teach_at_least(lasted_s, &self.threshold, now),
            (Outcome::Cancelled, None) => {}
        }
    }

    /// Takes in how long a good response's head took, while its end is still to come: only that makes it a success.
    pub fn teach(&self, endpoint: &Endpoint, lasted_s: f32, now: Nanos) {
        endpoint.teach(lasted_s, &self.threshold, now);
        self.shared.success.record(lasted_s, now);
        if self.compares_times() {
            self.shared.tail.record(lasted_s);
            self.teach_peak(endpoint, lasted_s, now);
        }
    }

    fn teach_peak(&self, endpoint: &Endpoint, lasted_s: f32, now: Nanos) {
        if matches!(self.policy(), Policy::PeakEwma(_)) {
            endpoint.peak.record(lasted_s, now, self.decay_s());
        }
    }

    /// Whether the policy goes by how long endpoints take.
    fn compares_times(&self) -> bool {
        match self.policy() {
            Policy::PeakEwma(_) | Policy::LeastTime(_) | Policy::Scored(..) | Policy::Prequal(_) => true,
            Policy::LeastLoad(_) => self.config.load == Load::Latency,
            _ => false,
        }
    }

    /// The time constant of peaks.
    fn decay_s(&self) -> f32 {
        self.config.policy.decay_ms.map_or(PEAK_DECAY_S, |ms| ms as f32 / 1e3)
    }

    /// How long an endpoint takes; where it has not answered yet, or not for long, what the pool takes; a guess before
    /// anyone has.
    fn expected_s(&self, endpoint: &Endpoint, now: Nanos) -> f32 {
        let usual_s = self.shared.success.get().unwrap_or(PHANTOM_S_FIRST);
        endpoint.smoothed().fading(usual_s, now).unwrap_or(usual_s)
    }

    /// Ejects at the last of so many failures in a row. What fails while it is ejected (requests that were under way,
    /// and all when the pool fails open) counts for nothing, so that an endpoint returns with a clean sheet.
    fn count_failure(self: &Arc<Self>, endpoint: &Endpoint, how: &'static str, now: Nanos) {
        let mut health = endpoint.health();
        if health.is_ejected() || endpoint.note_failure() < FAILURES_TO_EJECT {
            return;
        }
        endpoint.forget_failures();
        health.eject(how, now);
        endpoint.publish(&health);
        drop(health);
        self.verdicts_changed(now);
    }

    /// Lets a member's slow start begin: now, or when its drain ends. What it has to do with is said before the verdict
    /// is published that sends it requests.
    fn begin(&self, member: &Member, now: Nanos) {
        if member.draining {
            member.endpoint.start().begin_later();
        } else {
            member.endpoint.start().begin(now);
            self.note_start(now);
        }
    }

    fn note_start(&self, at: Nanos) {
        if let Some(slow_start) = &self.slow_start {
            self.starting_until.fetch_max(at.plus(slow_start.window()).0, Ordering::Relaxed);
        }
    }

    fn any_starting(&self, now: Nanos) -> bool {
        self.starting_until.load(Ordering::Relaxed) > now.0
    }

    /// The part of its weight that an endpoint has in its slow start; 1 when it is in none.
    pub fn start_factor(&self, endpoint: &Endpoint, now: Nanos) -> f32 {
        match (&self.slow_start, endpoint.start().at()) {
            (Some(slow_start), Some(at)) => slow_start.factor(now.since(at)),
            _ => 1.0,
        }
    }

    /// Takes in one probe; says whether the verdict changed.
    pub fn record_probe(self: &Arc<Self>, endpoint: &Endpoint, good: bool, said: String, now: Nanos) -> bool {
        let rules = Rules { rise: self.config.health.rise, fall: self.config.health.fall };
        let mut health = endpoint.health();
        let before = health.standing();
        health.record_probe(good, said, rules);
        let recovers = match before {
            Verdict::Down => health.standing() == Verdict::Healthy,
            // The first probe of an endpoint that joined others; those that began with the pool do so all at once.
            Verdict::Unknown => health.standing() == Verdict::Healthy && endpoint.start().at().is_some(),
            _ => false,
        };
        if recovers && let Some(member) = self.member_of(endpoint) {
            self.begin(member, now);
        }
        let changed = endpoint.publish(&health);
        drop(health);
        if changed {
            self.verdicts_changed(now);
        }
        changed
    }

    /// Ends the ejections whose time has come and wakes waiters for whatever has returned, of these and of the
    /// loads that fall by themselves. Called by the control thread every few tens of milliseconds. Returns the
    /// members whose ejection ended.
    pub fn tick(self: &Arc<Self>, now: Nanos) -> Vec<Member> {
        // Two changes at once may each derive what is accepted, and the older answer be written last.
        self.refresh();
        let mut returned = Vec::new();
        for member in &self.members {
            // What is ejected is down, whether or not it drains; the lock of the others is left alone.
            if member.endpoint.is_down() {
                let mut health = member.endpoint.health();
                if health.end_ejection(now) {
                    if health.standing() != Verdict::Down {
                        self.begin(member, now);
                    }
                    member.endpoint.publish(&health);
                    returned.push(member.clone());
                }
            }
        }
        if returned.is_empty() {
            // Loads that fell by themselves told nobody.
            self.enlist_idle(now);
            if !self.shared.queue.is_empty() {
                self.wake_waiters(now);
            }
        } else {
            self.verdicts_changed(now);
        }
        returned
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

    fn verdicts_changed(self: &Arc<Self>, now: Nanos) {
        self.refresh();
        self.enlist_idle(now);
        self.wake_waiters(now);
    }

    /// The last request of an endpoint has ended.
    pub(crate) fn fell_idle(&self, endpoint: &Endpoint) {
        if matches!(self.policy(), Policy::JoinIdleQueue(_)) {
            self.shared.fell_idle(endpoint);
        }
    }

    /// Lets those join the idle ones that have returned or are new, and have had no request to say so.
    fn enlist_idle(&self, now: Nanos) {
        if matches!(self.policy(), Policy::JoinIdleQueue(_)) {
            let (reading, seeker) = (&Live, &Seeker::default());
            for (place, level) in self.levels.iter().enumerate() {
                let (accept, salt) = (level.accept(), None);
                let view = View { pool: self, reading, now, seeker, level: place as u8, accept, salt };
                self.shared.rotation.idle.enlist(&view);
            }
        }
    }

    /// Whether endpoints are to be asked for their loads and nobody has been told so yet: whoever is, takes up
    /// [`Pool::probes_wanted`].
    pub fn calls_for_probes(&self) -> bool {
        matches!(self.policy(), Policy::Prequal(_)) && self.shared.rotation.probes.calls()
    }

    /// The endpoints to be asked for their loads. Each must be followed by [`Pool::take_report`], however it ends.
    pub fn probes_wanted(&self) -> Vec<Member> {
        if !matches!(self.policy(), Policy::Prequal(_)) {
            return Vec::new();
        }
        let probes = &self.shared.rotation.probes;
        let member = |id| {
            let found = self.members.iter().find(|member| member.endpoint.id() == id);
            if found.is_none() {
                probes.over(id);
            }
            found.cloned()
        };
        probes.wanted().into_iter().filter_map(member).collect()
    }

    /// Takes in what an endpoint said that was asked for its load; `None` where it said nothing of use.
    pub fn take_report(&self, endpoint: &Endpoint, report: Option<Report>, now: Nanos) {
        let probes = &self.shared.rotation.probes;
        probes.over(endpoint.id());
        let level = self.member_of(endpoint).map_or(0, |member| usize::from(member.level));
        match (report, &self.levels[level].policy) {
            (Some(report), Policy::Prequal(rules)) => {
                endpoint.reporting.answered(report, now);
                probes.take_in(rules, endpoint.id(), endpoint.place(), report, now);
            }
            (None, Policy::Prequal(_)) => endpoint.reporting.missed(now),
            _ => {}
        }
    }

    /// The time constant of phantoms: how long a good request takes here.
    fn phantom_s(&self) -> f32 {
        self.shared.success.get().unwrap_or(PHANTOM_S_FIRST).clamp(PHANTOM_S_MIN, PHANTOM_S_MAX)
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

/// The members as a policy sees them, for one request at one moment.
struct View<'a, R> {
    pool: &'a Pool,
    reading: &'a R,
    now: Nanos,
    seeker: &'a Seeker,
    level: u8,
    accept: u8,
    /// What chance draws from for those in slow start; `None` when nobody is.
    salt: Option<u64>,
}

impl<R: Reading> View<'_, R> {
    fn member(&self, index: usize) -> &Member {
        &self.pool.members[index]
    }

    fn burden(&self, endpoint: &Endpoint) -> f32 {
        endpoint.burden_beside(self.reading.in_flight(endpoint), self.now, || self.pool.phantom_s())
    }

    /// 1 / the weight that counts now. One that is idle and in slow start is compared at its whole weight in as many
    /// cases as its factor says: otherwise it would get nothing as long as any other is idle too.
    fn inverse_weight(&self, member: &Member, is_idle: bool) -> f32 {
        let Some(salt) = self.salt else { return member.inverse_weight };
        let factor = self.pool.start_factor(&member.endpoint, self.now);
        if factor >= 1.0 || is_idle && mix(salt ^ u64::from(member.endpoint.id())) < factor {
            return member.inverse_weight;
        }
        member.inverse_weight / factor
    }

    fn is_eligible(&self, member: &Member) -> bool {
        member.weight > 0
            && member.level == self.level
            && member.endpoint.eligible(self.accept, &self.pool.threshold, self.now)
            && !self.seeker.excludes(member.endpoint.id())
    }
}

impl<R: Reading> Candidates for View<'_, R> {
    fn len(&self) -> usize {
        self.pool.members.len()
    }

    fn id(&self, index: usize) -> u32 {
        self.member(index).endpoint.id()
    }

    fn weight(&self, index: usize) -> u32 {
        self.member(index).weight
    }

    fn eligible(&self, index: usize) -> bool {
        self.is_eligible(self.member(index))
    }

    fn factor(&self, index: usize) -> f32 {
        if self.salt.is_none() {
            return 1.0;
        }
        self.pool.start_factor(&self.member(index).endpoint, self.now)
    }

    fn cost(&self, index: usize) -> f32 {
        let member = self.member(index);
        let burden = self.burden(&member.endpoint);
        (1.0 + burden) * self.inverse_weight(member, burden <= 0.0)
    }

    fn cost_if_eligible(&self, index: usize) -> Option<f32> {
        self.is_eligible(self.member(index)).then(|| self.cost(index))
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.reading.in_flight(&self.member(index).endpoint)
    }

    fn excluded(&self, index: usize) -> bool {
        let member = self.member(index);
        member.level != self.level || self.seeker.excludes(member.endpoint.id())
    }

    fn phantoms(&self, index: usize) -> f32 {
        self.member(index).endpoint.phantoms(self.now, || self.pool.phantom_s())
    }

    fn source(&self, index: usize) -> Source {
        let endpoint = &self.member(index).endpoint;
        if !endpoint.reporting.is_silent() {
            return Source::Reports;
        }
        let estimate =
            Report { in_flight: endpoint.in_flight(), latency_s: self.pool.expected_s(endpoint, self.now) };
        Source::Silent { estimate, ask: endpoint.reporting.is_due(self.now) }
    }

    fn load(&self, index: usize) -> f32 {
        let member = self.member(index);
        let inverse_weight = || self.inverse_weight(member, self.reading.in_flight(&member.endpoint) == 0);
        match self.pool.config.load {
            Load::Requests => self.cost(index),
            Load::Latency => self.pool.expected_s(&member.endpoint, self.now) * inverse_weight(),
            // One that has sent nothing yet costs nothing, whatever its weight: in slow start it has to let requests
            // pass as where turns are taken.
            Load::Bytes if self.salt.is_some_and(|salt| !self.starts(index, salt)) => f32::MAX,
            Load::Bytes => member.endpoint.bytes_per_second(self.now) * inverse_weight(),
        }
    }

    fn time_cost(&self, index: usize) -> f32 {
        let member = self.member(index);
        let in_flight = self.reading.in_flight(&member.endpoint);
        let inverse_weight = self.inverse_weight(member, in_flight == 0);
        self.pool.expected_s(&member.endpoint, self.now) * (1.0 + in_flight as f32) * inverse_weight
    }

    fn peak_cost(&self, index: usize) -> f32 {
        let member = self.member(index);
        let pending = self.reading.in_flight(&member.endpoint) as f32;
        let mut peak = member.endpoint.peak.look(self.now, self.pool.decay_s());
        if peak <= 0.0 && self.factor(index) < 1.0 {
            // Finagle's 0 for one that nobody has heard of would undo a slow start.
            peak = self.pool.expected_s(&member.endpoint, self.now);
        }
        let cost = if peak <= 0.0 && pending > 0.0 { UNANSWERED_S + pending } else { peak * (pending + 1.0) };
        cost * self.inverse_weight(member, pending <= 0.0)
    }

    fn facts(&self, index: usize) -> Facts {
        let member = self.member(index);
        let endpoint = &member.endpoint;
        Facts {
            in_flight: f64::from(self.reading.in_flight(endpoint)),
            latency: endpoint.smoothed_s().map_or(0.0, f64::from),
            error_rate: endpoint.errors.get().map_or(0.0, f64::from),
            weight: f64::from(member.weight) * f64::from(self.factor(index)),
            bytes_per_second: f64::from(endpoint.bytes_per_second(self.now)),
            age: endpoint.age_s(self.now),
            zone_match: f64::from(u8::from(member.is_near)),
        }
    }

    fn session(&self) -> Option<usize> {
        self.pool.session_with(self.seeker, |member, accept| {
            member.endpoint.eligible_for_session(accept, &self.pool.threshold, self.now)
        })
    }

    fn key(&self) -> Option<u64> {
        self.seeker.key
    }

    fn take(&self, index: usize) -> bool {
        self.member(index).endpoint.take(&self.pool.threshold, self.now)
    }

    fn take_idle(&self, index: usize) -> bool {
        self.member(index).endpoint.take_idle(&self.pool.threshold, self.now)
    }

    fn now(&self) -> Nanos {
        self.now
    }

    fn generation(&self) -> u64 {
        self.pool.generation
    }
}
