//! One replication of one policy: the events, in their order.

mod attempts;
mod control;

use crate::ahead::Ahead;
use crate::arrivals::Source;
use crate::balancer::Balancer;
use crate::batches::{self, Batches};
use crate::clock::{NEVER, ORIGIN, seconds};
use crate::deadlines::Deadlines;
use crate::faults::{Condition, Timeline};
use crate::plan::Plan;
use crate::probes::Probes;
use crate::requests::Requests;
use crate::series::Series;
use crate::stations::Stations;
use crate::streams::{self, Stream};
use crate::tally::Tally;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use steelyard_core::random::{Generator, below};
use steelyard_core::time::Nanos;

/// An endpoint that fails fast takes this long over it.
const FAIL_FAST: Nanos = Nanos::from_millis(1);
/// Events between two looks at whether the run has been called off.
const CHUNK: u64 = 1 << 12;
/// Once no more requests come: how long none may move before the rest counts as lost. No ejection lasts as long.
const PATIENCE: Nanos = Nanos::from_millis(600_000);

/// A run under way.
pub(crate) struct Run<'p> {
    plan: &'p Plan,
    now: Nanos,
    source: Source<'p>,
    arrivals: Ahead<Nanos>,
    next_arrival: Nanos,
    arrived: u64,
    service: Generator,
    demands_s: Ahead<f64>,
    keys: Option<Generator>,
    /// The name of the endpoint that a key's session is with, where the policy keeps sessions.
    sessions: Option<HashMap<u32, u64>>,
    split: Generator,
    requests: Requests,
    stations: Stations,
    balancers: Vec<Balancer<'p>>,
    timeline: Timeline<'p>,
    conditions: Vec<Condition>,
    probes: Probes,
    /// Errors on their way from endpoints that fail fast.
    fast: Deadlines,
    response: Deadlines,
    queue: Deadlines,
    total: Deadlines,
    /// No later than the first of the deadlines.
    next_late: Nanos,
    next_tick: Nanos,
    /// The first of what is rare: faults, probes, ticks, looks at the loads.
    next_rare: Nanos,
    /// When anything last moved.
    moved: Nanos,
    /// When the warm-up ended.
    measured_from: Nanos,
    batches: Batches,
    tally: Tally,
    /// Every choice in its order, where somebody wants to know.
    choices: Option<Vec<(Nanos, u32)>>,
}

/// Simulates one replication of one policy; `None` when it was called off.
pub fn run(plan: &Plan, policy: usize, replication: u32, called_off: &AtomicBool) -> Option<Tally> {
    let mut run = Run::new(plan, policy, replication, called_off)?;
    loop {
        for _ in 0..CHUNK {
            if !run.step() {
                return Some(run.finish());
            }
        }
        if called_off.load(Ordering::Relaxed) {
            return None;
        }
    }
}

/// Every choice of one replication: when, and the number of the endpoint.
pub fn choices(plan: &Plan, policy: usize, replication: u32) -> Vec<(Nanos, u32)> {
    let Some(mut run) = Run::new(plan, policy, replication, &AtomicBool::new(false)) else {
        return Vec::new();
    };
    run.choices = Some(Vec::new());
    while run.step() {}
    run.choices.unwrap_or_default()
}

impl<'p> Run<'p> {
    /// Everything at its beginning; `None` when it was called off meanwhile.
    fn new(plan: &'p Plan, policy: usize, replication: u32, called_off: &AtomicBool) -> Option<Self> {
        let stream = |stream| streams::generator(plan.seed, replication, stream, 0);
        let timeline = Timeline::new(&plan.faults);
        let count = plan.endpoints.len();
        let conditions: Vec<_> = (0..count).map(|endpoint| timeline.condition(endpoint, ORIGIN)).collect();
        let present: Vec<bool> = conditions.iter().map(|condition| condition.present).collect();
        let balancer = |index| {
            let go_on = !called_off.load(Ordering::Relaxed);
            go_on.then(|| Balancer::new(plan, policy, replication, index, &present, ORIGIN))
        };
        let balancers = (0..plan.balancers).map(balancer).collect::<Option<Vec<_>>>()?;
        let times = &plan.times;
        let repeat = timeline.probes_can_fail();
        let probes = Probes::new(times, repeat, balancers.len(), count, stream(Stream::Probes));
        let mut tally = Tally::new(batches::count(plan), count);
        if replication == 0 && plan.series_points > 0 {
            let end = plan.end_of(Source::new(&plan.arrivals, stream(Stream::Arrivals)), called_off)?;
            tally.series = Some(Series::new(plan.series_points, count, end));
        }
        let mut run = Self {
            plan,
            now: ORIGIN,
            source: Source::new(&plan.arrivals, stream(Stream::Arrivals)),
            arrivals: Ahead::default(),
            next_arrival: NEVER,
            arrived: 0,
            service: stream(Stream::Service),
            demands_s: Ahead::default(),
            keys: plan.keyed[policy].then(|| stream(Stream::Keys)),
            sessions: plan.documents[policy].pools[0].policy.secret.is_some().then(HashMap::new),
            split: stream(Stream::Split),
            requests: Requests::default(),
            stations: Stations::new(&plan.endpoints, plan.cache),
            balancers,
            timeline,
            conditions,
            probes,
            fast: Deadlines::new(Some(FAIL_FAST)),
            response: Deadlines::new(times.response),
            queue: Deadlines::new(times.queue),
            total: Deadlines::new(times.total),
            next_late: NEVER,
            next_tick: NEVER,
            next_rare: NEVER,
            moved: ORIGIN,
            measured_from: NEVER,
            batches: Batches::new(plan),
            tally,
            choices: None,
        };
        run.begin();
        Some(run)
    }

