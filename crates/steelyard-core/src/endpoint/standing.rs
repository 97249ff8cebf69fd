//! Whether it may take requests: its verdict and its thresholds, in one word of flags.

use super::{Endpoint, Over, Threshold};
use crate::health::{Health, Verdict};
use crate::load::Stamp;
use crate::sync::{MutexGuard, Ordering, lock};
use crate::time::Nanos;

/// A load that was over its threshold lets go below this share of it.
const RETURN_SHARE: f32 = 0.8;

const VERDICT: u32 = 0b11;
pub(super) const LATENCY_OUT: u32 = 0b100;
const BYTES_OUT: u32 = 0b1000;
/// Unhealthy or ejected, which the verdict of a drained endpoint does not tell.
const DOWN: u32 = 0b1_0000;

impl Endpoint {
    /// Whether a verdict in `accept` (a bit for each [`Verdict`]) and every threshold let it take a request.
    #[expect(
        clippy::inline_always,
        reason = "scans come by here for everybody, and a call costs as much again"
    )]
    #[inline(always)]
    pub fn eligible(&self, accept: u8, threshold: &Threshold, now: Nanos) -> bool {
        let flags = self.hot.flags.load(Ordering::Relaxed);
        accept & (1 << (flags & VERDICT)) != 0
            && self.in_flight() < threshold.requests
            // Most endpoints have no other threshold.
            && (threshold.requests_only() || self.is_below(flags, threshold, now))
    }

    /// Whether it is below the thresholds of time and of bytes.
    #[inline(never)]
    fn is_below(&self, flags: u32, threshold: &Threshold, now: Nanos) -> bool {
        if threshold.latency_s.is_finite()
            && flags & LATENCY_OUT != 0
            && !self.trial_is_due(now, self.trial.load(Ordering::Relaxed))
        {
            return false;
        }
        !(threshold.bytes_per_second.is_finite() && self.over_bytes(flags, threshold.bytes_per_second, now))
    }

    /// The verdicts that let it take the requests of its own sessions: those in `accept`, and its own while it is
    /// drained and nothing else is wrong with it.
    fn accept_of_sessions(&self, accept: u8) -> u8 {
        let flags = self.hot.flags.load(Ordering::Relaxed);
        let drained = flags & (VERDICT | DOWN) == Verdict::Draining as u32;
        if drained { accept | 1 << Verdict::Draining as u8 } else { accept }
    }

    /// Like [`Endpoint::eligible`], for the requests of its own sessions.
    pub fn eligible_for_session(&self, accept: u8, threshold: &Threshold, now: Nanos) -> bool {
        self.eligible(self.accept_of_sessions(accept), threshold, now)
    }

    /// Like [`Endpoint::accepted`], for the requests of its own sessions.
    pub fn accepted_for_session(&self, accept: u8) -> bool {
        self.accepted(self.accept_of_sessions(accept))
    }

    /// Whether it is unhealthy or ejected, drained or not.
    pub fn is_down(&self) -> bool {
        self.hot.flags.load(Ordering::Relaxed) & DOWN != 0
    }

    /// Whether its verdict is in `accept`.
    pub fn accepted(&self, accept: u8) -> bool {
        accept & (1 << (self.hot.flags.load(Ordering::Relaxed) & VERDICT)) != 0
    }

    fn over_bytes(&self, flags: u32, threshold: f32, now: Nanos) -> bool {
        let rate = self.bytes_per_second(Stamp::of(now));
        let out = if flags & BYTES_OUT == 0 { rate >= threshold } else { rate >= threshold * RETURN_SHARE };
        self.set_flag(BYTES_OUT, out);
        out
    }

    fn set_flag(&self, flag: u32, on: bool) {
        let flags = self.hot.flags.load(Ordering::Relaxed);
        if (flags & flag != 0) == on {
            return;
        }
        if on {
            self.hot.flags.fetch_or(flag, Ordering::Relaxed);
        } else {
            self.hot.flags.fetch_and(!flag, Ordering::Relaxed);
        }
    }

    /// The load that keeps it out of the rotation now, for people to read.
    pub fn over(&self, threshold: &Threshold, now: Nanos) -> Option<Over> {
        let flags = self.hot.flags.load(Ordering::Relaxed);
        if self.in_flight() >= threshold.requests {
            Some(Over::Requests)
        } else if flags & LATENCY_OUT != 0 && threshold.latency_s.is_finite() {
            Some(Over::Latency)
        } else if threshold.bytes_per_second.is_finite()
            && self.over_bytes(flags, threshold.bytes_per_second, now)
        {
            Some(Over::BytesPerSecond)
        } else {
            None
        }
    }

    /// Compares the smoothed time with the threshold, which may have changed.
    pub fn weigh_latency(&self, threshold: &Threshold) {
        let smoothed = if threshold.latency_s.is_finite() { self.hot.latency.get() } else { None };
        let Some(smoothed) = smoothed else { return self.set_flag(LATENCY_OUT, false) };
        if smoothed > threshold.latency_s {
            self.set_flag(LATENCY_OUT, true);
        } else if smoothed < threshold.latency_s * RETURN_SHARE {
            self.set_flag(LATENCY_OUT, false);
        }
    }

    /// Its health, locked; a change of verdict is published when [`Endpoint::publish`] is called with it.
    pub fn health(&self) -> MutexGuard<'_, Health> {
        lock(&self.health)
    }

    /// Makes the verdict visible to every pick; says whether it changed.
    pub fn publish(&self, health: &Health) -> bool {
        let verdict = health.verdict() as u32;
        let down = if health.is_down() { DOWN } else { 0 };
        let mut before = self.hot.flags.load(Ordering::Relaxed);
        while let Err(seen) = self.hot.flags.compare_exchange_weak(
            before,
            before & !(VERDICT | DOWN) | verdict | down,
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            before = seen;
        }
        before & VERDICT != verdict
    }

    /// The verdict that picks see.
    pub fn verdict(&self) -> Verdict {
        Verdict::from_bits(self.hot.flags.load(Ordering::Relaxed) & VERDICT)
    }
}
