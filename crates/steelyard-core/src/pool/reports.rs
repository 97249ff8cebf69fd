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

    /// The endpoints to be asked for their loads. Each must be followed by [`Pool::take_report`], however it ends.
    pub fn probes_wanted(&self) -> Vec<Member> {
        if !matches!(self.policy(), Policy::Prequal(_)) {
            return Vec::new();
        }
        let probes = &self.shared.rotation.probes;
        let member = |id| {
            let found = self.members.iter().find(|member| member.endpoint.id() == id);
            if found.is_none() {
                probes.over(id);
            }
            found.cloned()
        };
        probes.wanted().into_iter().filter_map(member).collect()
    }

    /// Takes in what an endpoint said that was asked for its load; `None` where it said nothing of use.
    pub fn take_report(&self, endpoint: &Endpoint, report: Option<Report>, now: Nanos) {
        let probes = &self.shared.rotation.probes;
        probes.over(endpoint.id());
        let level = self.member_of(endpoint).map_or(0, |member| usize::from(member.level));
        match (report, &self.levels[level].policy) {
            (Some(report), Policy::Prequal(rules)) => {
                endpoint.reporting.answered(report, now);
                probes.take_in(rules, endpoint.id(), endpoint.place(), report, now);
            }
            (None, Policy::Prequal(_)) => endpoint.reporting.missed(now),
            _ => {}
        }
    }
}
