//! Probes, timed returns and slow starts: how endpoints leave and come back.

use super::{Member, Pool, View};
use crate::endpoint::Endpoint;
use crate::health::{Rules, Verdict};
use crate::policy::Policy;
use crate::reading::Live;
use crate::seeker::Seeker;
use crate::sync::Ordering;
use crate::time::Nanos;
use std::sync::Arc;

impl Pool {
    /// Lets a member's slow start begin: now, or when its drain ends. What it has to do with is said before the verdict
    /// is published that sends it requests.
    pub(super) fn begin(&self, member: &Member, now: Nanos) {
        member.endpoint.reported.begin();
        if member.draining {
            member.endpoint.start().begin_later();
        } else {
            member.endpoint.start().begin(now);
            self.note_start(now);
        }
    }

    pub(super) fn note_start(&self, at: Nanos) {
        if let Some(slow_start) = &self.slow_start {
            self.starting_until.fetch_max(at.plus(slow_start.window()).0, Ordering::Relaxed);
        }
    }

    pub(super) fn any_starting(&self, now: Nanos) -> bool {
        self.starting_until.load(Ordering::Relaxed) > now.0
    }

    /// The part of its weight that an endpoint has in its slow start; 1 when it is in none.
    pub fn start_factor(&self, endpoint: &Endpoint, now: Nanos) -> f32 {
        match (&self.slow_start, endpoint.start().at()) {
            (Some(slow_start), Some(at)) => slow_start.factor(now.since(at)),
            _ => 1.0,
        }
    }

    /// Takes in one probe; says whether the verdict changed.
    pub fn record_probe(self: &Arc<Self>, endpoint: &Endpoint, good: bool, said: String, now: Nanos) -> bool {
        let rules = Rules { rise: self.config.health.rise, fall: self.config.health.fall };
        let mut health = endpoint.health();
        let before = health.standing();
        health.record_probe(good, said, rules);
        let recovers = match before {
            Verdict::Down => health.standing() == Verdict::Healthy,
            // The first probe of an endpoint that joined others; those that began with the pool do so all at once.
            Verdict::Unknown => health.standing() == Verdict::Healthy && endpoint.start().at().is_some(),
            _ => false,
        };
        if recovers && let Some(member) = self.member_of(endpoint) {
            self.begin(member, now);
        }
        let changed = endpoint.publish(&health);
        drop(health);
        if changed {
            self.verdict_changed(endpoint, now);
        }
        changed
    }

    /// Ends the ejections whose time has come and wakes waiters for whatever has returned, of these and of the
    /// loads that fall by themselves. Called by the control thread every few tens of milliseconds. Returns the
    /// members whose ejection ended.
    pub fn tick(self: &Arc<Self>, now: Nanos) -> Vec<Member> {
        // Two changes at once may each derive what is accepted, and the older answer be written last.
        self.refresh();
        self.relearn(now);
        let mut returned = Vec::new();
        for member in &self.members {
            // What is ejected is down, whether or not it drains; the lock of the others is left alone.
            if member.endpoint.is_down() {
                let mut health = member.endpoint.health();
                if health.end_ejection(now) {
                    if health.standing() != Verdict::Down {
                        self.begin(member, now);
                    }
                    member.endpoint.publish(&health);
                    returned.push(member.clone());
                }
            }
        }
        if returned.is_empty() {
            // Loads that fell by themselves told nobody.
            self.enlist_idle(now);
            if !self.shared.queue.is_empty() {
                self.wake_waiters(now);
            }
        } else {
            self.verdicts_changed(now);
        }
        returned
    }

    /// The same as [`Pool::verdicts_changed`] where only one has: what it costs does not grow with the pool.
    pub(super) fn verdict_changed(self: &Arc<Self>, endpoint: &Endpoint, now: Nanos) {
        let Some(place) = self.place_of(endpoint) else { return self.verdicts_changed(now) };
        let member = &self.members[place];
        if self.refresh_one(place) {
            self.enlist_idle(now);
        } else if member.weight > 0
            && member.endpoint.in_flight() == 0
            && member.endpoint.accepted(self.levels[usize::from(member.level)].accept())
        {
            self.fell_idle(endpoint);
        }
        self.wake_waiters(now);
    }

    pub(super) fn verdicts_changed(self: &Arc<Self>, now: Nanos) {
        self.refresh();
        self.enlist_idle(now);
        self.wake_waiters(now);
    }

    /// The last request of an endpoint has ended.
    pub(crate) fn fell_idle(&self, endpoint: &Endpoint) {
        if matches!(self.policy(), Policy::JoinIdleQueue(_)) {
            self.shared.fell_idle(endpoint);
        }
    }

    /// Lets those join the idle ones that have returned or are new, and have had no request to say so.
    pub(super) fn enlist_idle(&self, now: Nanos) {
        if matches!(self.policy(), Policy::JoinIdleQueue(_)) {
            let seeker = Seeker::default();
            for (place, level) in self.levels.iter().enumerate() {
                let view = View::new(self, &Live, now, &seeker).at(place, level.accept());
                self.shared.rotation.idle.enlist(&view);
            }
        }
    }
}
