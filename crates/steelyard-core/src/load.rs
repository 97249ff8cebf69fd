//! What an endpoint carries, measured: smoothed time, decaying rates.
//!
//! Each estimate is one 64-bit atomic that holds a value and the moment it was written, so that it is never
//! read half old and half new and costs no lock.

use crate::sync::{AtomicU64, Ordering};
use crate::time::Nanos;

/// The time constant of smoothed response times.
pub const LATENCY_TIME_CONSTANT_S: f32 = 10.0;
/// The time constant of byte rates.
pub const BYTES_TIME_CONSTANT_S: f32 = 1.0;

/// Stamps count tenths of a millisecond in 32 bits: they wrap after five days, past any time constant here.
const STAMP_NANOS: u64 = 100_000;
/// How far a stamp may be ahead of `now`, in its ticks: threads read the clock at slightly different moments.
const AHEAD_TICKS_MAX: u32 = 10_000;
/// A sum that has decayed below this is over: neither bytes nor phantom requests come in smaller parts.
const NEGLIGIBLE: f32 = 1e-3;

fn pack(value: f32, now: Nanos) -> u64 {
    u64::from(value.to_bits()) << 32 | (now.0 / STAMP_NANOS) & 0xffff_ffff
}

fn unpack(packed: u64) -> (f32, u32) {
    (f32::from_bits((packed >> 32) as u32), packed as u32)
}

/// The share of an old value that is left at `now`.
fn left(stamp: u32, now: Nanos, time_constant_s: f32) -> f32 {
    let ticks = ((now.0 / STAMP_NANOS) as u32).wrapping_sub(stamp);
    if ticks > u32::MAX - AHEAD_TICKS_MAX {
        return 1.0;
    }
    let elapsed_s = ticks as f32 * (STAMP_NANOS as f32 * 1e-9);
    (-elapsed_s / time_constant_s).exp()
}

fn update(cell: &AtomicU64, mut change: impl FnMut(u64) -> u64) {
    let mut old = cell.load(Ordering::Relaxed);
    while let Err(seen) = cell.compare_exchange_weak(old, change(old), Ordering::Relaxed, Ordering::Relaxed) {
        old = seen;
    }
}

/// A smoothed value: an exponentially weighted mean over unevenly spaced samples.
///
/// The first sample is taken whole. Source of the uneven spacing: A. Eckner, "Algorithms for unevenly spaced
/// time series: moving averages and other rolling operators".
#[derive(Debug, Default)]
pub struct Smoothed(AtomicU64);

impl Smoothed {
    /// Adds a sample, in seconds.
    pub fn record(&self, sample_s: f32, now: Nanos) {
        update(&self.0, |old| {
            if old == 0 {
                return pack(sample_s, now).max(1);
            }
            let (value, stamp) = unpack(old);
            let kept = left(stamp, now, LATENCY_TIME_CONSTANT_S);
            pack(value * kept + sample_s * (1.0 - kept), now).max(1)
        });
    }

    /// The estimate in seconds; `None` before the first sample.
    pub fn get(&self) -> Option<f32> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            packed => Some(unpack(packed).0),
        }
    }
}

/// A sum that decays: of bytes, read as a rate, or of failures, read as phantom requests.
#[derive(Debug, Default)]
pub struct Decaying(AtomicU64);

impl Decaying {
    /// Adds an amount.
    pub fn add(&self, amount: f32, now: Nanos, time_constant_s: f32) {
        update(&self.0, |old| {
            let (value, stamp) = unpack(old);
            pack(value * left(stamp, now, time_constant_s) + amount, now)
        });
    }

    /// Whether there is nothing left, as far as anyone has looked: one load, no arithmetic.
    pub fn is_zero(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// What is left of the sum at `now`.
    pub fn get(&self, now: Nanos, time_constant_s: f32) -> f32 {
        match self.0.load(Ordering::Relaxed) {
            0 => 0.0,
            packed => {
                let (value, stamp) = unpack(packed);
                let rest = value * left(stamp, now, time_constant_s);
                if rest >= NEGLIGIBLE {
                    return rest;
                }
                // Cleared, so that the next reader is spared the arithmetic and no wrapped stamp revives it. Whoever
                // has just added something wins.
                let _ = self.0.compare_exchange(packed, 0, Ordering::Relaxed, Ordering::Relaxed);
                0.0
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_is_taken_whole_and_later_ones_by_elapsed_time() {
        let smoothed = Smoothed::default();
        assert_eq!(smoothed.get(), None);
        smoothed.record(1.0, Nanos::from_millis(5));
        assert_eq!(smoothed.get(), Some(1.0));
        smoothed.record(3.0, Nanos::from_millis(10_005));
        let expected = 1.0 * (-1.0f32).exp() + 3.0 * (1.0 - (-1.0f32).exp());
        assert!((smoothed.get().unwrap() - expected).abs() < 1e-4);
    }

    #[test]
    fn a_steady_flow_reads_as_its_rate() {
        let bytes = Decaying::default();
        for step in 1..20_000u64 {
            bytes.add(100.0, Nanos::from_millis(step), BYTES_TIME_CONSTANT_S);
        }
        let rate = bytes.get(Nanos::from_millis(20_000), BYTES_TIME_CONSTANT_S) / BYTES_TIME_CONSTANT_S;
        assert!((rate - 100_000.0).abs() < 500.0, "{rate}");
    }

    #[test]
    fn a_stamp_from_the_future_does_not_erase_the_value() {
        let sum = Decaying::default();
        sum.add(5.0, Nanos::from_millis(1_000), 1.0);
        assert!((sum.get(Nanos::from_millis(999), 1.0) - 5.0).abs() < 1e-6);
    }
}
