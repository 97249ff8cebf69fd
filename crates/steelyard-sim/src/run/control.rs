//! What the proxy's control thread does, and what happens to endpoints: rare beside requests.

use super::Run;
use crate::clock::NEVER;
use crate::probes::Step;
use steelyard_core::time::Nanos;

/// Between two looks at everything that is timed, as in the proxy.
const TICK: Nanos = Nanos::from_millis(50);

/// The first tick after a moment.
pub(super) fn tick_after(now: Nanos) -> Nanos {
    Nanos((now.0 / TICK.0 + 1) * TICK.0)
}

impl Run<'_> {
    /// Finds what is next of all that is rare.
    pub(super) fn look_ahead(&mut self) {
        let series = self.tally.series.as_ref().map_or(NEVER, crate::series::Series::next_at);
        self.next_rare = self.timeline.next_at().min(self.probes.next_at()).min(self.next_tick).min(series);
    }

    #[inline(never)]
    pub(super) fn rare(&mut self) {
        let now = self.now;
        if self.timeline.next_at() == now {
            self.change();
        } else if self.probes.next_at() == now {
            self.probe();
        } else if self.next_tick == now {
            self.tick();
        } else if let Some(series) = &mut self.tally.series {
            let balancers = &self.balancers;
            series.look(|endpoint| balancers.iter().map(|balancer| balancer.in_flight(endpoint)).sum());
        }
        self.look_ahead();
    }

    /// An endpoint changes.
    fn change(&mut self) {
        let Some(endpoint) = self.timeline.take() else { return };
        let number = endpoint as u32;
        let before = self.conditions[endpoint];
        let after = self.timeline.condition(endpoint, self.now);
        self.conditions[endpoint] = after;
        self.stations.set_pace(number, after.factor, after.hangs, self.now);
        if after.stopped && !before.stopped {
            let lost = self.stations.clear(number, self.now);
            self.lose(lost);
        }
        if after.present != before.present {
            let present: Vec<bool> = self.conditions.iter().map(|condition| condition.present).collect();
            for (index, balancer) in (0u32..).zip(&mut self.balancers) {
                // Of a subset others may join than the one that came.
                for joined in balancer.configure(&present, self.now) {
                    self.probes.ask_at((index, joined), self.now);
                }
            }
            self.watch();
            self.settle_all();
        }
        self.moved = self.now;
    }

    fn settle_all(&mut self) {
        for balancer in 0..self.balancers.len() {
            self.settle(balancer);
        }
    }

    /// Every balancer looks at an endpoint now.
    pub(super) fn probe_at_once(&mut self, endpoint: u32) {
        for balancer in 0..self.balancers.len() {
            self.probes.ask_at((balancer as u32, endpoint), self.now);
        }
    }

    fn probe(&mut self) {
        let Some((target, step)) = self.probes.take() else { return };
        let (balancer, endpoint) = target;
        let condition = self.conditions[endpoint as usize];
        if step == Step::Ask && condition.hangs && !condition.stopped {
            return self.probes.wait(target, self.now);
        }
        let good = step == Step::Ask && !condition.stopped;
        self.balancers[balancer as usize].probed(endpoint, good, self.now);
        if !good {
            self.watch();
        }
        self.settle(balancer as usize);
    }

    fn tick(&mut self) {
        for index in 0..self.balancers.len() {
            for endpoint in self.balancers[index].tick(self.now) {
                self.probes.ask_at((index as u32, endpoint), self.now);
            }
            self.settle(index);
        }
        let needed = self.balancers.iter().any(super::Balancer::needs_ticks);
        self.next_tick = if needed { tick_after(self.now) } else { NEVER };
    }
}
