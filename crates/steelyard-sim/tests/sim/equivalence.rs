//! The proof that nothing is balanced here but in the core: one sequence of arrivals and completions, replayed through
//! the core's pool as the proxy's engine calls it, and through the simulator. Every choice must be the same.

use crate::support::{Scene, scene};
use rand::SeedableRng;
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use steelyard_core::key::hash;
use steelyard_core::pool::{Outcome, Pick, Pool};
use steelyard_core::queue::{Grant, Ticket};
use steelyard_core::random::{Generator, below};
use steelyard_core::report::Report;
use steelyard_core::seeker::Seeker;
use steelyard_core::snapshot::{Resolved, Snapshot};
use steelyard_core::time::Nanos;
use steelyard_sim::balancer::options;
use steelyard_sim::clock::{ORIGIN, at};
use steelyard_sim::plan::Plan;
use steelyard_sim::run::choices;
use steelyard_sim::streams::{self, Stream};

/// Milliseconds, so spaced that nothing but a hand-over ever happens at one moment.
const SERVICE: Nanos = Nanos::from_millis(1_000);

/// Keys that requests have unless a scenario says otherwise.
const KEYS: usize = 10_000;

/// A replay of the proxy's calls over endpoints that serve one request at a time.
struct Replay {
    pool: Arc<Pool>,
    rng: Generator,
    /// Draws the keys of requests, for policies that go by one.
    keys: Option<Generator>,
    /// The server of each endpoint: when its requests were sent and their keys, the oldest first, and when the first one
    /// ends.
    servers: Vec<(VecDeque<(Nanos, usize)>, Nanos)>,
    /// Whether it has ended a request yet.
    served: Vec<bool>,
    waiting: VecDeque<(Ticket, usize)>,
    /// By key, the endpoint that its session is with.
    sessions: HashMap<usize, u64>,
    choices: Vec<(Nanos, u32)>,
    failing: Option<usize>,
    /// When, of which endpoint, and the request's key.
    errors: VecDeque<(Nanos, usize, usize)>,
}

impl Replay {
    fn new(plan: &Plan, failing: Option<usize>) -> Self {
        let options = options(plan.seed, 0, 0);
        let snapshot =
            Snapshot::build(&plan.documents[0], None, &Resolved::default(), &options).expect("sound");
        let pool = Arc::clone(&snapshot.pools[0]);
        pool.activate(ORIGIN);
        for member in pool.members() {
            pool.record_probe(&member.endpoint, true, String::new(), ORIGIN);
        }
        let seed = streams::seed(plan.seed, 0, Stream::Picks, 0);
        let servers = vec![(VecDeque::new(), Nanos(0)); pool.members().len()];
        let (waiting, choices, errors) = (VecDeque::new(), Vec::new(), VecDeque::new());
        let policy = &pool.config().policy;
        let keys = (policy.key.is_some() || policy.secret.is_some())
            .then(|| streams::generator(plan.seed, 0, Stream::Keys, 0));
        let served = vec![false; servers.len()];
        Self {
            pool,
            rng: Generator::seed_from_u64(seed),
            keys,
            servers,
            served,
            waiting,
            sessions: HashMap::new(),
            choices,
            failing,
            errors,
        }
    }

    fn arrive(&mut self, now: Nanos) {
        self.pool.count_request();
        let key = self.keys.as_mut().map(|rng| below(rng, KEYS));
        let mut seeker = Seeker::of(key.map(|key| hash(&(key as u64).to_le_bytes())));
        let key = key.unwrap_or(0);
        seeker.session = self.sessions.get(&key).copied();
        let pick = self.pool.admit(now, &mut self.rng, &seeker);
        self.report_loads(now);
        match pick {
            Pick::Taken(index) => self.send(index, key, now),
            Pick::Full => {
                let ticket = self.pool.enqueue(now, seeker, Waker::noop().clone());
                self.waiting.push_back((ticket.expect("the queue has room"), key));
            }
            Pick::Nobody => panic!("somebody is always there"),
        }
    }

    /// What the endpoints that the policy asks say of their loads: how many they have, and how long one more would take.
    fn report_loads(&self, now: Nanos) {
        if !self.pool.calls_for_probes() {
            return;
        }
        for member in self.pool.probes_wanted() {
            let same = |one: &steelyard_core::pool::Member| Arc::ptr_eq(&one.endpoint, &member.endpoint);
            let index = self.pool.members().iter().position(same).expect("a member");
            let in_flight = self.servers[index].0.len();
            let served_s = if self.served[index] { 1.0 } else { 0.0 };
            let report = Report {
                in_flight: in_flight as u32,
                latency_s: (served_s * (in_flight as f64 + 1.0)) as f32,
            };
            self.pool.take_report(&member.endpoint, Some(report), now);
        }
    }

    fn send(&mut self, index: usize, key: usize, now: Nanos) {
        self.choices.push((now, index as u32));
        if self.failing == Some(index) {
            return self.errors.push_back((now.plus(Nanos::from_millis(1)), index, key));
        }
        let (sent, ends) = &mut self.servers[index];
        if sent.is_empty() {
            *ends = now.plus(SERVICE);
        }
        sent.push_back((now, key));
    }

