//! What one run comes to.

use crate::clock::seconds;
use crate::histogram::Histogram;
use crate::series::Series;
use steelyard_core::time::Nanos;

/// Good answers of one stretch of a run.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Response times, from arrival to the end of the answer.
    pub times: Histogram,
    /// Their sum, in seconds.
    pub sum_s: f64,
}

impl Batch {
    /// The mean response time; `None` without any.
    pub fn mean_s(&self) -> Option<f64> {
        (self.times.total() > 0).then(|| self.sum_s / self.times.total() as f64)
    }
}

/// What was measured after the warm-up.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// One for a replication among several, many for a single one.
    pub batches: Vec<Batch>,
    /// Requests that ended.
    pub requests: u64,
    /// Of these, those without a good answer.
    pub errors: u64,
    /// Attempts after a failed one.
    pub retries: u64,
    /// Time that requests spent in queues of pools.
    pub queue_wait_s: f64,
    /// Attempts by endpoint.
    pub attempts: Vec<u64>,
    /// Seconds of work by endpoint, all its servers together.
    pub busy_s: Vec<f64>,
    /// How long work was measured.
    pub window_s: f64,
    /// Arrivals and completions, the warm-up's too.
    pub events: u64,
    /// Loads over time, of the first replication.
    pub series: Option<Series>,
}

impl Tally {
    pub(crate) fn new(batches: usize, endpoints: usize) -> Self {
        Self { batches: vec![Batch::default(); batches], attempts: vec![0; endpoints], ..Self::default() }
    }

    /// A request has ended.
    pub(crate) fn end(&mut self, batch: Option<u32>, lasted: Nanos, good: bool) {
        let Some(batch) = batch else { return };
        self.requests += 1;
        if good {
            let batch = &mut self.batches[batch as usize];
            batch.times.record(lasted);
            batch.sum_s += seconds(lasted);
        } else {
            self.errors += 1;
        }
    }

    /// An attempt begins.
    pub(crate) fn attempt(&mut self, batch: Option<u32>, endpoint: u32, again: bool) {
        if batch.is_some() {
            self.attempts[endpoint as usize] += 1;
            self.retries += u64::from(again);
        }
    }

    /// A request has left its queue.
    pub(crate) fn waited(&mut self, batch: Option<u32>, lasted: Nanos) {
        if batch.is_some() {
            self.queue_wait_s += seconds(lasted);
        }
    }
}
