//! `prequal`: what endpoints report of their own load, asked for beside the requests, decides: of those that carry
//! few requests the fastest, and where all carry many, the one that carries the fewest.
//!
//! B. Wydrowski et al., "Load is not what you should balance: Introducing Prequal", NSDI 2024 (asynchronous mode).
//! RIF is the paper's word for requests in flight. Differences: fewer than two usable replies leave the choice to
//! chance *by weight*; where fewer probes can be sent than requests ask for, fewer replies are removed in proportion;
//! and an endpoint that fails loses its replies, while the phantoms of its failures count as RIF, so that failing fast
//! does not look like being idle. An endpoint that reports nothing stands in the pool with what is known of it here.

use super::weighted_random::{self, Alias};
use super::{Candidates, Rotation, accepts};
use crate::document;
use crate::random::{Generator, below, unit};
use crate::report::Report;
use crate::sync::{AtomicU8, Mutex, Ordering, lock};
use crate::time::Nanos;
use rand::{Rng, SeedableRng};

/// The most replies that are kept (the paper's m).
pub const REPLIES_MAX: usize = 16;
/// A reply is used for so long.
const AGE_MAX: Nanos = Nanos::from_millis(1_000);
/// Replies that estimate the distribution of RIF over the endpoints.
const RECENT_MAX: usize = 64;
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
    /// In the order in which they came.
    replies: Vec<Reply>,
    recent: Recent,
    /// Probes and removals that requests have asked for and that do not make a whole one yet.
    probes_due: f32,
    removals_due: f32,
    /// Removals alternate between the oldest and the worst.
    worst_is_next: bool,
    /// Probes that may be sent at once, as it was at this moment.
    allowance: f32,
    filled: Option<Nanos>,
    /// Endpoints (by id) to be asked, which nobody has taken up.
    wanted: Vec<u32>,
    /// These and the ones that are being asked, and since when.
    asked: Vec<(u32, Nanos)>,
    rng: Generator,
}

#[derive(Debug, Clone, Copy)]
struct Reply {
    id: u32,
    /// Where its endpoint is likely to be found among the candidates.
    place: usize,
    rif: f32,
    latency_s: f32,
    at: Nanos,
    uses_left: u32,
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
        Self {
            alias: Alias::new(weights),
            probes_per_request,
            removes_per_request,
            q_rif: config.q_rif.map_or(Q_RIF, |quantile| quantile as f32),
            reuse: reuse(endpoints, probes_per_request, removes_per_request),
            probe_rate_max: config.probe_rate_max.map_or(PROBE_RATE_MAX, |rate| rate as f32),
            probes_in_flight_max: config
                .probes_in_flight_max
                .map_or(PROBES_IN_FLIGHT_MAX, |count| count as usize),
        }
    }
}

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
                replies: Vec::with_capacity(REPLIES_MAX),
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

    /// The endpoints to be asked, each of which must be answered for.
    pub(crate) fn wanted(&self) -> Vec<u32> {
        lock(&self.ledger).wanted.drain(..).collect()
    }

    /// An endpoint has been asked, whatever came of it.
    pub(crate) fn over(&self, id: u32) {
        lock(&self.ledger).asked.retain(|&(asked, _)| asked != id);
    }

    /// Takes in what an endpoint said.
    pub(crate) fn take_in(&self, rules: &Rules, id: u32, place: usize, report: Report, now: Nanos) {
        lock(&self.ledger).take_in(rules, id, place, report, now);
    }

    /// What an endpoint that fails has said is worth nothing.
    pub(crate) fn forget(&self, id: u32) {
        lock(&self.ledger).replies.retain(|reply| reply.id != id);
    }
}

