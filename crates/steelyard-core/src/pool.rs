//! A pool in one snapshot: its members and rules, over the state that outlives snapshots.

use crate::document::{self, Load};
use crate::endpoint::{Address, Endpoint, Threshold};
use crate::health::{FAILURES_TO_EJECT, Health, Rules, Verdict};
use crate::key::{KeySource, KeyView};
use crate::load::{Smoothed, Tail};
use crate::policy::{Candidates, Facts, Phase, Policy, Prospect, Rotation, Source};
use crate::queue::Queue;
use crate::random::Generator;
use crate::reading::{Live, Reading};
use crate::report::Report;
use crate::retry::Budget;
use crate::seeker::Seeker;
use crate::session::Sessions;
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
    policy: Policy,
    key: Option<KeySource>,
    sessions: Option<Sessions>,
    threshold: Threshold,
    /// Verdicts that picks accept. Of this snapshot alone: a request that holds an older one knows other members.
    accept: AtomicU8,
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
        let mut endpoint = |address: &Address| {
            known.get(address).and_then(Weak::upgrade).unwrap_or_else(|| {
                let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
                let new = Arc::new(Endpoint::new(id, address.clone(), options.workers, Health::new(probes)));
                known.insert(address.clone(), Arc::downgrade(&new));
                new
            })
        };
        let members: Vec<Member> = resolved
            .into_iter()
            .map(|found| Member {
                endpoint: endpoint(&found.address),
                configured: found.configured,
                weight: found.weight,
                inverse_weight: if found.weight == 0 { f32::INFINITY } else { 1.0 / found.weight as f32 },
                draining: found.drain,
            })
            .collect();
        drop(known);
        let prospects: Vec<Prospect> = members
            .iter()
            .map(|member| Prospect { weight: member.weight, name: member.endpoint.name() })
            .collect();
        let threshold = Threshold {
            requests: config.threshold.requests.unwrap_or(u32::MAX),
            latency_s: config.threshold.latency_ms.map_or(f32::INFINITY, |ms| ms as f32 / 1e3),
            bytes_per_second: config.threshold.bytes_per_second.map_or(f32::INFINITY, |bytes| bytes as f32),
        };
        Some(Self {
            policy: Policy::build(&config.policy, &prospects)?,
            sessions: Sessions::new(&config.policy, &prospects),
            key: config.policy.key.as_deref().and_then(|text| text.parse().ok()),
            config: config.clone(),
            generation,
            members,
            threshold,
            accept: AtomicU8::new(HEALTHY),
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
        let mut accept = self.accept.load(Ordering::Relaxed);
        loop {
            let view = View { pool: self, reading, now, seeker, accept };
            if let Some(index) = self.policy.pick(&view, &self.shared.rotation, rng) {
                return Pick::Taken(index);
            }
            // Verdicts may have changed since `accept` was written: look at the live ones before saying no.
            let live = self.refresh();
            if live == accept {
                let any = (0..self.members.len()).any(|index| view.possible(index))
                    || view.session_with(|endpoint| endpoint.accepted_for_session(live)).is_some();
                return if any { Pick::Full } else { Pick::Nobody };
            }
            accept = live;
        }
    }

    /// Whether another endpoint than this one, and than those that are excluded, could take a request now.
    pub fn has_another(&self, endpoint: &Endpoint, seeker: &Seeker, now: Nanos) -> bool {
        let any = |accept| {
            let view = View { pool: self, reading: &Live, now, seeker, accept };
            (0..self.members.len()).any(|index| view.id(index) != endpoint.id() && view.eligible(index))
        };
        // As in a pick: the live verdicts are looked at before it is said that there is none.
        self.shared.queue.is_empty() && (any(self.accept.load(Ordering::Relaxed)) || any(self.refresh()))
    }

    /// Derives which verdicts are accepted: healthy ones; else those never probed; else, when the pool fails open,
    /// all that are not draining, if there are any.
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
        } else if self.config.fail_open && present & DOWN != 0 {
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
        if matches!(self.policy, Policy::Scored(..)) && outcome != Outcome::Cancelled {
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
                if matches!(self.policy, Policy::Prequal(_)) {
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
        if matches!(self.policy, Policy::PeakEwma(_)) {
            endpoint.peak.record(lasted_s, now, self.decay_s());
        }
    }

    /// Whether the policy goes by how long endpoints take.
    fn compares_times(&self) -> bool {
        match self.policy {
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

    /// Takes in one probe; says whether the verdict changed.
    pub fn record_probe(self: &Arc<Self>, endpoint: &Endpoint, good: bool, said: String, now: Nanos) -> bool {
        let rules = Rules { rise: self.config.health.rise, fall: self.config.health.fall };
        let mut health = endpoint.health();
        health.record_probe(good, said, rules);
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

    fn verdicts_changed(self: &Arc<Self>, now: Nanos) {
        self.refresh();
        self.enlist_idle(now);
        self.wake_waiters(now);
    }

    /// The last request of an endpoint has ended.
    pub(crate) fn fell_idle(&self, endpoint: &Endpoint) {
        if matches!(self.policy, Policy::JoinIdleQueue(_)) {
            self.shared.fell_idle(endpoint);
        }
    }

    /// Lets those join the idle ones that have returned or are new, and have had no request to say so.
    fn enlist_idle(&self, now: Nanos) {
        if matches!(self.policy, Policy::JoinIdleQueue(_)) {
            let accept = self.accept.load(Ordering::Relaxed);
            let view = View { pool: self, reading: &Live, now, seeker: &Seeker::default(), accept };
            self.shared.rotation.idle.enlist(&view);
        }
    }

    /// Whether endpoints are to be asked for their loads and nobody has been told so yet: whoever is, takes up
    /// [`Pool::probes_wanted`].
    pub fn calls_for_probes(&self) -> bool {
        matches!(self.policy, Policy::Prequal(_)) && self.shared.rotation.probes.calls()
    }

    /// The endpoints to be asked for their loads. Each must be followed by [`Pool::take_report`], however it ends.
    pub fn probes_wanted(&self) -> Vec<Member> {
        if !matches!(self.policy, Policy::Prequal(_)) {
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
        match (report, &self.policy) {
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
    accept: u8,
}

impl<R: Reading> View<'_, R> {
    fn member(&self, index: usize) -> &Member {
        &self.pool.members[index]
    }

    fn burden(&self, endpoint: &Endpoint) -> f32 {
        endpoint.burden_beside(self.reading.in_flight(endpoint), self.now, || self.pool.phantom_s())
    }

    /// Whether only a threshold can keep it from serving this request.
    fn possible(&self, index: usize) -> bool {
        let member = self.member(index);
        member.weight > 0
            && member.endpoint.accepted(self.accept)
            && !self.seeker.excludes(member.endpoint.id())
    }

    /// The index of the endpoint that the request's session is with, if that is in the pool, was not tried, and `may`.
    fn session_with(&self, may: impl FnOnce(&Endpoint) -> bool) -> Option<usize> {
        let index = self.pool.sessions.as_ref()?.index(self.seeker.session?)?;
        let endpoint = &self.member(index).endpoint;
        (!self.seeker.excludes(endpoint.id()) && may(endpoint)).then_some(index)
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
        let member = self.member(index);
        member.weight > 0
            && member.endpoint.eligible(self.accept, &self.pool.threshold, self.now)
            && !self.seeker.excludes(member.endpoint.id())
    }

    fn cost(&self, index: usize) -> f32 {
        let member = self.member(index);
        (1.0 + self.burden(&member.endpoint)) * member.inverse_weight
    }

    fn cost_if_eligible(&self, index: usize) -> Option<f32> {
        let member = self.member(index);
        let eligible = member.weight > 0
            && member.endpoint.eligible(self.accept, &self.pool.threshold, self.now)
            && !self.seeker.excludes(member.endpoint.id());
        eligible.then(|| (1.0 + self.burden(&member.endpoint)) * member.inverse_weight)
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.reading.in_flight(&self.member(index).endpoint)
    }

    fn excluded(&self, index: usize) -> bool {
        self.seeker.excludes(self.member(index).endpoint.id())
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
        match self.pool.config.load {
            Load::Requests => self.cost(index),
            Load::Latency => self.pool.expected_s(&member.endpoint, self.now) * member.inverse_weight,
            Load::Bytes => member.endpoint.bytes_per_second(self.now) * member.inverse_weight,
        }
    }

    fn time_cost(&self, index: usize) -> f32 {
        let member = self.member(index);
        let ahead = 1.0 + self.reading.in_flight(&member.endpoint) as f32;
        self.pool.expected_s(&member.endpoint, self.now) * ahead * member.inverse_weight
    }

    fn peak_cost(&self, index: usize) -> f32 {
        let member = self.member(index);
        let pending = self.reading.in_flight(&member.endpoint) as f32;
        let peak = member.endpoint.peak.look(self.now, self.pool.decay_s());
        let cost = if peak <= 0.0 && pending > 0.0 { UNANSWERED_S + pending } else { peak * (pending + 1.0) };
        cost * member.inverse_weight
    }

    fn facts(&self, index: usize) -> Facts {
        let member = self.member(index);
        let endpoint = &member.endpoint;
        Facts {
            in_flight: f64::from(endpoint.in_flight()),
            latency: endpoint.smoothed_s().map_or(0.0, f64::from),
            error_rate: endpoint.errors.get().map_or(0.0, f64::from),
            weight: f64::from(member.weight),
            bytes_per_second: f64::from(endpoint.bytes_per_second(self.now)),
            age: endpoint.age_s(self.now),
            zone_match: 0.0,
        }
    }

    fn session(&self) -> Option<usize> {
        self.session_with(|endpoint| {
            endpoint.eligible_for_session(self.accept, &self.pool.threshold, self.now)
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
