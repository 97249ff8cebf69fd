//! `prequal`: what endpoints report of their own load, asked for beside the requests, decides: of those that carry
//! few requests the fastest, and where all carry many, the one that carries the fewest.
//!
//! B. Wydrowski et al., "Load is not what you should balance: Introducing Prequal", NSDI 2024 (asynchronous mode).
//! RIF is the paper's word for requests in flight. Differences: fewer than two usable replies leave the choice to
//! chance *by weight*; where fewer probes can be sent than requests ask for, fewer replies are removed in proportion;
//! and an endpoint that fails loses its replies, while the phantoms of its failures count as RIF, so that failing fast
//! does not look like being idle. An endpoint that reports nothing stands in the pool with what is known of it here.

mod recent;
mod replies;

use super::weighted_random::{self, Alias};
use super::{Candidates, Rotation, accepts};
use crate::document;
use crate::random::{Generator, below, unit};
use crate::report::Report;
use crate::sync::{AtomicU8, Mutex, Ordering, lock};
use crate::time::Nanos;
use rand::{Rng, SeedableRng};
use recent::Recent;
use replies::{REPLIES_MAX, Replies, Reply, position_of, rank};

/// The most uses of one reply, and as many where the formula gives no bound.
const USES_MAX: f32 = 16.0;
/// How much faster uses may come in than they are spent (the paper's delta).
const DELTA: f32 = 1.0;
/// Probes for each request, unless configured.
const PROBES_PER_REQUEST: f32 = 3.0;
/// The most probes for one request.
pub const PROBES_PER_REQUEST_MAX: f64 = 16.0;
/// The quantile of RIF above which an endpoint is hot, unless configured: 2^-0.25.
const Q_RIF: f32 = 0.840_896_4;
/// Probes a second for the whole pool, unless configured.
const PROBE_RATE_MAX: f32 = 1_000.0;
/// Probes on their way at once, unless configured.
const PROBES_IN_FLIGHT_MAX: usize = 64;
/// The rate may be exceeded by what it allows in this time.
const BURST_S: f32 = 0.1;
/// A probe of which nothing has been heard for so long never will be.
const LOST: Nanos = Nanos::from_millis(60_000);

/// What the configuration says, and what follows from it.
#[derive(Debug)]
pub struct Rules {
    alias: Alias,
    probes_per_request: f32,
    /// Replies removed for each request: one, but where fewer than three probes are sent, one for each three.
    removes_per_request: f32,
    q_rif: f32,
    reuse: f32,
    probe_rate_max: f32,
    /// The probes that the rate allows at once.
    burst: f32,
    probes_in_flight_max: usize,
}

/// What is known of the endpoints' loads: one per pool and process, shared by the workers, kept across snapshots.
#[derive(Debug)]
pub struct Probes {
    /// 1 once endpoints are wanted to be asked, until somebody has looked.
    calls: AtomicU8,
    ledger: Mutex<Ledger>,
}

#[derive(Debug)]
struct Ledger {
    replies: Replies,
    /// The snapshot among whose members each reply is known to stand in its place, and to be of one that takes requests.
    seated: Option<u64>,
    recent: Recent,
    /// Probes and removals that requests have asked for and that do not make a whole one yet.
    probes_due: f32,
    removals_due: f32,
    /// Removals alternate between the oldest and the worst.
    worst_is_next: bool,
    /// Probes that may be sent at once, as it was at this moment.
    allowance: f32,
    filled: Option<Nanos>,
    /// Endpoints to be asked, which nobody has taken up: their ids, and where each is likely to be found.
    wanted: Vec<(u32, usize)>,
    /// These and the ones that are being asked, and since when.
    asked: Vec<(u32, Nanos)>,
    rng: Generator,
}

/// How the load of an endpoint is learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Source {
    /// By asking it.
    Reports,
    /// It does not say; this is what is known here.
    Silent {
        /// Its load as seen from here.
        estimate: Report,
        /// Whether it is time to ask it once more.
        ask: bool,
    },
}