impl Ledger {
    /// Wants probes for one request, of distinct endpoints drawn uniformly.
    fn ask(&mut self, rules: &Rules, candidates: &impl Candidates, rng: &mut impl Rng) {
        self.refill(rules, candidates.now());
        self.probes_due += rules.probes_per_request;
        let due = self.probes_due.floor();
        self.probes_due -= due;
        let wanted = (due as usize).min(candidates.len()).min(REPLIES_MAX);
        if wanted == 0 {
            return;
        }
        let all = wanted == candidates.len();
        let mut drawn = [usize::MAX; REPLIES_MAX];
        let (mut count, mut granted) = (0, 0);
        let tries = if all { wanted } else { 4 * wanted };
        for number in 0..tries {
            if count == wanted {
                break;
            }
            let index = if all { number } else { below(rng, candidates.len()) };
            if drawn[..count].contains(&index) || !candidates.eligible(index) {
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
            Source::Reports => self.want(rules, id, now),
            Source::Silent { estimate, ask } => {
                if ask {
                    self.want(rules, id, now);
                }
                self.take_in(rules, id, index, estimate, now);
                true
            }
        }
    }

    fn want(&mut self, rules: &Rules, id: u32, now: Nanos) -> bool {
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
        self.wanted.push(id);
        true
    }

    fn refill(&mut self, rules: &Rules, now: Nanos) {
        let burst = (rules.probe_rate_max * BURST_S).max(REPLIES_MAX as f32).min(rules.probe_rate_max);
        self.allowance = match self.filled {
            None => burst,
            Some(then) => (self.allowance + now.since(then).as_secs_f32() * rules.probe_rate_max).min(burst),
        };
        self.filled = Some(self.filled.map_or(now, |then| then.max(now)));
    }

    fn take_in(&mut self, rules: &Rules, id: u32, place: usize, report: Report, now: Nanos) {
        let rif = report.in_flight as f32;
        self.recent.add(rif);
        if self.replies.len() == REPLIES_MAX {
            self.replies.remove(0);
        }
        // The fraction at random, so that the mean is kept.
        let uses_left = (rules.reuse + unit(&mut self.rng)) as u32;
        self.replies.push(Reply { id, place, rif, latency_s: report.latency_s, at: now, uses_left });
    }

    /// Takes the best endpoint of which there is a reply; `None` where fewer than two could be used.
    fn choose(&mut self, rules: &Rules, candidates: &impl Candidates) -> Option<usize> {
        let now = candidates.now();
        self.replies.retain(|reply| now.since(reply.at) <= AGE_MAX);
        let Some(theta) = self.recent.quantile(rules.q_rif).filter(|_| self.replies.len() >= 2) else {
            self.removals_due = 0.0;
            return None;
        };
        // As the replies: the index of the endpoint where it can be used, and its RIF with its phantoms.
        let mut usable = [None; REPLIES_MAX];
        for (slot, reply) in usable.iter_mut().zip(&mut self.replies) {
            *slot = reply
                .index(candidates)
                .filter(|&index| candidates.eligible(index) && accepts(candidates, index, &mut self.rng))
                .map(|index| (index, reply.rif + candidates.phantoms(index)));
        }
        while usable.iter().flatten().count() >= 2 {
            let (position, index) = self.best(&usable, theta)?;
            if candidates.take(index) {
                self.use_up(position);
                self.remove(theta);
                return Some(index);
            }
            // Another thread has taken its last slot.
            usable[position] = None;
        }
        self.removals_due = 0.0;
        None
    }

    /// The hot-cold rule: of the cold the fastest, else of the hot the one with the fewest requests in flight.
    fn best(&self, usable: &[Option<(usize, f32)>], theta: f32) -> Option<(usize, usize)> {
        let mut best: Option<(usize, usize, (bool, f32))> = None;
        for (position, (reply, slot)) in self.replies.iter().zip(usable).enumerate() {
            let Some((index, rif)) = *slot else { continue };
            let hot = rif > theta;
            let rank = (hot, if hot { rif } else { reply.latency_s });
            // Of equal ones the newest.
            if best.is_none_or(|(_, _, least)| rank <= least) {
                best = Some((position, index, rank));
            }
        }
        best.map(|(position, index, _)| (position, index))
    }

    /// Counts the use of a reply, and in it the request that this one sends.
    fn use_up(&mut self, position: usize) {
        let reply = &mut self.replies[position];
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
            if self.replies.is_empty() {
                continue;
            }
            let position = if self.worst_is_next { self.worst(theta) } else { 0 };
            self.worst_is_next = !self.worst_is_next;
            self.replies.remove(position);
        }
    }

    /// The hot one with the most requests in flight, else the slowest.
    fn worst(&self, theta: f32) -> usize {
        let mut worst = (0, (false, f32::NEG_INFINITY));
        for (position, reply) in self.replies.iter().enumerate() {
            let hot = reply.rif > theta;
            let rank = (hot, if hot { reply.rif } else { reply.latency_s });
            if rank > worst.1 {
                worst = (position, rank);
            }
        }
        worst.0
    }
}

impl Reply {
    /// Where its endpoint is among the candidates, if it is.
    fn index(&mut self, candidates: &impl Candidates) -> Option<usize> {
        if self.place >= candidates.len() || candidates.id(self.place) != self.id {
            self.place = (0..candidates.len()).find(|&index| candidates.id(index) == self.id)?;
        }
        Some(self.place)
    }
}

/// The RIF of recent replies, whoever gave them and whatever became of them.
#[derive(Debug, Default)]
struct Recent {
    /// The same numbers in the order in which they came, and in their own.
    ring: std::collections::VecDeque<f32>,
    sorted: Vec<f32>,
}

