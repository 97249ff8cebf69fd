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
const TICK_S: f32 = STAMP_NANOS as f32 * 1e-9;
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
    decay(ticks as f32 * (TICK_S / time_constant_s))
}

/// Below this the series of the exponential is as exact as a number of 32 bits can be.
const SERIES_MAX: f32 = 1.0 / 32.0;

/// `exp(-x)` for `x` >= 0. Samples mostly follow each other closely, and then no call is needed.
fn decay(x: f32) -> f32 {
    if x < SERIES_MAX {
        return (1.0 - x) + x * x * ((0.5 - x * (1.0 / 6.0)) + x * x * (1.0 / 24.0));
    }
    (-x).exp()
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
    /// Adds a sample, in seconds. Of two that come at the same moment one may be lost, which a mean over seconds does not
    /// show; each request would otherwise pay for an exchange.
    pub fn record(&self, sample_s: f32, now: Nanos) {
        let old = self.0.load(Ordering::Relaxed);
        let new = if old == 0 {
            pack(sample_s, now)
        } else {
            let (value, stamp) = unpack(old);
            let kept = left(stamp, now, LATENCY_TIME_CONSTANT_S);
            pack(value * kept + sample_s * (1.0 - kept), now)
        };
        // Within one tick of the stamp a sample has no weight.
        if new != old {
            self.0.store(new.max(1), Ordering::Relaxed);
        }
    }

    /// Puts a value in the place of the estimate: one that is a mean already.
    pub fn replace(&self, value: f32, now: Nanos) {
        self.0.store(pack(value, now).max(1), Ordering::Relaxed);
    }

    /// The estimate in seconds; `None` before the first sample.
    pub fn get(&self) -> Option<f32> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            packed => Some(unpack(packed).0),
        }
    }
}

/// An estimate counts in full for so many ticks after its last sample.
const FRESH_TICKS: u32 = 10_000;

impl Smoothed {
    /// The estimate in seconds, which without samples fades towards another one: what was slow once may be quick again,
    /// and whoever is no longer asked cannot say so. `None` before the first sample.
    pub fn fading(&self, towards_s: impl FnOnce() -> f32, now: Nanos) -> Option<f32> {
        let packed = self.0.load(Ordering::Relaxed);
        if packed == 0 {
            return None;
        }
        let (value, stamp) = unpack(packed);
        let ticks = ((now.0 / STAMP_NANOS) as u32).wrapping_sub(stamp);
        if ticks <= FRESH_TICKS || ticks > u32::MAX - AHEAD_TICKS_MAX {
            return Some(value);
        }
        let kept = left(stamp, now, LATENCY_TIME_CONSTANT_S);
        Some(value * kept + towards_s() * (1.0 - kept))
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

/// A peak of response times that decays whenever it is looked at; see [`crate::policy`]'s `peak_ewma`.
///
/// Source: Twitter's Finagle, `PeakEwma.scala`. Threads that look at once may overwrite each other's decay, which loses
/// no sample.
#[derive(Debug, Default)]
pub struct Peak(AtomicU64);

impl Peak {
    /// Takes in a response time, in seconds.
    pub fn record(&self, sample_s: f32, now: Nanos, decay_s: f32) {
        update(&self.0, |old| {
            let (value, stamp) = unpack(old);
            if sample_s > value {
                return pack(sample_s, now);
            }
            let kept = left(stamp, now, decay_s);
            pack(value * kept + sample_s * (1.0 - kept), now)
        });
    }

    /// The peak in seconds, decayed to `now`; 0 before the first sample and once it has faded.
    pub fn look(&self, now: Nanos, decay_s: f32) -> f32 {
        let old = self.0.load(Ordering::Relaxed);
        if old == 0 {
            return 0.0;
        }
        let (value, stamp) = unpack(old);
        let mut decayed = value * left(stamp, now, decay_s);
        if decayed < NEGLIGIBLE_PEAK_S {
            decayed = 0.0;
        }
        // Within one tick of the stamp nothing has changed.
        let new = pack(decayed, now);
        if new != old {
            // Whoever has recorded meanwhile wins.
            let _ = self.0.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed);
        }
        decayed
    }
}

/// A peak below this is as good as none: no response is that fast.
const NEGLIGIBLE_PEAK_S: f32 = 1e-6;

/// The time that 95 of 100 samples do not reach, followed by small steps up and down.
///
/// Each sample above the estimate raises it, each below lowers it, in the proportion in which they should come; the
/// steps are relative, so that it finds any order of magnitude (H. Robbins and S. Monro, "A stochastic approximation
/// method", 1951, on a logarithmic scale).
#[derive(Debug, Default)]
pub struct Tail(AtomicU64);

/// The share of samples below the tail.
const TAIL_SHARE: f32 = 0.95;
/// How far one sample can move the tail, as a share of it.
const TAIL_STEP: f32 = 0.1;

impl Tail {
    /// Takes in a sample, in seconds.
    pub fn record(&self, sample_s: f32) {
        update(&self.0, |old| {
            let value = f32::from_bits(old as u32);
            let new = if value <= 0.0 {
                sample_s
            } else if sample_s > value {
                value * (1.0 + TAIL_STEP * TAIL_SHARE)
            } else {
                value * (1.0 - TAIL_STEP * (1.0 - TAIL_SHARE))
            };
            u64::from(new.to_bits())
        });
    }

    /// The estimate in seconds; `None` before the first sample.
    pub fn get(&self) -> Option<f32> {
        Some(f32::from_bits(self.0.load(Ordering::Relaxed) as u32)).filter(|&tail| tail > 0.0)
    }
}

/// How long requests take in a pool, whoever serves them.
#[derive(Debug, Default)]
pub struct Times {
    /// Good ones, smoothed.
    pub(crate) success: Smoothed,
    /// Their slow end: what a failure counts as at least, for policies that compare times.
    pub(crate) tail: Tail,
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
    fn the_series_is_the_exponential() {
        for step in 0..10_000 {
            let x = step as f32 * 1e-5;
            assert!((decay(x) - (-x).exp()).abs() <= 2.0 * f32::EPSILON, "{x}");
        }
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

    #[test]
    fn a_peak_is_taken_at_once_and_decays_as_it_is_looked_at() {
        let peak = Peak::default();
        assert_eq!(peak.look(Nanos::from_millis(1), 10.0).to_bits(), 0);
        peak.record(0.2, Nanos::from_millis(1_000), 10.0);
        peak.record(1.0, Nanos::from_millis(2_000), 10.0);
        assert!((peak.look(Nanos::from_millis(2_000), 10.0) - 1.0).abs() < 1e-6);
        assert!((peak.look(Nanos::from_millis(12_000), 10.0) - (-1.0f32).exp()).abs() < 1e-4);
        // Just after a look, a fast response hardly counts: in effect the decayed maximum.
        peak.record(0.0, Nanos::from_millis(12_001), 10.0);
        assert!((peak.look(Nanos::from_millis(12_001), 10.0) - (-1.0f32).exp()).abs() < 1e-3);
    }

    #[test]
    fn the_tail_finds_the_95th_percentile_of_an_exponential() {
        use rand::SeedableRng;
        let (tail, mut rng) = (Tail::default(), crate::random::Generator::seed_from_u64(7));
        let mut sum = 0.0;
        for step in 0..200_000 {
            tail.record(-(1.0 - crate::random::unit(&mut rng)).ln());
            if step >= 100_000 {
                sum += tail.get().unwrap();
            }
        }
        let (mean, truth) = (sum / 100_000.0, 2.9957);
        assert!((mean / truth - 1.0).abs() < 0.05, "{mean}");
    }
}