/// How often a reply may be used before it is spent: replies must last until as many have come as are removed.
///
/// (1 + delta) / ((1 - m / n) x probes - removals), at least 1; 16 where that is more, or no bound at all.
pub fn reuse(endpoints: usize, probes_per_request: f32, removes_per_request: f32) -> f32 {
    let kept = 1.0 - REPLIES_MAX as f32 / endpoints as f32;
    let inflow = kept * probes_per_request - removes_per_request;
    if inflow <= 0.0 { USES_MAX } else { ((1.0 + DELTA) / inflow).clamp(1.0, USES_MAX) }
}

impl Rules {
    pub(super) fn new(config: &document::Policy, weights: &[u32]) -> Self {
        let probes_per_request = config.probes_per_request.map_or(PROBES_PER_REQUEST, |probes| probes as f32);
        let removes_per_request = (probes_per_request / PROBES_PER_REQUEST).min(1.0);
        let endpoints = weights.iter().filter(|&&weight| weight > 0).count();
        let probe_rate_max = config.probe_rate_max.map_or(PROBE_RATE_MAX, |rate| rate as f32);
        Self {
            alias: Alias::new(weights),
            probes_per_request,
            removes_per_request,
            q_rif: config.q_rif.map_or(Q_RIF, |quantile| quantile as f32),
            reuse: reuse(endpoints, probes_per_request, removes_per_request),
            probe_rate_max,
            burst: (probe_rate_max * BURST_S).max(REPLIES_MAX as f32).min(probe_rate_max),
            probes_in_flight_max: config
                .probes_in_flight_max
                .map_or(PROBES_IN_FLIGHT_MAX, |count| count as usize),
        }
    }
}

#[inline(never)]
pub(super) fn pick(
    rules: &Rules,
    candidates: &impl Candidates,
    rotation: &Rotation,
    rng: &mut impl Rng,
) -> Option<usize> {
    let probes = &rotation.probes;
    let mut ledger = lock(&probes.ledger);
    let chosen = ledger.choose(rules, candidates);
    let chosen = chosen.or_else(|| weighted_random::pick(&rules.alias, candidates, rng))?;
    // Only for a request that goes somewhere: one that waits in the queue is picked for again and again.
    let before = ledger.wanted.len();
    ledger.ask(rules, candidates, rng);
    let wants_more = ledger.wanted.len() > before;
    drop(ledger);
    if wants_more {
        probes.calls.store(1, Ordering::Release);
    }
    Some(chosen)
}

impl Probes {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            calls: AtomicU8::new(0),
            ledger: Mutex::new(Ledger {
                replies: Replies::new(),
                seated: None,
                recent: Recent::default(),
                probes_due: 0.0,
                removals_due: 0.0,
                worst_is_next: false,
                allowance: 0.0,
                filled: None,
                wanted: Vec::new(),
                asked: Vec::new(),
                rng: Generator::seed_from_u64(seed),
            }),
        }
    }

    /// Whether endpoints are to be asked and nobody has been told.
    pub(crate) fn calls(&self) -> bool {
        self.calls.load(Ordering::Relaxed) != 0 && self.calls.swap(0, Ordering::Acquire) != 0
    }

    /// The endpoints to be asked, each of which must be answered for: their ids, and where each is likely to be found.
    pub(crate) fn wanted(&self) -> Vec<(u32, usize)> {
        lock(&self.ledger).wanted.drain(..).collect()
    }

    /// An endpoint has been asked, and nothing of use came of it.
    pub(crate) fn over(&self, id: u32) {
        lock(&self.ledger).over(id);
    }

    /// An endpoint has been asked: takes in what it said. `seat` is its place, and the snapshot in which it is there and
    /// takes requests.
    pub(crate) fn answered(
        &self,
        rules: &Rules,
        id: u32,
        seat: (usize, Option<u64>),
        report: Report,
        now: Nanos,
    ) {
        let mut ledger = lock(&self.ledger);
        ledger.over(id);
        ledger.take_in(rules, id, seat, report, now);
    }

    /// What an endpoint that fails has said is worth nothing.
    pub(crate) fn forget(&self, id: u32) {
        lock(&self.ledger).replies.retain(|reply| reply.id != id);
    }
}

