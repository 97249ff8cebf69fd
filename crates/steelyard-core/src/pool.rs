//! A pool in one snapshot: its members and rules, over the state that outlives snapshots.

use crate::document::{self, Load};
use crate::endpoint::{Address, Endpoint, Threshold};
use crate::health::{FAILURES_TO_EJECT, Health, Rules, Verdict};
use crate::key::{self, KeySource};
use crate::load::{Smoothed, Tail};
use crate::policy::{Candidates, Phase, Policy, Prospect, Rotation};
use crate::queue::Queue;
use crate::random::{Generator, mix};
use crate::retry::Budget;
use crate::seeker::Seeker;
use crate::slow_start::SlowStart;
use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Mutex, Ordering, lock};
use crate::time::Nanos;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Verdicts that picks accept, a bit each.
const HEALTHY: u8 = 1 << Verdict::Healthy as u8;
const UNKNOWN: u8 = 1 << Verdict::Unknown as u8;
const DOWN: u8 = 1 << Verdict::Down as u8;

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

/// What outlives snapshots, kept by the pool's name.
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
    policy: Policy,
    key: Option<KeySource>,
    threshold: Threshold,
    slow_start: Option<SlowStart>,
    /// Until when someone is in slow start: one look tells a pick that nobody is.
    starting_until: AtomicU64,
    /// Verdicts that picks accept. Of this snapshot alone: a request that holds an older one knows other members.
    accept: AtomicU8,
    pub(crate) shared: Arc<Shared>,
}