impl Recent {
    fn add(&mut self, rif: f32) {
        if self.ring.len() == RECENT_MAX
            && let Some(oldest) = self.ring.pop_front()
        {
            let place = self.sorted.partition_point(|&known| known < oldest);
            self.sorted.remove(place);
        }
        self.ring.push_back(rif);
        let place = self.sorted.partition_point(|&known| known < rif);
        self.sorted.insert(place, rif);
    }

    /// The least number that this share of them does not exceed; `None` where there are none.
    fn quantile(&self, share: f32) -> Option<f32> {
        let rank = (share * self.sorted.len() as f32).ceil() as usize;
        self.sorted.get(rank.saturating_sub(1)).copied()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const NOW: Nanos = Nanos::from_millis(5_000);

    fn rules(endpoints: usize) -> Rules {
        Rules::new(&document::Policy::default(), &vec![1; endpoints])
    }

    /// A ledger with these replies of endpoints 0, 1, ...: requests in flight, and milliseconds.
    fn ledger(rules: &Rules, replies: &[(u32, f32)]) -> Ledger {
        let Probes { ledger, .. } = Probes::new(7);
        let mut ledger = ledger.into_inner().unwrap();
        for (id, &(in_flight, latency_ms)) in replies.iter().enumerate() {
            let report = Report { in_flight, latency_s: latency_ms / 1e3 };
            ledger.take_in(rules, id as u32, id, report, NOW);
        }
        ledger
    }

    fn ids(ledger: &Ledger) -> Vec<u32> {
        ledger.replies.iter().map(|reply| reply.id).collect()
    }

    #[test]
    fn a_full_pool_evicts_the_oldest() {
        let ledger = ledger(&rules(100), &[(1, 1.0); 20]);
        assert_eq!(ids(&ledger), (4..20).collect::<Vec<_>>());
    }

    #[test]
    fn the_fraction_of_the_reuse_is_rounded_at_random_and_keeps_its_mean() {
        let (rules, mut sum) = (rules(100), 0);
        let mut ledger = ledger(&rules, &[]);
        for _ in 0..20_000 {
            ledger.take_in(&rules, 0, 0, Report { in_flight: 0, latency_s: 0.0 }, NOW);
            let uses = ledger.replies.last().unwrap().uses_left;
            assert!(uses == 1 || uses == 2);
            sum += uses;
        }
        let mean = f64::from(sum) / 20_000.0;
        assert!((mean - 1.3158).abs() < 0.01, "{mean}");
    }

    #[test]
    fn removals_alternate_between_the_oldest_and_the_worst() {
        let mut ledger = ledger(&rules(100), &[(1, 9.0), (2, 1.0), (8, 1.0), (9, 1.0), (1, 5.0), (1, 7.0)]);
        let removed = |ledger: &mut Ledger| {
            let before = ids(ledger);
            ledger.removals_due = 1.0;
            ledger.remove(4.0);
            before.into_iter().find(|id| !ids(ledger).contains(id)).unwrap()
        };
        // The oldest; the hot one with the most; the oldest; the last hot one; the oldest is now 4.
        let order: Vec<u32> = (0..5).map(|_| removed(&mut ledger)).collect();
        assert_eq!(order, [0, 3, 1, 2, 4]);
    }

    #[test]
    fn where_none_is_hot_the_worst_is_the_slowest() {
        let ledger = ledger(&rules(100), &[(1, 9.0), (2, 1.0), (3, 12.0)]);
        assert_eq!(ledger.worst(4.0), 2);
    }

    #[test]
    fn a_reply_is_removed_when_its_uses_are_spent() {
        let rules = rules(10);
        let mut ledger = ledger(&rules, &[(0, 1.0), (0, 1.0)]);
        for use_number in 1..=16 {
            assert_eq!(ledger.replies.len(), 2, "{use_number}");
            ledger.use_up(0);
        }
        assert_eq!(ids(&ledger), [1]);
    }

    #[test]
    fn the_quantile_is_of_the_most_recent_replies() {
        let mut recent = Recent::default();
        assert_eq!(recent.quantile(0.5), None);
        (1..=4).for_each(|rif| recent.add(rif as f32));
        let quantiles = [0.0, 0.25, 0.26, 0.84, 1.0].map(|share| recent.quantile(share).unwrap());
        assert_eq!(quantiles.map(|rif| rif as u32), [1, 1, 2, 4, 4]);
        (0..RECENT_MAX).for_each(|_| recent.add(7.0));
        assert_eq!(recent.quantile(0.0).map(|rif| rif as u32), Some(7));
        assert_eq!((recent.ring.len(), recent.sorted.len()), (RECENT_MAX, RECENT_MAX));
    }
}