impl Ledger {
    fn over(&mut self, id: u32) {
        if let Some(place) = self.asked.iter().position(|&(asked, _)| asked == id) {
            self.asked.swap_remove(place);
        }
    }

    /// Wants probes for one request, of distinct endpoints drawn uniformly.
    fn ask(&mut self, rules: &Rules, candidates: &impl Candidates, rng: &mut impl Rng) {
        self.refill(rules, candidates.now());
        self.probes_due += rules.probes_per_request;
        // It never is below 0: what is left is the whole part.
        let whole = self.probes_due as usize;
        let due = whole as f32;
        self.probes_due -= due;
        let wanted = whole.min(candidates.len()).min(REPLIES_MAX);
        if wanted == 0 {
            return;
        }
        let all_serve = candidates.all_serve();
        let all = wanted == candidates.len();
        let mut drawn = [usize::MAX; REPLIES_MAX];
        let (mut count, mut granted) = (0, 0);
        let tries = if all { wanted } else { 4 * wanted };
        for number in 0..tries {
            if count == wanted {
                break;
            }
            let index = if all { number } else { below(rng, candidates.len()) };
            let serves = || if all_serve { candidates.weight(index) > 0 } else { candidates.eligible(index) };
            if drawn[..count].contains(&index) || !serves() {
                continue;
            }
            drawn[count] = index;
            count += 1;
            granted += usize::from(self.ask_one(rules, candidates, index));
        }
        if count > 0 {
            let share = granted as f32 / count as f32;
            self.removals_due += rules.removes_per_request * (due / rules.probes_per_request) * share;
        }
    }

    /// Wants one endpoint to be asked, or takes in at once what is known of a silent one; says whether either is so.
    fn ask_one(&mut self, rules: &Rules, candidates: &impl Candidates, index: usize) -> bool {
        let (id, now) = (candidates.id(index), candidates.now());
        match candidates.source(index) {
            Source::Reports => self.want(rules, id, index, now),
            Source::Silent { estimate, ask } => {
                if ask {
                    self.want(rules, id, index, now);
                }
                self.take_in(rules, id, (index, Some(candidates.generation())), estimate, now);
                true
            }
        }
    }

    fn want(&mut self, rules: &Rules, id: u32, index: usize, now: Nanos) -> bool {
        if self.allowance < 1.0 || self.asked.iter().any(|&(asked, _)| asked == id) {
            return false;
        }
        if self.asked.len() >= rules.probes_in_flight_max {
            self.asked.retain(|&(_, since)| now.since(since) < LOST);
            if self.asked.len() >= rules.probes_in_flight_max {
                return false;
            }
        }
        self.allowance -= 1.0;
        self.asked.push((id, now));
        self.wanted.push((id, index));
        true
    }

    fn refill(&mut self, rules: &Rules, now: Nanos) {
        self.allowance = match self.filled {
            None => rules.burst,
            Some(then) => {
                (self.allowance + now.since(then).as_secs_f32() * rules.probe_rate_max).min(rules.burst)
            }
        };
        self.filled = Some(self.filled.map_or(now, |then| then.max(now)));
    }

    fn take_in(
        &mut self,
        rules: &Rules,
        id: u32,
        (place, seated): (usize, Option<u64>),
        report: Report,
        now: Nanos,
    ) {
        if self.seated != seated {
            self.seated = None;
        }
        self.recent.add(report.in_flight);
        // The fraction at random, so that the mean is kept.
        let uses_left = (rules.reuse + unit(&mut self.rng)) as u32;
        let place = place as u32;
        self.replies.push(Reply {
            id,
            place,
            rif: report.in_flight as f32,
            latency_s: report.latency_s,
            at: now,
            uses_left,
        });
    }

