//! What is wrong with which endpoint, and when that changes.

use crate::clock::{NEVER, at};
use crate::scenario::{Fault, FaultKind};
use steelyard_core::time::Nanos;

/// How an endpoint is at one moment.
#[expect(clippy::struct_excessive_bools, reason = "each is true or not whatever the others are")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Condition {
    /// How many times slower than it should be.
    pub factor: f64,
    pub fails_fast: bool,
    pub hangs: bool,
    pub stopped: bool,
    /// Whether the configuration names it.
    pub present: bool,
}

impl Condition {
    /// Whether it says anything when it is asked.
    pub fn answers(self) -> bool {
        self.present && !self.stopped && !self.hangs
    }
}

/// The changes to come.
#[derive(Debug)]
pub(crate) struct Timeline<'s> {
    faults: &'s [Fault],
    /// Moments at which an endpoint may change, in order.
    edges: Vec<(Nanos, usize)>,
    next: usize,
}

impl<'s> Timeline<'s> {
    pub fn new(faults: &'s [Fault]) -> Self {
        let ends = |fault: &Fault| fault.until_s.map(|until_s| (at(until_s), fault.endpoint));
        let begins = |fault: &Fault| Some((at(fault.at_s), fault.endpoint));
        let mut edges: Vec<_> =
            faults.iter().flat_map(|fault| [begins(fault), ends(fault)]).flatten().collect();
        edges.sort_unstable();
        edges.dedup();
        Self { faults, edges, next: 0 }
    }

    /// When something changes next.
    pub fn next_at(&self) -> Nanos {
        self.edges.get(self.next).map_or(NEVER, |(at, _)| *at)
    }

    /// The endpoint that changes next.
    pub fn take(&mut self) -> Option<usize> {
        let edge = self.edges.get(self.next)?;
        self.next += 1;
        Some(edge.1)
    }

    /// How an endpoint is at a moment.
    pub fn condition(&self, endpoint: usize, now: Nanos) -> Condition {
        let mut found =
            Condition { factor: 1.0, fails_fast: false, hangs: false, stopped: false, present: true };
        let mut joins = false;
        let mut joined = false;
        for fault in self.faults.iter().filter(|fault| fault.endpoint == endpoint) {
            let lasts = at(fault.at_s) <= now && fault.until_s.is_none_or(|until_s| now < at(until_s));
            joins |= fault.kind == FaultKind::Add;
            if !lasts {
                continue;
            }
            match fault.kind {
                FaultKind::Slow => found.factor *= fault.factor.unwrap_or(1.0),
                FaultKind::FailFast => found.fails_fast = true,
                FaultKind::Hang => found.hangs = true,
                FaultKind::Stop => found.stopped = true,
                FaultKind::Add => joined = true,
            }
        }
        found.present = joined || !joins;
        found
    }

    /// Whether any probe could ever fail.
    pub fn probes_can_fail(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault.kind, FaultKind::Hang | FaultKind::Stop))
    }
}