    /// Everything that ends before `until`, in its order; the control thread's ticks between.
    fn pass(&mut self, from: Nanos, until: Nanos) {
        let mut now = from;
        loop {
            let busy = self.servers.iter().enumerate().filter(|(_, (sent, _))| !sent.is_empty());
            let next = busy.map(|(index, (_, ends))| (*ends, index)).min();
            let error = self.errors.front().copied();
            let tick = Nanos((now.0 / 50_000_000 + 1) * 50_000_000);
            let first =
                next.map_or(until, |(ends, _)| ends).min(error.map_or(until, |(at, ..)| at)).min(tick);
            if first >= until {
                return;
            }
            now = first;
            if first == tick {
                self.pool.tick(now);
            } else if error.is_some_and(|(at, ..)| at == first) {
                self.fail(now);
            } else if let Some((_, index)) = next {
                self.answer(index, now);
            }
            self.hand_over(now);
        }
    }

    fn answer(&mut self, index: usize, now: Nanos) {
        let (sent, ends) = &mut self.servers[index];
        let (begun, key) = sent.pop_front().expect("it serves one");
        let lasted = now.since(begun);
        *ends = now.plus(SERVICE);
        self.served[index] = true;
        let endpoint = &self.pool.members()[index].endpoint;
        self.pool.teach(endpoint, lasted.as_secs_f32(), now);
        self.pool.learn(endpoint, Outcome::Success, None, now);
        self.pool.release(endpoint, now);
        self.keep_session(key, index);
    }

    /// The answer's cookie.
    fn keep_session(&mut self, key: usize, index: usize) {
        if self.pool.config().policy.secret.is_some() {
            self.sessions.insert(key, self.pool.members()[index].endpoint.name());
        }
    }

    fn fail(&mut self, now: Nanos) {
        let (_, index, key) = self.errors.pop_front().expect("an error is due");
        let endpoint = &self.pool.members()[index].endpoint;
        let lasted = Some(Nanos::from_millis(1));
        self.pool.learn(endpoint, Outcome::Failure("answered with errors of its own"), lasted, now);
        self.pool.release(endpoint, now);
        self.keep_session(key, index);
    }

    fn hand_over(&mut self, now: Nanos) {
        while let Some(&(ticket, key)) = self.waiting.front() {
            let Some(grant) = self.pool.claim(ticket, Waker::noop()) else { return };
            self.waiting.pop_front();
            let Grant::Slot(endpoint) = grant else { panic!("somebody is always there") };
            let same = |member: &steelyard_core::pool::Member| Arc::ptr_eq(&member.endpoint, &endpoint);
            self.send(self.pool.members().iter().position(same).expect("a member"), key, now);
        }
    }
}

/// Both ways, over the same times.
fn compare(scene: &Scene, times_s: &[f64], failing: Option<usize>) {
    let plan = scene
        .clone()
        .with("/arrivals", json!({"kind": "trace", "times_s": times_s}))
        .with("/service", json!({"kind": "constant", "mean_s": 1.0}))
        .with("/requests", times_s.len())
        .plan()
        .expect("the scenario is sound");
    let mut replay = Replay::new(&plan, failing);
    let mut before = ORIGIN;
    for &time_s in times_s {
        let now = at(time_s);
        replay.pass(before, now);
        replay.arrive(now);
        replay.hand_over(now);
        before = now;
    }
    replay.pass(before, Nanos(u64::MAX / 2).min(before.plus(Nanos::from_millis(10_000_000))));
    let simulated = choices(&plan, 0, 0);
    assert!(simulated.len() >= times_s.len());
    for (index, (found, expected)) in simulated.iter().zip(&replay.choices).enumerate() {
        assert_eq!(found, expected, "choice {index}");
    }
    assert_eq!(simulated.len(), replay.choices.len());
}

fn arrivals(rate: f64, count: usize) -> Vec<f64> {
    let mut rng = streams::generator(crate::support::seed(), 0, Stream::Arrivals, 99);
    let mut now = 0.0;
    (0..count)
        .map(|_| {
            now += streams::exponential(&mut rng) / rate;
            now
        })
        .collect()
}

const POLICIES: [&str; steelyard_core::policy::NAMES.len()] = steelyard_core::policy::NAMES;

#[test]
fn every_choice_is_the_proxys() {
    for policy in POLICIES {
        for count in [1, 7, 100] {
            println!("{policy}, {count} endpoints");
            compare(&scene(&[policy], count, 0.8), &arrivals(0.8 * count as f64, 3_000), None);
        }
    }
}

#[test]
fn every_hand_over_is_the_proxys() {
    for policy in POLICIES {
        println!("{policy}");
        compare(&scene(&[policy], 6, 0.95).with("/pool/threshold/requests", 2), &arrivals(5.7, 3_000), None);
    }
}

#[test]
fn every_ejection_is_the_proxys() {
    for policy in POLICIES {
        println!("{policy}");
        let scene = scene(&[policy], 6, 0.5).fault(&json!({"at_s": 0.0, "endpoint": 2, "kind": "fail_fast"}));
        compare(&scene, &arrivals(3.0, 3_000), Some(2));
    }
}