    /// Takes the best endpoint of which there is a reply; `None` where fewer than two could be used.
    fn choose(&mut self, rules: &Rules, candidates: &impl Candidates) -> Option<usize> {
        self.replies.expire(candidates.now());
        let count = self.replies.len();
        let Some(theta) = self.recent.quantile(rules.q_rif).filter(|_| count >= 2) else {
            self.removals_due = 0.0;
            return None;
        };
        let theta = theta as f32;
        if candidates.all_serve() && self.seated == Some(candidates.generation()) {
            // Nobody need be asked: the replies alone decide.
            let of = |position| {
                let reply = self.replies.get(position);
                rank(theta, reply.rif, reply.latency_s, position)
            };
            let position = position_of((0..count).map(of).fold(UNUSABLE, u64::min));
            let index = self.replies.get(position).place as usize;
            if candidates.take(index) {
                self.use_up(position);
                self.remove(theta);
                return Some(index);
            }
        }
        self.choose_usable(theta, candidates)
    }

    /// The same where some of the endpoints may not be usable, or carry phantoms.
    #[inline(never)]
    fn choose_usable(&mut self, theta: f32, candidates: &impl Candidates) -> Option<usize> {
        let (mut ranks, mut indices) = ([UNUSABLE; REPLIES_MAX], [0; REPLIES_MAX]);
        let (mut best, mut usable, mut seated) = (UNUSABLE, 0, true);
        for position in 0..self.replies.len() {
            let reply = self.replies.get_mut(position);
            let Some(index) = reply.index(candidates) else {
                seated = false;
                continue;
            };
            seated &= candidates.weight(index) > 0;
            if !candidates.eligible(index) || !accepts(candidates, index, &mut self.rng) {
                continue;
            }
            usable += 1;
            // What has failed of late carries its phantoms.
            let rank = rank(theta, reply.rif + candidates.phantoms(index), reply.latency_s, position);
            (ranks[position], indices[position]) = (rank, index);
            best = best.min(rank);
        }
        self.seated = seated.then(|| candidates.generation());
        while usable >= 2 {
            let position = position_of(best);
            let index = indices[position];
            if candidates.take(index) {
                self.use_up(position);
                self.remove(theta);
                return Some(index);
            }
            // Another thread has taken its last slot.
            usable -= 1;
            ranks[position] = UNUSABLE;
            best = ranks.into_iter().fold(UNUSABLE, u64::min);
        }
        self.removals_due = 0.0;
        None
    }

    /// Counts the use of a reply, and in it the request that this one sends.
    fn use_up(&mut self, position: usize) {
        let reply = self.replies.get_mut(position);
        reply.rif += 1.0;
        reply.uses_left -= 1;
        if reply.uses_left == 0 {
            self.replies.remove(position);
        }
    }

    /// Removes what is due, by turns the oldest and the worst: good replies are spent by use, bad ones would stay.
    fn remove(&mut self, theta: f32) {
        while self.removals_due >= 1.0 {
            self.removals_due -= 1.0;
            if self.replies.len() == 0 {
                continue;
            }
            let position = if self.worst_is_next { self.worst(theta) } else { 0 };
            self.worst_is_next = !self.worst_is_next;
            self.replies.remove(position);
        }
    }

    /// The hot one with the most requests in flight, else the slowest.
    fn worst(&self, theta: f32) -> usize {
        let rank = |position| {
            let reply = self.replies.get(position);
            rank(theta, reply.rif, reply.latency_s, position)
        };
        (0..self.replies.len()).map(rank).max().map_or(0, position_of)
    }
}

/// The rank of one that cannot be used: behind every other.
const UNUSABLE: u64 = u64::MAX;

impl Reply {
    /// Where its endpoint is among the candidates, if it is.
    fn index(&mut self, candidates: &impl Candidates) -> Option<usize> {
        let place = self.place as usize;
        if place < candidates.len() && candidates.id(place) == self.id {
            return Some(place);
        }
        self.find(candidates)
    }

    /// It has moved with a reload, or left.
    #[cold]
    fn find(&mut self, candidates: &impl Candidates) -> Option<usize> {
        let place = (0..candidates.len()).find(|&index| candidates.id(index) == self.id)?;
        self.place = place as u32;
        Some(place)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
