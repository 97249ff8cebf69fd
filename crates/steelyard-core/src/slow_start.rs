//! Slow start: an endpoint that has just joined, or come back, gets its share little by little.
//!
//! Envoy's formula: until the window is over, the part of the weight that counts is
//! `max(min_weight, (max(1 ms, age) / window)^(1 / aggression))`. A server with cold caches and no connections is otherwise
//! sent, by every policy that compares, all that arrives until it is as busy as the others.

use crate::document;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Nanos;

/// No age counts as less, so that a window of any length begins above nothing.
const AGE_MIN: Nanos = Nanos::from_millis(1);

/// How a weight grows.
#[derive(Debug, Clone, Copy)]
pub struct SlowStart {
    window: Nanos,
    exponent: f32,
    min_weight: f32,
}

impl SlowStart {
    /// As configured; every number of it has been checked.
    pub fn new(config: &document::SlowStart) -> Self {
        Self {
            window: Nanos::from_millis(config.window_ms),
            exponent: (1.0 / config.aggression) as f32,
            min_weight: config.min_weight as f32,
        }
    }

    /// How long it lasts.
    pub fn window(&self) -> Nanos {
        self.window
    }

    /// The part of its weight that counts at this age, above 0 and at most 1.
    pub fn factor(&self, age: Nanos) -> f32 {
        if age >= self.window {
            return 1.0;
        }
        let share = age.max(AGE_MIN).as_secs_f32() / self.window.as_secs_f32();
        // Nearly everyone leaves the aggression alone, and a power costs more than the rest of the arithmetic.
        let grown =
            if (self.exponent - 1.0).abs() < f32::EPSILON { share } else { share.powf(self.exponent) };
        grown.max(self.min_weight).min(1.0)
    }
}

/// When an endpoint last joined or came back.
#[derive(Debug, Default)]
pub struct Start(AtomicU64);

/// It came back while it was being drained: the moment is when the drain ends.
const PENDING: u64 = u64::MAX;

impl Start {
    /// It joins or comes back now.
    pub fn begin(&self, now: Nanos) {
        self.0.store(now.0.max(1), Ordering::Relaxed);
    }

    /// It has come back, but takes no requests until its drain ends.
    pub fn begin_later(&self) {
        self.0.store(PENDING, Ordering::Relaxed);
    }

    /// Whether it waits for the end of a drain.
    pub fn is_pending(&self) -> bool {
        self.0.load(Ordering::Relaxed) == PENDING
    }

    /// The moment; `None` for an endpoint that has been there since the pool began.
    pub fn at(&self) -> Option<Nanos> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            at => Some(Nanos(at)),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn factors(aggression: f64) -> [f32; 5] {
        let slow_start =
            SlowStart::new(&document::SlowStart { window_ms: 60_000, aggression, min_weight: 0.1 });
        [1, 6, 15, 30, 45].map(|age_s| slow_start.factor(Nanos::from_millis(age_s * 1_000)))
    }

    #[test]
    fn the_published_vectors() {
        let vectors = [
            (1.0, [0.1, 0.1, 0.25, 0.5, 0.75]),
            (2.0, [0.129, 0.316, 0.5, 0.707, 0.866]),
            (0.5, [0.1, 0.1, 0.1, 0.25, 0.5625]),
        ];
        for (aggression, expected) in vectors {
            for (factor, expected) in factors(aggression).into_iter().zip(expected) {
                assert!((factor - expected).abs() < 0.0005, "{factor} is {expected} at {aggression}");
            }
        }
    }

    #[test]
    fn a_weight_never_shrinks_and_is_whole_when_the_window_is_over() {
        for aggression in [0.2, 1.0, 7.0] {
            let slow_start =
                SlowStart::new(&document::SlowStart { window_ms: 500, aggression, min_weight: 0.01 });
            let mut before = 0.0;
            for age_ms in 0..=600 {
                let factor = slow_start.factor(Nanos::from_millis(age_ms));
                assert!(factor > 0.0 && factor <= 1.0 && factor >= before, "{factor} at {age_ms} ms");
                before = factor;
            }
            assert!((slow_start.factor(slow_start.window()) - 1.0).abs() < f32::EPSILON);
        }
    }
}
