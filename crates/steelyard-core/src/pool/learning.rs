//! What attempts teach: times, failures, and when failures in a row eject.

use super::{Outcome, PEAK_DECAY_S, PHANTOM_S_FIRST, PHANTOM_S_MAX, PHANTOM_S_MIN, Pool};
use crate::document::Load;
use crate::endpoint::Endpoint;
use crate::health::FAILURES_TO_EJECT;
use crate::policy::Policy;
use crate::time::Nanos;
use std::sync::Arc;

impl Pool {
    /// Takes in the response head of an attempt, or its failure. `lasted` runs from the request sent.
    pub fn learn(self: &Arc<Self>, endpoint: &Endpoint, outcome: Outcome, lasted: Option<Nanos>, now: Nanos) {
        if self.config.policy.score.is_some() && outcome != Outcome::Cancelled {
            endpoint.errors.record(f32::from(outcome != Outcome::Success), now);
        }
        match (outcome, lasted.map(Nanos::as_secs_f32)) {
            (Outcome::Success, lasted_s) => {
                endpoint.forget_failures();
                if let Some(lasted_s) = lasted_s {
                    self.teach(endpoint, lasted_s, now);
                }
            }
            (Outcome::Failure(how), lasted_s) => {
                endpoint.add_phantom(now, self.phantom_s());
                if matches!(self.policy(), Policy::Prequal(_)) {
                    self.shared.rotation.probes.forget(endpoint.id());
                }
                if self.compares_times() {
                    // However fast it failed: never a reason to be chosen again.
                    let counted_s = self.shared.tail.get().unwrap_or(0.0).max(lasted_s.unwrap_or(0.0));
                    endpoint.teach(counted_s, &self.threshold, now);
                    self.teach_peak(endpoint, counted_s, now);
                } else if let Some(lasted_s) = lasted_s {
                    endpoint.teach_at_least(lasted_s, &self.threshold, now);
                }
                self.count_failure(endpoint, how, now);
            }
            (Outcome::Cancelled, Some(lasted_s)) => endpoint.teach_at_least(lasted_s, &self.threshold, now),
            (Outcome::Cancelled, None) => {}
        }
    }

    /// Takes in how long a good response's head took, while its end is still to come: only that makes it a success.
    pub fn teach(&self, endpoint: &Endpoint, lasted_s: f32, now: Nanos) {
        endpoint.teach(lasted_s, &self.threshold, now);
        self.shared.success.record(lasted_s, now);
        if self.compares_times() {
            self.shared.tail.record(lasted_s);
            self.teach_peak(endpoint, lasted_s, now);
        }
    }

    pub(super) fn teach_peak(&self, endpoint: &Endpoint, lasted_s: f32, now: Nanos) {
        if matches!(self.policy(), Policy::PeakEwma(_)) {
            endpoint.peak.record(lasted_s, now, self.decay_s());
        }
    }

    /// Whether the policy goes by how long endpoints take.
    pub(super) fn compares_times(&self) -> bool {
        match self.policy() {
            _ if self.config.policy.score.is_some() => true,
            Policy::PeakEwma(_) | Policy::LeastTime(_) | Policy::Prequal(_) => true,
            Policy::LeastLoad(_) => self.config.load == Load::Latency,
            _ => false,
        }
    }

    /// The time constant of peaks.
    pub(super) fn decay_s(&self) -> f32 {
        self.config.policy.decay_ms.map_or(PEAK_DECAY_S, |ms| ms as f32 / 1e3)
    }

    /// How long an endpoint takes; where it has not answered yet, or not for long, what the pool takes; a guess before
    /// anyone has.
    pub(super) fn expected_s(&self, endpoint: &Endpoint, now: Nanos) -> f32 {
        let usual_s = self.shared.success.get().unwrap_or(PHANTOM_S_FIRST);
        endpoint.smoothed().fading(usual_s, now).unwrap_or(usual_s)
    }

    /// Ejects at the last of so many failures in a row. What fails while it is ejected (requests that were under way,
    /// and all when the pool fails open) counts for nothing, so that an endpoint returns with a clean sheet.
    pub(super) fn count_failure(self: &Arc<Self>, endpoint: &Endpoint, how: &'static str, now: Nanos) {
        let mut health = endpoint.health();
        if health.is_ejected() || endpoint.note_failure() < FAILURES_TO_EJECT {
            return;
        }
        endpoint.forget_failures();
        health.eject(how, now);
        endpoint.publish(&health);
        drop(health);
        self.verdicts_changed(now);
    }

    /// The time constant of phantoms: how long a good request takes here.
    pub(super) fn phantom_s(&self) -> f32 {
        self.shared.success.get().unwrap_or(PHANTOM_S_FIRST).clamp(PHANTOM_S_MIN, PHANTOM_S_MAX)
    }
}
