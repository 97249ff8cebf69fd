//! Which stretch of a run a request is measured in.

use crate::clock::ORIGIN;
use crate::plan::Plan;
use steelyard_core::time::Nanos;

/// Batches of a single replication, whose spread stands for that of replications.
const SINGLE: usize = 20;

/// The stretches of one replication, as requests come. Most of them come in the same one as the request before.
#[derive(Debug)]
pub(crate) struct Batches {
    rule: Rule,
    batch: Option<u32>,
    /// The first place that belongs to the next batch.
    until: u64,
}

/// Places are nanoseconds where a run has a duration, and the numbers of requests where it has none.
#[derive(Debug, Clone, Copy)]
struct Rule {
    by_time: bool,
    /// How many places there are.
    whole: u64,
    warmup: f64,
    count: usize,
}

impl Batches {
    pub fn new(plan: &Plan) -> Self {
        let rule = Rule {
            by_time: plan.duration.is_some(),
            // One of them is there; the check has seen to it.
            whole: plan.duration.map(|duration| duration.0).or(plan.requests).unwrap_or(1).max(1),
            warmup: plan.warmup,
            count: count(plan),
        };
        Self { rule, batch: None, until: 0 }
    }

    /// The batch of a request by its number and its arrival; `None` during the warm-up. Requests are asked for in their
    /// order.
    pub fn of(&mut self, index: u64, now: Nanos) -> Option<u32> {
        let place = if self.rule.by_time { now.since(ORIGIN).0 } else { index };
        if place >= self.until {
            self.batch = self.rule.batch(place);
            self.until = self.rule.end_of(self.batch, place);
        }
        self.batch
    }
}

impl Rule {
    fn batch(&self, place: u64) -> Option<u32> {
        let share = (place as f64 / self.whole as f64 - self.warmup) / (1.0 - self.warmup);
        (share >= 0.0).then(|| ((share * self.count as f64) as usize).min(self.count - 1) as u32)
    }

    /// The first place after `place` that is in another batch.
    fn end_of(&self, batch: Option<u32>, place: u64) -> u64 {
        let (mut inside, mut beyond) = (place, u64::MAX);
        while beyond - inside > 1 {
            let middle = inside + (beyond - inside) / 2;
            if self.batch(middle) == batch { inside = middle } else { beyond = middle }
        }
        beyond
    }
}

/// How many batches a replication is measured in.
pub(crate) fn count(plan: &Plan) -> usize {
    if plan.replications == 1 { SINGLE } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_in_the_batch_that_its_place_says() {
        for (whole, warmup, count) in [(1, 0.0, 1), (7, 0.5, 20), (1_000, 0.1, 20), (12_345, 0.3, 1)] {
            let rule = Rule { by_time: false, whole, warmup, count };
            let mut batches = Batches { rule, batch: None, until: 0 };
            for index in (0..whole + 5).filter(|index| index % 3 != 1) {
                assert_eq!(batches.of(index, ORIGIN), rule.batch(index), "{index} of {whole}");
            }
            assert_eq!(batches.batch, Some(count as u32 - 1));
        }
    }
}
