//! When endpoints are probed, as the proxy's control thread does it: at once, then at intervals that vary a little.

use crate::clock::NEVER;
use crate::plan::Times;
use crate::streams::uniform;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use steelyard_core::random::Generator;
use steelyard_core::time::Nanos;

/// An interval is longer or shorter by up to this share of it, as in the proxy.
const JITTER: f64 = 0.1;

/// One endpoint as one balancer probes it.
pub(crate) type Target = (u32, u32);

/// What the virtual probes do next.
#[derive(Debug)]
pub(crate) struct Probes {
    interval: Option<Nanos>,
    timeout: Nanos,
    /// Whether a probe could fail at any time: if none can, the first of each endpoint has said all.
    repeat: bool,
    due: BinaryHeap<Reverse<(Nanos, Target, Step)>>,
    /// By balancer and endpoint, when the next probe is due: other entries are void.
    next: Vec<Vec<Nanos>>,
    rng: Generator,
}

/// What happens to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// It is probed.
    Ask,
    /// A probe that got no answer is given up.
    GiveUp,
}

impl Probes {
    pub fn new(times: &Times, repeat: bool, balancers: usize, endpoints: usize, rng: Generator) -> Self {
        let next = vec![vec![NEVER; endpoints]; balancers];
        let (interval, timeout) = (times.probe_interval, times.probe_timeout);
        Self { interval, timeout, repeat, due: BinaryHeap::new(), next, rng }
    }

    /// When something is due.
    pub fn next_at(&self) -> Nanos {
        self.due.peek().map_or(NEVER, |Reverse((at, ..))| *at)
    }

    /// Probes an endpoint at once.
    pub fn ask_at(&mut self, target: Target, at: Nanos) {
        if self.interval.is_some() {
            *self.next_of(target) = at;
            self.due.push(Reverse((at, target, Step::Ask)));
        }
    }

    /// What is due first; a probe that is asked has its successor set. `None` for a void entry.
    pub fn take(&mut self) -> Option<(Target, Step)> {
        let Reverse((at, target, step)) = self.due.pop()?;
        if step == Step::Ask {
            if *self.next_of(target) != at {
                return None;
            }
            *self.next_of(target) = NEVER;
            if let Some(interval) = self.interval.filter(|_| self.repeat) {
                let stretch = 1.0 + JITTER * (2.0 * uniform(&mut self.rng) - 1.0);
                self.ask_at(target, at.plus(Nanos((interval.0 as f64 * stretch) as u64)));
            }
        }
        Some((target, step))
    }

    /// The endpoint does not answer.
    pub fn wait(&mut self, target: Target, now: Nanos) {
        self.due.push(Reverse((now.plus(self.timeout), target, Step::GiveUp)));
    }

    fn next_of(&mut self, (balancer, endpoint): Target) -> &mut Nanos {
        &mut self.next[balancer as usize][endpoint as usize]
    }
}
