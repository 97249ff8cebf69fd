//! Slots: how a request in flight is counted, taken and given back.

use super::standing::LATENCY_OUT;
use super::{Endpoint, Threshold};
use crate::sync::Ordering;
use crate::time::Nanos;

/// An endpoint out of the rotation for its latency is tried at most this often.
const TRIAL_INTERVAL: Nanos = Nanos::from_millis(1_000);

impl Endpoint {
    /// Requests in flight over all workers.
    pub fn in_flight(&self) -> u32 {
        self.hot.in_flight.load(Ordering::Relaxed)
    }

    /// Takes a slot below the threshold, or says that there is none. Nothing else may raise the count.
    pub fn take(&self, threshold: &Threshold, now: Nanos) -> bool {
        if self.hot.flags.load(Ordering::Relaxed) & LATENCY_OUT != 0 && threshold.latency_s.is_finite() {
            return self.take_trial(now);
        }
        if threshold.requests == u32::MAX {
            self.hot.in_flight.fetch_add(1, Ordering::AcqRel);
            return true;
        }
        let mut seen = self.hot.in_flight.load(Ordering::Relaxed);
        while seen < threshold.requests {
            match self.hot.in_flight.compare_exchange_weak(
                seen,
                seen + 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(other) => seen = other,
            }
        }
        false
    }

    /// Takes a slot where nothing is in flight.
    pub fn take_idle(&self, threshold: &Threshold, now: Nanos) -> bool {
        if self.in_flight() != 0 {
            return false;
        }
        if self.hot.flags.load(Ordering::Relaxed) & LATENCY_OUT != 0 && threshold.latency_s.is_finite() {
            return self.take_trial(now);
        }
        self.hot.in_flight.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Takes the one slot of an endpoint that is out for its latency and due to be tried.
    fn take_trial(&self, now: Nanos) -> bool {
        let last = self.trial.load(Ordering::Relaxed);
        let begun = self.begun.load(Ordering::Acquire);
        self.trial_is_due(now, last)
            && self
                .hot
                .in_flight
                .compare_exchange(begun, begun + 1, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            && {
                self.trial.store(now.0, Ordering::Relaxed);
                true
            }
    }

    pub(super) fn trial_is_due(&self, now: Nanos, last: u64) -> bool {
        self.in_flight() == self.begun.load(Ordering::Acquire)
            && (last == 0 || now.since(Nanos(last)) >= TRIAL_INTERVAL)
    }

    /// Counts a request in flight whose response has begun, which no trial has to wait for.
    pub fn response_begins(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts it out, before its slot is given back.
    pub fn response_ends(&self) {
        self.begun.fetch_sub(1, Ordering::AcqRel);
    }

    /// Gives a slot back; says whether it was the last.
    pub fn give(&self) -> bool {
        let before = self.hot.in_flight.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "a slot is given back once");
        before == 1
    }
}