impl Pool {
    /// Builds a pool over the state of `previous`; `None` when there is no policy of that name. Nothing that is
    /// live changes before [`Pool::activate`].
    pub fn build(
        config: &document::Pool,
        generation: u64,
        resolved: Vec<Resolved>,
        previous: Option<&Pool>,
        options: &Options,
    ) -> Option<Self> {
        let shared = previous.map_or_else(|| Arc::new(Shared::new(options)), |pool| pool.shared.clone());
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
                }
            })
            .collect();
        drop(known);
        let prospects: Vec<Prospect> = members
            .iter()
            .map(|member| Prospect {
                weight: member.weight,
                name: key::hash(member.endpoint.address().to_string().as_bytes()),
            })
            .collect();
        let threshold = Threshold {
            requests: config.threshold.requests.unwrap_or(u32::MAX),
            latency_s: config.threshold.latency_ms.map_or(f32::INFINITY, |ms| ms as f32 / 1e3),
            bytes_per_second: config.threshold.bytes_per_second.map_or(f32::INFINITY, |bytes| bytes as f32),
        };
        Some(Self {
            policy: Policy::build(&config.policy, &prospects)?,
            key: config.policy.key.as_deref().and_then(|text| text.parse().ok()),
            config: config.clone(),
            generation,
            members,
            threshold,
            slow_start: config.slow_start.as_ref().map(SlowStart::new),
            starting_until: AtomicU64::new(0),
            accept: AtomicU8::new(HEALTHY),
            shared,
        })
    }

    /// Makes this snapshot's rules live, once it has been swapped in: drains, thresholds, probes switched on or
    /// off, the retry budget. Waiters then get what has become free.
    pub fn activate(self: &Arc<Self>, previous: Option<&Pool>, now: Nanos) {
        let probes = self.config.health.interval_ms.is_some();
        let switched =
            previous.is_some_and(|previous| previous.config.health.interval_ms.is_some() != probes);
        for member in &self.members {
            let mut health = member.endpoint.health();
            health.set_draining(member.draining);
            if switched {
                health.reset_probes(probes);
            }
            if member.joins || member.endpoint.start().is_pending() {
                self.begin(member, now);
            } else if let Some(at) = member.endpoint.start().at() {
                self.note_start(at);
            }
            member.endpoint.publish(&health);
            drop(health);
            member.endpoint.weigh_latency(&self.threshold);
        }
        lock(&self.shared.budget).set_share(self.config.retry.budget);
        self.refresh();
        self.wake_waiters(now);
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
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Where the key of a request is found, for policies that go by one.
    pub fn key_source(&self) -> Option<&KeySource> {
        self.key.as_ref()
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
        if self.shared.queue.is_empty() { self.pick(now, rng, seeker) } else { Pick::Full }
    }

    /// Chooses an endpoint and takes a slot of it.
    pub fn pick(&self, now: Nanos, rng: &mut impl Rng, seeker: &Seeker) -> Pick {
        let mut accept = self.accept.load(Ordering::Relaxed);
        let salt = if self.any_starting(now) { Some(rng.next_u64()) } else { None };
        loop {
            let view = View { pool: self, now, seeker, accept, salt };
            if let Some(index) = self.policy.pick(&view, &self.shared.rotation, rng) {
                return Pick::Taken(index);
            }
            // Verdicts may have changed since `accept` was written: look at the live ones before saying no.
            let live = self.refresh();
            if live == accept {
                let any = (0..self.members.len()).any(|index| view.possible(index));
                return if any { Pick::Full } else { Pick::Nobody };
            }
            accept = live;
        }
    }

    /// Whether another endpoint than this one, and than those that are excluded, could take a request now.
    pub fn has_another(&self, endpoint: &Endpoint, seeker: &Seeker, now: Nanos) -> bool {
        let any = |accept| {
            let view = View { pool: self, now, seeker, accept, salt: None };
            (0..self.members.len()).any(|index| view.id(index) != endpoint.id() && view.eligible(index))
        };
        // As in a pick: the live verdicts are looked at before it is said that there is none.
        self.shared.queue.is_empty() && (any(self.accept.load(Ordering::Relaxed)) || any(self.refresh()))
    }

    /// Derives which verdicts are accepted: healthy ones; else those never probed; else, when the pool fails open,
    /// all that are not draining.
    pub fn refresh(&self) -> u8 {
        let present = self
            .members
            .iter()
            .filter(|member| member.weight > 0)
            .fold(0u8, |bits, member| bits | 1 << member.endpoint.verdict() as u8);
        let accept = if present & HEALTHY != 0 {
            HEALTHY
        } else if present & UNKNOWN != 0 {
            UNKNOWN
        } else if self.config.fail_open {
            DOWN
        } else {
            HEALTHY
        };
        self.accept.store(accept, Ordering::Relaxed);
        accept
    }

    /// Whether requests now go to endpoints that are known to be bad, for want of better ones.
    pub fn failing_open(&self) -> bool {
        self.accept.load(Ordering::Relaxed) == DOWN
    }

    /// Takes in the response head of an attempt, or its failure. `lasted` runs from the request sent.
    pub fn learn(self: &Arc<Self>, endpoint: &Endpoint, outcome: Outcome, lasted: Option<Nanos>, now: Nanos) {
        match (outcome, lasted.map(Nanos::as_secs_f32)) {
            (Outcome::Success, lasted_s) => {
                endpoint.note_success();
                if let Some(lasted_s) = lasted_s {
                    self.teach(endpoint, lasted_s, now);
                }
            }
            (Outcome::Failure(how), lasted_s) => {
                endpoint.add_phantom(now, self.phantom_s());
                if self.compares_times() {
                    // However fast it failed: never a reason to be chosen again.
                    let counted_s = self.shared.tail.get().unwrap_or(0.0).max(lasted_s.unwrap_or(0.0));
                    endpoint.teach(counted_s, &self.threshold, now);
                    self.teach_peak(endpoint, counted_s, now);
                } else if let Some(lasted_s) = lasted_s {
                    endpoint.teach_at_least(lasted_s, &self.threshold, now);
                }
                if endpoint.note_failure() >= FAILURES_TO_EJECT {
                    self.eject(endpoint, how, now);
                }
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
        if matches!(self.policy, Policy::PeakEwma(_)) {
            endpoint.peak.record(lasted_s, now, self.decay_s());
        }
    }

    /// Whether the policy goes by how long endpoints take.
    fn compares_times(&self) -> bool {
        match self.policy {
            Policy::PeakEwma(_) | Policy::LeastTime(_) => true,
            Policy::LeastLoad(_) => self.config.load == Load::Latency,
            _ => false,
        }
    }

    /// The time constant of peaks.
    fn decay_s(&self) -> f32 {
        self.config.policy.decay_ms.map_or(PEAK_DECAY_S, |ms| ms as f32 / 1e3)
    }

    /// How long an endpoint takes, or, where it has not answered yet, the pool; a guess before anyone has.
    fn expected_s(&self, endpoint: &Endpoint) -> f32 {
        endpoint.smoothed_s().or_else(|| self.shared.success.get()).unwrap_or(PHANTOM_S_FIRST)
    }

    fn eject(self: &Arc<Self>, endpoint: &Endpoint, how: &'static str, now: Nanos) {
        let mut health = endpoint.health();
        if health.eject(how, now) {
            endpoint.note_success();
            endpoint.publish(&health);
            drop(health);
            self.verdicts_changed(now);
        }
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
            if member.endpoint.verdict() == Verdict::Down {
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

    fn verdicts_changed(self: &Arc<Self>, now: Nanos) {
        self.refresh();
        self.wake_waiters(now);
    }

    /// The time constant of phantoms: how long a good request takes here.
    fn phantom_s(&self) -> f32 {
        self.shared.success.get().unwrap_or(PHANTOM_S_FIRST).clamp(PHANTOM_S_MIN, PHANTOM_S_MAX)
    }
}

impl Shared {
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

/// The live members as a policy sees them, for one request at one moment.
struct View<'a> {
    pool: &'a Pool,
    now: Nanos,
    seeker: &'a Seeker,
    accept: u8,
    /// What chance draws from for those in slow start; `None` when nobody is.
    salt: Option<u64>,
}

impl View<'_> {
    fn member(&self, index: usize) -> &Member {
        &self.pool.members[index]
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

    /// Whether only a threshold can keep it from serving this request.
    fn possible(&self, index: usize) -> bool {
        let member = self.member(index);
        member.weight > 0
            && member.endpoint.accepted(self.accept)
            && !self.seeker.excludes(member.endpoint.id())
    }
}

impl Candidates for View<'_> {
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
        let member = self.member(index);
        member.weight > 0
            && member.endpoint.eligible(self.accept, &self.pool.threshold, self.now)
            && !self.seeker.excludes(member.endpoint.id())
    }

    fn factor(&self, index: usize) -> f32 {
        if self.salt.is_none() {
            return 1.0;
        }
        self.pool.start_factor(&self.member(index).endpoint, self.now)
    }

    fn cost(&self, index: usize) -> f32 {
        let member = self.member(index);
        let burden = member.endpoint.burden(self.now, || self.pool.phantom_s());
        (1.0 + burden) * self.inverse_weight(member, burden <= 0.0)
    }

    fn cost_if_eligible(&self, index: usize) -> Option<f32> {
        let member = self.member(index);
        let eligible = member.weight > 0
            && member.endpoint.eligible(self.accept, &self.pool.threshold, self.now)
            && !self.seeker.excludes(member.endpoint.id());
        eligible.then(|| self.cost(index))
    }

    fn load(&self, index: usize) -> f32 {
        let member = self.member(index);
        let inverse_weight = || self.inverse_weight(member, member.endpoint.in_flight() == 0);
        match self.pool.config.load {
            Load::Requests => self.cost(index),
            Load::Latency => self.pool.expected_s(&member.endpoint) * inverse_weight(),
            // One that has sent nothing yet costs nothing, whatever its weight: in slow start it has to let requests
            // pass as where turns are taken.
            Load::Bytes if self.salt.is_some_and(|salt| !self.starts(index, salt)) => f32::MAX,
            Load::Bytes => member.endpoint.bytes_per_second(self.now) * inverse_weight(),
        }
    }

    fn time_cost(&self, index: usize) -> f32 {
        let member = self.member(index);
        let in_flight = member.endpoint.in_flight();
        let inverse_weight = self.inverse_weight(member, in_flight == 0);
        self.pool.expected_s(&member.endpoint) * (1.0 + in_flight as f32) * inverse_weight
    }

    fn peak_cost(&self, index: usize) -> f32 {
        let member = self.member(index);
        let pending = member.endpoint.in_flight() as f32;
        let mut peak = member.endpoint.peak.look(self.now, self.pool.decay_s());
        if peak <= 0.0 && self.factor(index) < 1.0 {
            // Finagle's 0 for one that nobody has heard of would undo a slow start.
            peak = self.pool.expected_s(&member.endpoint);
        }
        let cost = if peak <= 0.0 && pending > 0.0 { UNANSWERED_S + pending } else { peak * (pending + 1.0) };
        cost * self.inverse_weight(member, pending <= 0.0)
    }

    fn key(&self) -> Option<u64> {
        self.seeker.key
    }

    fn take(&self, index: usize) -> bool {
        self.member(index).endpoint.take(&self.pool.threshold, self.now)
    }

    fn generation(&self) -> u64 {
        self.pool.generation
    }
}
