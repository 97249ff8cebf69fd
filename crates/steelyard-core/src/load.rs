//! What an endpoint carries, measured: smoothed time, decaying rates.
//!
//! Each estimate is one 64-bit atomic that holds a value and the moment it was written, so that it is never
//! read half old and half new and costs no lock.

mod decay;

pub use decay::{Decay, Stamp};

use crate::sync::{AtomicU64, Ordering};
use crate::time::Nanos;

/// The time constant of smoothed response times.
pub const LATENCY_TIME_CONSTANT_S: f32 = 10.0;
/// The time constant of byte rates.
pub const BYTES_TIME_CONSTANT_S: f32 = 1.0;
const LATENCY_DECAY: Decay = Decay::over(LATENCY_TIME_CONSTANT_S);
/// How byte rates decay.
pub const BYTES_DECAY: Decay = Decay::over(BYTES_TIME_CONSTANT_S);

/// A sum that has decayed below this is over: neither bytes nor phantom requests come in smaller parts.
const NEGLIGIBLE: f32 = 1e-3;

fn pack(value: f32, now: Stamp) -> u64 {
    u64::from(value.to_bits()) << 32 | u64::from(now.0)
}

fn unpack(packed: u64) -> (f32, Stamp) {
    (f32::from_bits((packed >> 32) as u32), Stamp(packed as u32))
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
        let (old, now) = (self.0.load(Ordering::Relaxed), Stamp::of(now));
        let new = if old == 0 {
            pack(sample_s, now)
        } else {
            let (value, stamp) = unpack(old);
            let kept = LATENCY_DECAY.left(stamp, now);
            pack(value * kept + sample_s * (1.0 - kept), now)
        };
        // Within one tick of the stamp a sample has no weight.
        if new != old {
            self.0.store(new.max(1), Ordering::Relaxed);
        }
    }

    /// Puts a value in the place of the estimate: one that is a mean already.
    pub fn replace(&self, value: f32, now: Nanos) {
        self.0.store(pack(value, Stamp::of(now)).max(1), Ordering::Relaxed);
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
    #[inline]
    pub fn fading(&self, towards_s: impl FnOnce() -> f32, now: Stamp) -> Option<f32> {
        let packed = self.0.load(Ordering::Relaxed);
        if packed == 0 {
            return None;
        }
        let (value, stamp) = unpack(packed);
        if now.ticks_since(stamp) <= FRESH_TICKS {
            return Some(value);
        }
        let kept = LATENCY_DECAY.left(stamp, now);
        Some(value * kept + towards_s() * (1.0 - kept))
    }
}

/// A sum that decays: of bytes, read as a rate, or of failures, read as phantom requests.
#[derive(Debug, Default)]
pub struct Decaying(AtomicU64);

impl Decaying {
    /// Adds an amount.
    pub fn add(&self, amount: f32, now: Nanos, time_constant_s: f32) {
        let (now, decay) = (Stamp::of(now), Decay::over(time_constant_s));
        update(&self.0, |old| {
            let (value, stamp) = unpack(old);
            pack(value * decay.left(stamp, now) + amount, now)
        });
    }

    /// Whether there is nothing left, as far as anyone has looked.
    pub fn is_zero(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// What is left of the sum at `now`.
    pub fn get(&self, now: Nanos, time_constant_s: f32) -> f32 {
        self.rest(Stamp::of(now), || Decay::over(time_constant_s))
    }

    /// The same. Where nothing is left, nobody is asked how it decays.
    #[inline]
    pub fn rest(&self, now: Stamp, decay: impl FnOnce() -> Decay) -> f32 {
        match self.0.load(Ordering::Relaxed) {
            0 => 0.0,
            packed => self.rest_of(packed, now, decay),
        }
    }

    #[inline(never)]
    fn rest_of(&self, packed: u64, now: Stamp, decay: impl FnOnce() -> Decay) -> f32 {
        let (value, stamp) = unpack(packed);
        let rest = value * decay().left(stamp, now);
        if rest >= NEGLIGIBLE {
            return rest;
        }
        self.clear(packed);
        0.0
    }

    /// Spares the next reader the arithmetic, and no wrapped stamp revives what was left. Whoever has just added
    /// something wins.
    #[cold]
    fn clear(&self, packed: u64) {
        let _ = self.0.compare_exchange(packed, 0, Ordering::Relaxed, Ordering::Relaxed);
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
    pub fn record(&self, sample_s: f32, now: Stamp, decay: Decay) {
        update(&self.0, |old| {
            let (value, stamp) = unpack(old);
            if sample_s > value {
                return pack(sample_s, now);
            }
            let kept = decay.left(stamp, now);
            pack(value * kept + sample_s * (1.0 - kept), now)
        });
    }

    /// The peak in seconds, decayed to `now`; 0 before the first sample and once it has faded.
    #[inline]
    pub fn look(&self, now: Stamp, decay: Decay) -> f32 {
        let old = self.0.load(Ordering::Relaxed);
        if old == 0 {
            return 0.0;
        }
        let (value, stamp) = unpack(old);
        let mut decayed = value * decay.left(stamp, now);
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
    fn a_steady_flow_reads_as_its_rate() {
        let bytes = Decaying::default();
        for step in 1..20_000u64 {
            bytes.add(100.0, Nanos::from_millis(step), BYTES_TIME_CONSTANT_S);
        }
        let rate = bytes.get(Nanos::from_millis(20_000), BYTES_TIME_CONSTANT_S) / BYTES_TIME_CONSTANT_S;
        assert!((rate - 100_000.0).abs() < 500.0, "{rate}");
    }

    #[test]
    fn a_peak_is_taken_at_once_and_decays_as_it_is_looked_at() {
        let (peak, decay) = (Peak::default(), Decay::over(10.0));
        let at = |millis| Stamp::of(Nanos::from_millis(millis));
        assert_eq!(peak.look(at(1), decay).to_bits(), 0);
        peak.record(0.2, at(1_000), decay);
        peak.record(1.0, at(2_000), decay);
        assert!((peak.look(at(2_000), decay) - 1.0).abs() < 1e-6);
        assert!((peak.look(at(12_000), decay) - (-1.0f32).exp()).abs() < 1e-4);
        // Just after a look, a fast response hardly counts: in effect the decayed maximum.
        peak.record(0.0, at(12_001), decay);
        assert!((peak.look(at(12_001), decay) - (-1.0f32).exp()).abs() < 1e-3);
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
