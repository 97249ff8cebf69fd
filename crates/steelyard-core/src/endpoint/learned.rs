//! What requests teach: response times, bytes, failures and the phantoms that they leave.

use super::{Endpoint, Threshold};
use crate::load::{BYTES_DECAY, BYTES_TIME_CONSTANT_S, Decay, Smoothed, Stamp};
use crate::sync::Ordering;
use crate::time::Nanos;

impl Endpoint {
    /// Requests in flight and the phantoms of recent failures, which decay like this.
    #[inline]
    pub fn burden(&self, now: Stamp, decay: impl FnOnce() -> Decay) -> f32 {
        self.in_flight() as f32 + self.phantoms(now, decay)
    }

    /// The phantoms of recent failures alone.
    #[inline]
    pub fn phantoms(&self, now: Stamp, decay: impl FnOnce() -> Decay) -> f32 {
        self.hot.phantoms.rest(now, decay)
    }

    /// Adds one phantom request.
    pub fn add_phantom(&self, now: Nanos, time_constant_s: f32) {
        self.hot.phantoms.add(1.0, now, time_constant_s);
    }

    /// The smoothed response time.
    pub fn smoothed(&self) -> &Smoothed {
        &self.hot.latency
    }

    /// The smoothed response time in seconds.
    pub fn smoothed_s(&self) -> Option<f32> {
        self.hot.latency.get()
    }

    /// Teaches a response time, and lets the latency threshold follow it.
    pub fn teach(&self, response_s: f32, threshold: &Threshold, now: Nanos) {
        self.hot.latency.record(response_s, now);
        self.weigh_latency(threshold);
    }

    /// Teaches a time only if it is longer than what is expected: how a failure or a cancelled request counts,
    /// whose own time says little when it was short.
    pub fn teach_at_least(&self, lasted_s: f32, threshold: &Threshold, now: Nanos) {
        if self.hot.latency.get().is_some_and(|expected| lasted_s > expected) {
            self.teach(lasted_s, threshold, now);
        }
    }

    /// Counts bytes of either direction.
    pub fn count_bytes(&self, bytes: usize, now: Nanos) {
        self.hot.bytes.add(bytes as f32, now, BYTES_TIME_CONSTANT_S);
    }

    /// The decaying byte rate.
    #[inline]
    pub fn bytes_per_second(&self, now: Stamp) -> f32 {
        self.hot.bytes.rest(now, || BYTES_DECAY) / BYTES_TIME_CONSTANT_S
    }

    /// Failures are no longer in a row: after a good attempt, or when they have led to an ejection.
    pub fn forget_failures(&self) {
        if self.failures_in_a_row.load(Ordering::Relaxed) != 0 {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a failed attempt and returns how many there were in a row.
    pub fn note_failure(&self) -> u32 {
        self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1
    }
}
