//! What is learned of the weights while the pool runs, and the loads that endpoints report.

use super::{Member, Pool, View};
use crate::document::ReportedAs;
use crate::endpoint::Endpoint;
use crate::learned::{self, Renewal, Share, Table};
use crate::load::Stamp;
use crate::policy::{Candidates, Facts, INTERPRETED, Reads};
use crate::reading::Live;
use crate::reported::{Heard, Rules};
use crate::seeker::Seeker;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::time::Nanos;
use arc_swap::{ArcSwapOption, Guard};
use std::sync::Arc;

/// Between two looks at what has been learned.
const INTERVAL: Nanos = Nanos::from_millis(1_000);
/// A reported weight is used within these shares of the mean, as in gRPC: one that is far off is a mistake.
const OF_MEAN_MIN: f32 = 0.1;
const OF_MEAN_MAX: f32 = 10.0;
/// The utilisation that stands for all while nobody has reported one: then requests in flight alone decide.
const USUAL: f32 = 1.0;

/// The learned weights in force, and when to look again.
#[derive(Debug, Default)]
pub(super) struct Weights {
    table: ArcSwapOption<Table>,
    /// When the control thread is to look again.
    next: AtomicU64,
    /// The mean of the utilisations that endpoints have reported; 0 = nobody has.
    usual: AtomicU32,
}

impl Pool {
    /// What the configuration says of the loads that endpoints report.
    pub fn reports(&self) -> Option<&Rules> {
        self.reports.as_ref()
    }

    /// Whether its policy is a function in Python that others evaluate: see [`Pool::facts`] and [`Pool::take_weights`].
    pub fn is_interpreted(&self) -> bool {
        self.config.policy.name == INTERPRETED
    }

    /// Takes in the values of the field in one response.
    pub fn hear<'v>(&self, endpoint: &Endpoint, values: impl Iterator<Item = &'v [u8]>, now: Nanos) -> Heard {
        match &self.reports {
            Some(rules) => endpoint.reported.hear(values, rules, endpoint.in_flight(), now),
            None => Heard::Nothing,
        }
    }

    /// What a function may look at, of every member in order.
    pub fn facts(&self, now: Nanos) -> Vec<Facts> {
        let seeker = Seeker::default();
        // Without a salt there is no slow start in the weights: whoever uses what comes of them has it in already.
        let view = View::new(self, &Live, now, &seeker);
        (0..self.members.len()).map(|index| view.facts(index, Reads::ALL)).collect()
    }

    /// Notes weights by address, where a function in Python has said something of the members; they are in force with
    /// the next look of the control thread. Who is not among them keeps what it has.
    pub fn take_weights<'w>(&self, weight_of: impl Fn(&str) -> Option<f32> + 'w) {
        for member in self.members.iter().filter(|_| self.is_interpreted()) {
            if let Some(weight) = weight_of(&member.endpoint.address().to_string()) {
                member.endpoint.learned.set(Some(weight));
            }
        }
    }

    /// The learned weight of the member at this index, on the scale of the configured ones; `None` where the configured
    /// one holds.
    pub fn learned_weight(&self, index: usize) -> Option<f32> {
        let table = self.weights.table.load();
        table.as_ref().filter(|table| table.is_learned()).map(|table| table.weight(index).weight)
    }

    /// The table that a pick goes by. Only where [`Pool::any_starting`] has said yes can there be one.
    pub(super) fn learned(&self) -> Guard<Option<Arc<Table>>> {
        self.weights.table.load()
    }

    /// The utilisation of an endpoint with so many requests in flight.
    pub(super) fn reported_load(&self, endpoint: &Endpoint, burden: f32, now: Stamp) -> f32 {
        let usual = f32::from_bits(self.weights.usual.load(Ordering::Relaxed));
        endpoint.reported.load(if usual > 0.0 { usual } else { USUAL }, burden, now)
    }

    /// Puts in force what had been learned before this snapshot, while nobody uses it yet.
    pub(super) fn recall(&self) {
        if self.learns_weights()
            && let Renewal::New(table) = self.renewal(None)
        {
            self.put_in_force(table);
        }
        self.find_usual();
    }

    /// What a pool has learned that does not learn any more is not to be found by one that does so later.
    pub(super) fn forget_weights(&self) {
        if !self.learns_weights() {
            self.members.iter().for_each(|member| member.endpoint.learned.forget());
        }
    }

    /// Looks at what has been learned, at most once a second. Called by the control thread.
    pub(super) fn relearn(&self, now: Nanos) {
        let is_load = self.reports.as_ref().is_some_and(|rules| rules.used_as == ReportedAs::Load);
        if !(is_load || self.learns_weights()) || now.0 < self.weights.next.load(Ordering::Relaxed) {
            return;
        }
        self.weights.next.store(now.plus(INTERVAL).0, Ordering::Relaxed);
        if is_load {
            return self.find_usual();
        }
        if let Some(rules) = &self.reports {
            self.weigh_reports(rules, now);
        }
        match self.renewal(self.learned().as_deref()) {
            Renewal::Nothing => {}
            Renewal::New(table) => {
                table.settle(&self.shares());
                self.put_in_force(table);
            }
        }
    }

    fn learns_weights(&self) -> bool {
        self.is_interpreted()
            || self.reports.as_ref().is_some_and(|rules| rules.used_as == ReportedAs::Weight)
    }

    fn renewal(&self, current: Option<&Table>) -> Renewal {
        Renewal::of(&self.config.policy, &self.shares(), self.levels.len(), current)
    }

    fn put_in_force(&self, table: Table) {
        self.weights.table.store(Some(Arc::new(table)));
        // From here on every pick has to look.
        self.starting_until.store(u64::MAX, Ordering::Release);
    }

    fn shares(&self) -> Vec<Share<'_>> {
        self.members.iter().map(Member::share).collect()
    }

    /// Works out the weights that reports come to.
    fn weigh_reports(&self, rules: &Rules, now: Nanos) {
        let takes = self.members.iter().filter(|member| member.weight > 0);
        let weights: Vec<_> = takes
            .map(|member| (&member.endpoint.learned, member.endpoint.reported.weight(rules, now)))
            .collect();
        let known: Vec<f32> = weights.iter().filter_map(|(_, weight)| *weight).collect();
        let mean = learned::mean(&known);
        for (learned, weight) in weights {
            learned.set(weight.map(|weight| weight.clamp(mean * OF_MEAN_MIN, mean * OF_MEAN_MAX)));
        }
    }

    fn find_usual(&self) {
        let known: Vec<f32> =
            self.members.iter().filter_map(|member| member.endpoint.reported.utilisation()).collect();
        self.weights.usual.store(learned::mean(&known).to_bits(), Ordering::Relaxed);
    }
}

impl Member {
    fn share(&self) -> Share<'_> {
        let Self { endpoint, weight, level, .. } = self;
        Share {
            configured: *weight,
            learned: &endpoint.learned,
            name: endpoint.name(),
            level: (*level).into(),
        }
    }
}
