//! Times in log-spaced buckets of under 0.4 % each.

use steelyard_core::time::Nanos;

/// Each power of two has so many buckets, as a power of two itself.
const PARTS_BITS: u32 = 8;
const PARTS: u64 = 1 << PARTS_BITS;
const BUCKETS: usize = ((64 - PARTS_BITS as usize) + 1) << PARTS_BITS;

/// Counts by time.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

/// The leading one and the bits behind it are the bucket: no logarithm.
fn bucket_of(nanos: u64) -> usize {
    if nanos < PARTS {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - PARTS_BITS;
    ((u64::from(shift + 1) << PARTS_BITS) + ((nanos >> shift) & (PARTS - 1))) as usize
}

/// The first value of a bucket, in nanoseconds.
fn start_of(bucket: usize) -> f64 {
    let (power, part) = (bucket >> PARTS_BITS, bucket as u64 & (PARTS - 1));
    if power == 0 {
        return part as f64;
    }
    (PARTS + part) as f64 * 2f64.powi(power as i32 - 1)
}

impl Histogram {
    /// Counts one time.
    pub fn record(&mut self, time: Nanos) {
        self.counts[bucket_of(time.0)] += 1;
        self.total += 1;
    }

    /// How many have been counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// The quantile in seconds, interpolated within its bucket; `None` where nothing was counted.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        let rank = share * self.total as f64;
        let mut below = 0.0;
        let mut last = 0;
        for (bucket, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let here = count as f64;
            if below + here >= rank {
                return Some(within(bucket, (rank - below) / here));
            }
            below += here;
            last = bucket;
        }
        Some(within(last, 1.0))
    }
}

/// A place within a bucket, in seconds.
fn within(bucket: usize, share: f64) -> f64 {
    let (start, end) = (start_of(bucket), start_of(bucket + 1));
    (start + (end - start) * share) * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_narrow_and_hold_what_they_say() {
        for nanos in [0, 1, 255, 256, 257, 511, 512, 1_000_000, 123_456_789_012, u64::MAX / 3] {
            let bucket = bucket_of(nanos);
            let (start, end) = (start_of(bucket), start_of(bucket + 1));
            assert!((start..end).contains(&(nanos as f64)), "{nanos}: {start} to {end}");
            assert!(end - start <= (start * 0.004).max(1.0), "{nanos}");
        }
        assert!(bucket_of(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_are_true_to_half_a_percent() {
        let mut histogram = Histogram::default();
        (1..=100_000u64).for_each(|micros| histogram.record(Nanos(micros * 1_000)));
        for share in [0.001, 0.5, 0.9, 0.999] {
            let expected = share * 0.1;
            let found = histogram.quantile(share).unwrap();
            assert!((found / expected - 1.0).abs() < 0.005, "{share}: {found}");
        }
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
