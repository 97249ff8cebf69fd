//! Response times in a fixed array of log-spaced buckets that one worker writes and anyone reads.

use crate::sync::{AtomicU64, Ordering};

/// Buckets of one histogram.
pub const BUCKETS: usize = 64;
/// The upper bound of the first bucket, in nanoseconds; each later one is [`RATIO`] times wider.
const FIRST_NANOS: f64 = 50_000.0;
/// 64 buckets from 50 us to about 100 s.
const RATIO: f64 = 1.26;

/// Counts by response time. One writer; readers may see a count a moment late, never a torn one.
#[derive(Debug)]
pub struct Histogram([AtomicU64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// Adds to a counter that only the calling worker writes.
pub fn bump(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// The upper bound of a bucket, in seconds.
pub fn upper_bound_s(bucket: usize) -> f64 {
    FIRST_NANOS * RATIO.powi(bucket as i32) * 1e-9
}

fn bucket_of(nanos: u64) -> usize {
    if nanos as f64 <= FIRST_NANOS {
        return 0;
    }
    let position = ((nanos as f32 / FIRST_NANOS as f32).log2() / (RATIO as f32).log2()).ceil();
    (position as usize).min(BUCKETS - 1)
}

impl Histogram {
    /// Counts one response time.
    pub fn record(&self, nanos: u64) {
        bump(&self.0[bucket_of(nanos)], 1);
    }

    /// Adds these counts to a sum over workers.
    pub fn add_to(&self, sum: &mut [u64; BUCKETS]) {
        for (total, bucket) in sum.iter_mut().zip(&self.0) {
            *total += bucket.load(Ordering::Relaxed);
        }
    }
}

/// The quantile of summed counts, in seconds, interpolated within its bucket; `None` without a sample.
pub fn quantile(counts: &[u64; BUCKETS], quantile: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = quantile * total as f64;
    let mut below = 0.0;
    for (bucket, &count) in counts.iter().enumerate() {
        let here = count as f64;
        if count > 0 && below + here >= rank {
            let lower = if bucket == 0 { 0.0 } else { upper_bound_s(bucket - 1) };
            return Some(lower + (upper_bound_s(bucket) - lower) * ((rank - below) / here));
        }
        below += here;
    }
    Some(upper_bound_s(BUCKETS - 1))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_within_a_bucket_of_the_truth() {
        let histogram = Histogram::default();
        for millis in 1..=1000u64 {
            histogram.record(millis * 1_000_000);
        }
        let mut counts = [0; BUCKETS];
        histogram.add_to(&mut counts);
        let p50 = quantile(&counts, 0.5).unwrap();
        let p99 = quantile(&counts, 0.99).unwrap();
        assert!((0.5 / RATIO..0.5 * RATIO).contains(&p50), "{p50}");
        assert!((0.99 / RATIO..0.99 * RATIO).contains(&p99), "{p99}");
        assert_eq!(quantile(&[0; BUCKETS], 0.5), None);
    }

    #[test]
    fn every_time_falls_under_its_bound_and_above_the_one_before() {
        for nanos in [1, 49_999, 50_000, 50_001, 63_000, 63_001, 1_000_000, 99_000_000_000, u64::MAX] {
            let bucket = bucket_of(nanos);
            let seconds = nanos as f64 * 1e-9;
            assert!(bucket == BUCKETS - 1 || seconds <= upper_bound_s(bucket) * 1.0001, "{nanos}");
            assert!(bucket == 0 || seconds >= upper_bound_s(bucket - 1) * 0.9999, "{nanos}");
        }
    }
}
