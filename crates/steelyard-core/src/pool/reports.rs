//! The loads that endpoints report of themselves.

use super::{Member, Pool};
use crate::endpoint::Endpoint;
use crate::policy::Policy;
use crate::report::Report;
use crate::time::Nanos;

impl Pool {
    /// Whether endpoints are to be asked for their loads and nobody has been told so yet: whoever is, takes up
    /// [`Pool::probes_wanted`].
    pub fn calls_for_probes(&self) -> bool {
        matches!(self.policy(), Policy::Prequal(_)) && self.shared.rotation.probes.calls()
    }

    /// The endpoints to be asked for their loads. Each must be followed by [`Pool::take_report`] or
    /// [`Pool::put_question_off`], however it ends.
    pub fn probes_wanted(&self) -> Vec<Member> {
        if !matches!(self.policy(), Policy::Prequal(_)) {
            return Vec::new();
        }
        let probes = &self.shared.rotation.probes;
        let member = |(id, place): (u32, usize)| {
            let is_here = |member: &&Member| member.endpoint.id() == id;
            let found = self.members.get(place).filter(is_here);
            let found = found.or_else(|| self.members.iter().find(is_here));
            if found.is_none() {
                probes.over(id);
            }
            found.cloned()
        };
        probes.wanted().into_iter().filter_map(member).collect()
    }

    /// Takes in what an endpoint said that was asked for its load; `None` where it said nothing of use.
    pub fn take_report(&self, endpoint: &Endpoint, report: Option<Report>, now: Nanos) {
        let (probes, id) = (&self.shared.rotation.probes, endpoint.id());
        let place = self.place_of(endpoint);
        let level = place.map_or(0, |place| usize::from(self.members[place].level));
        if let (Some(report), Policy::Prequal(rules)) = (report, &self.levels[level].policy) {
            endpoint.reporting.answered(report, now);
            let takes_requests = |&place: &usize| self.members[place].weight > 0;
            let seated = place.filter(takes_requests).map(|_| self.generation);
            return probes.answered(rules, id, (place.unwrap_or(endpoint.place()), seated), report, now);
        }
        probes.over(id);
        if matches!(self.policy(), Policy::Prequal(_)) {
            endpoint.reporting.missed(now);
        }
    }

    /// An endpoint has not been asked after all, for a reason that says nothing about it.
    pub fn put_question_off(&self, endpoint: &Endpoint) {
        self.shared.rotation.probes.over(endpoint.id());
    }
}
