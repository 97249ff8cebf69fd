//! Percentiles of the latencies of one run, exact.

use serde::Serialize;

/// Every latency of a run, in nanoseconds.
#[derive(Default)]
pub struct Latencies {
    values: Vec<u64>,
}

/// What is told of them, in microseconds.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are the definitions")]
pub struct Summary {
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

impl Latencies {
    /// Room for so many, so that recording does not allocate.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self { values: Vec::with_capacity(count) }
    }

    /// Adds one.
    pub fn record(&mut self, nanoseconds: u64) {
        self.values.push(nanoseconds);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// Sorts and reads off; all zero when there are none.
    #[must_use]
    pub fn summary(mut self) -> Summary {
        self.values.sort_unstable();
        let at = |share: f64| {
            let rank = (share * self.values.len() as f64).ceil() as usize;
            self.values.get(rank.saturating_sub(1)).map_or(0.0, |value| *value as f64 / 1e3)
        };
        let total: u64 = self.values.iter().sum();
        Summary {
            mean_us: total as f64 / 1e3 / self.values.len().max(1) as f64,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_ranks() {
        let mut latencies = Latencies::default();
        for value in (1..=1000).rev() {
            latencies.record(value * 1000);
        }
        let summary = latencies.summary();
        let read = [summary.p50_us, summary.p90_us, summary.p99_us, summary.p999_us, summary.max_us];
        assert!(read.iter().zip([500.0, 900.0, 990.0, 999.0, 1000.0]).all(|(is, be)| (is - be).abs() < 1e-9));
        assert!((summary.mean_us - 500.5).abs() < 1e-9);
    }

    #[test]
    fn nothing_has_no_latency() {
        assert!(Latencies::default().summary().max_us == 0.0);
    }
}