    fn begin(&mut self) {
        for (endpoint, condition) in self.conditions.iter().enumerate() {
            self.stations.set_pace(endpoint as u32, condition.factor, condition.hangs, ORIGIN);
        }
        for endpoint in 0..self.conditions.len() {
            if self.conditions[endpoint].present {
                self.probe_at_once(endpoint as u32);
            }
        }
        self.next_arrival = self.draw_arrival();
        self.look_ahead();
    }

    /// When the next request comes, if it is still part of the run.
    fn draw_arrival(&mut self) -> Nanos {
        if self.plan.requests.is_some_and(|requests| self.arrived >= requests) {
            return NEVER;
        }
        let next = self.arrivals.next(|times| self.source.fill(times));
        if self.plan.duration.is_some_and(|duration| next > ORIGIN.plus(duration)) { NEVER } else { next }
    }

    /// Does what comes next; says whether there was anything.
    fn step(&mut self) -> bool {
        let ended = self.stations.next_at();
        let others = ended.min(self.next_arrival).min(self.next_rare);
        if self.next_late <= others && self.next_late != NEVER {
            self.next_late = self.next_deadline();
        }
        let late = self.next_late;
        let first = others.min(late);
        let in_motion = ended.min(late) != NEVER || self.timeline.next_at() != NEVER;
        if first == NEVER || self.is_over(first, in_motion) {
            return false;
        }
        self.now = first;
        if first == self.next_rare {
            self.rare();
            return true;
        }
        if self.next_arrival == NEVER {
            self.moved = first;
        }
        // What ends at a moment has ended before anything else happens at it.
        if first == ended {
            self.end_of_service();
        } else if first == late {
            self.deadline();
        } else {
            self.arrival();
        }
        true
    }

    /// Whether all has been said: no request will come, and none is left that could still move.
    fn is_over(&self, first: Nanos, in_motion: bool) -> bool {
        self.next_arrival == NEVER
            && (self.requests.len() == 0 || !in_motion && first.since(self.moved) > PATIENCE)
    }

    fn arrival(&mut self) {
        let index = self.arrived;
        self.arrived += 1;
        self.tally.events += 1;
        let batch = self.batches.of(index, self.now);
        if batch.is_some() && self.measured_from == NEVER {
            self.measured_from = self.now;
            self.stations.measure(self.now);
        }
        let balancer =
            if self.balancers.len() == 1 { 0 } else { below(&mut self.split, self.balancers.len()) };
        let id = self.requests.begin();
        let request = self.requests.get_mut(id);
        request.arrived = self.now;
        request.demand_s = self.demands_s.next(|times_s| self.plan.sampler.fill(&mut self.service, times_s));
        if let Some(rng) = &mut self.keys {
            let key = self.plan.keys.draw(rng);
            request.key = key.rank;
            request.seeker.key = Some(key.hash);
            request.seeker.session =
                self.sessions.as_ref().and_then(|sessions| sessions.get(&key.rank).copied());
        }
        request.batch = batch;
        request.balancer = balancer as u32;
        request.snapshot = self.balancers[balancer].snapshot();
        request.tries = 0;
        request.repeated = false;
        if let Some(series) = &mut self.tally.series {
            series.arrival(self.now);
        }
        self.balancers[balancer].count_request();
        let requests = &self.requests;
        let late = self.total.set(requests.life(id), self.now, |name| requests.lives(name));
        self.next_late = self.next_late.min(late);
        self.next_arrival = self.draw_arrival();
        if self.next_arrival == NEVER {
            self.close();
        }
        self.seek(id);
        self.settle(balancer);
    }

    /// The last request has come: the share of time that endpoints work is measured up to here.
    fn close(&mut self) {
        let busy = self.stations.measured(self.now);
        self.tally.busy_s = busy.into_iter().map(|nanos| nanos as f64 * 1e-9).collect();
        self.tally.window_s = seconds(self.now.since(self.measured_from));
        self.moved = self.now;
    }

    fn finish(mut self) -> Tally {
        if self.tally.busy_s.is_empty() {
            self.close();
        }
        // What is left will never be answered.
        for id in self.requests.ids() {
            let batch = self.requests.get(id).batch;
            self.tally.end(batch, Nanos(0), false);
        }
        self.tally
    }
}

impl Plan {
    /// When the last request of a replication comes. Many of them take a while to draw: `None` when it was called off.
    fn end_of(&self, mut source: Source<'_>, called_off: &AtomicBool) -> Option<Nanos> {
        if let Some(duration) = self.duration {
            return Some(ORIGIN.plus(duration));
        }
        let mut end = ORIGIN;
        for drawn in 0..self.requests.unwrap_or(u64::MAX) {
            if drawn % CHUNK == 0 && called_off.load(Ordering::Relaxed) {
                return None;
            }
            let Some(next) = source.next_arrival() else { break };
            end = next;
        }
        Some(end)
    }
}
