//! What attempts teach: times, failures, and when failures in a row eject.

use super::{Outcome, PHANTOM_S_FIRST, PHANTOM_S_MAX, PHANTOM_S_MIN, Pool};
use crate::document::Load;
use crate::endpoint::Endpoint;
use crate::health::FAILURES_TO_EJECT;
use crate::load::{Decay, Stamp, Times};
use crate::policy::Policy;
use crate::time::Nanos;
use std::sync::Arc;

impl Pool {
    /// Takes in the response head of an attempt, or its failure. `lasted` runs from the request sent.
    pub fn learn(self: &Arc<Self>, endpoint: &Endpoint, outcome: Outcome, lasted: Option<Nanos>, now: Nanos) {
        self.learn_into(&self.shared.times, endpoint, outcome, lasted, now);
        match outcome {
            Outcome::Success => endpoint.forget_failures(),
            Outcome::Failure(how) => {
                if matches!(self.policy(), Policy::Prequal(_)) {
                    self.shared.rotation.probes.forget(endpoint.id());
                }
                self.count_failure(endpoint, how, now);
            }
            Outcome::Cancelled => {}
        }
    }

    /// The part of it that policies compare, for whoever keeps that of its own: a simulated balancer that learns late.
    pub fn learn_into(
        &self,
        times: &Times,
        endpoint: &Endpoint,
        outcome: Outcome,
        lasted: Option<Nanos>,
        now: Nanos,
    ) {
        if self.config.policy.score.is_some() && outcome != Outcome::Cancelled {
            endpoint.errors.record(f32::from(outcome != Outcome::Success), now);
        }
        match (outcome, lasted.map(Nanos::as_secs_f32)) {
            (Outcome::Success, Some(lasted_s)) => self.teach_into(times, endpoint, lasted_s, now),
            (Outcome::Failure(_), lasted_s) => {
                endpoint.add_phantom(now, times.phantom_s());
                self.shared.note_phantom(now);
                if self.compares_times() {
                    // However fast it failed, and though nobody has succeeded yet: never a reason to be chosen again.
                    let tail_s = times.tail.get().unwrap_or_else(|| times.usual_s());
                    let counted_s = tail_s.max(lasted_s.unwrap_or(0.0));
                    endpoint.teach(counted_s, &self.threshold, now);
                    self.teach_peak(endpoint, counted_s, now);
                } else if let Some(lasted_s) = lasted_s {
                    endpoint.teach_at_least(lasted_s, &self.threshold, now);
                }
            }
            (Outcome::Cancelled, Some(lasted_s)) => endpoint.teach_at_least(lasted_s, &self.threshold, now),
            (Outcome::Success | Outcome::Cancelled, None) => {}
        }
    }

    /// Takes in how long a good response's head took, while its end is still to come: only that makes it a success.
    pub fn teach(&self, endpoint: &Endpoint, lasted_s: f32, now: Nanos) {
        self.teach_into(&self.shared.times, endpoint, lasted_s, now);
    }

    /// The same for whoever keeps the times of its own.
    pub fn teach_into(&self, times: &Times, endpoint: &Endpoint, lasted_s: f32, now: Nanos) {
        endpoint.teach(lasted_s, &self.threshold, now);
        times.success.record(lasted_s, now);
        if self.compares_times() {
            times.tail.record(lasted_s);
            self.teach_peak(endpoint, lasted_s, now);
        }
    }

    pub(super) fn teach_peak(&self, endpoint: &Endpoint, lasted_s: f32, now: Nanos) {
        if matches!(self.policy(), Policy::PeakEwma(_)) {
            endpoint.peak().record(lasted_s, Stamp::of(now), self.peak_decay);
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
        self.verdict_changed(endpoint, now);
    }
}

impl Times {
    /// How long a good request takes in this pool; a guess before there was one.
    #[inline]
    pub(super) fn usual_s(&self) -> f32 {
        self.success.get().unwrap_or(PHANTOM_S_FIRST)
    }

    /// How phantoms decay: over the time that a good request takes here.
    #[inline]
    pub(super) fn phantom_decay(&self) -> Decay {
        Decay::over(self.phantom_s())
    }

    #[inline]
    fn phantom_s(&self) -> f32 {
        self.usual_s().clamp(PHANTOM_S_MIN, PHANTOM_S_MAX)
    }
}
