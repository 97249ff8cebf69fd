//! How a request gets an endpoint: the levels are asked in their order, the policy chooses, a slot is taken.

use super::levels::Plan;
use super::view::{Shift, View};
use super::{Level, Member, Pool};
use crate::endpoint::Endpoint;
use crate::learned::Table;
use crate::policy::Policy;
use crate::reading::{Live, Reading};
use crate::seeker::Seeker;
use crate::time::Nanos;
use rand::Rng;

/// Why a request got no endpoint, or which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// A slot of the member at this index is taken.
    Taken(usize),
    /// Some could serve it, but each is at its threshold. Said only after a scan.
    Full,
    /// None could serve it.
    Nobody,
}

impl Pool {
    /// For a newcomer: takes a slot unless others wait already, in which case it must line up behind them.
    pub fn admit(&self, now: Nanos, rng: &mut impl Rng, seeker: &Seeker) -> Pick {
        self.admit_by(&Live, now, rng, seeker)
    }

    /// The same for a balancer that knows what policies compare only as `reading` tells it.
    pub fn admit_by(&self, reading: &impl Reading, now: Nanos, rng: &mut impl Rng, seeker: &Seeker) -> Pick {
        if self.shared.queue.is_empty() { self.pick_by(reading, now, rng, seeker) } else { Pick::Full }
    }

    /// Chooses an endpoint and takes a slot of it.
    pub fn pick(&self, now: Nanos, rng: &mut impl Rng, seeker: &Seeker) -> Pick {
        self.pick_by(&Live, now, rng, seeker)
    }

    fn pick_by(&self, reading: &impl Reading, now: Nanos, rng: &mut impl Rng, seeker: &Seeker) -> Pick {
        if self.any_starting(now) {
            return self.pick_shifted(reading, now, rng, seeker);
        }
        let view = View::new(self, reading, now, seeker);
        // Most pools have one level and find someone in it: what follows costs as much as a pick.
        let [level] = &*self.levels else { return self.pick_among_levels(None, &view, rng) };
        let (accept, whole) = level.accept_and_whole();
        let view = View { accept, whole, ..view };
        match level.policy.pick(&view, &self.shared.rotation, rng) {
            Some(index) => Pick::Taken(index),
            None => self.pick_among_levels(Some(view.accept), &view, rng),
        }
    }

    /// The same while somebody is in slow start, and where weights have been learned.
    #[inline(never)]
    fn pick_shifted(&self, reading: &impl Reading, now: Nanos, rng: &mut impl Rng, seeker: &Seeker) -> Pick {
        let salt = rng.next_u64();
        let table = self.learned();
        let shift = Shift { salt, learned: table.as_deref() };
        let view = View { shift: Some(&shift), ..View::new(self, reading, now, seeker) };
        self.pick_among_levels(None, &view, rng)
    }

    /// The whole of a pick: a level is drawn, the others are asked, and the live verdicts are looked at. `asked` are the
    /// verdicts with which the only level has just had nobody.
    #[inline(never)]
    fn pick_among_levels(
        &self,
        mut asked: Option<u8>,
        view: &View<'_, impl Reading>,
        rng: &mut impl Rng,
    ) -> Pick {
        let mut plan = self.plan();
        loop {
            let first = self.draw_level(&plan, view.seeker, rng);
            // Where nobody of the level can take it, at its threshold or tried already, the others are asked in order.
            for level in std::iter::once(first).chain((0..self.levels.len()).filter(|&level| level != first))
            {
                let accept = plan.accept(level);
                if asked.take() == Some(accept) {
                    continue;
                }
                let policy =
                    policy_of(&self.levels[level], level, view.shift.and_then(|shift| shift.learned));
                if let Some(index) = policy.pick(&view.at(level, accept), &self.shared.rotation, rng) {
                    return Pick::Taken(index);
                }
            }
            // Verdicts may have changed since the plan was written: look at the live ones before saying no.
            let live = self.derive();
            if live == plan {
                let any = self.members.iter().any(|member| member.is_possible(&plan, view.seeker))
                    || self.session_with(view.seeker, Member::is_possible_for_session).is_some();
                return if any { Pick::Full } else { Pick::Nobody };
            }
            plan = live;
        }
    }

    /// Whether another endpoint than this one, and than those that are excluded, could take a request now.
    pub fn has_another(&self, endpoint: &Endpoint, seeker: &Seeker, now: Nanos) -> bool {
        let any = |plan: &Plan| {
            self.members.iter().any(|member| {
                member.endpoint.id() != endpoint.id()
                    && member.is_possible(plan, seeker)
                    && member.endpoint.eligible(plan.accept(member.level.into()), &self.threshold, now)
            })
        };
        // As in a pick: the live verdicts are looked at before it is said that there is none.
        self.shared.queue.is_empty() && (any(&self.plan()) || any(&self.derive()))
    }

    /// Whether those who have this endpoint are better off with another: it is down, and requests go to others now.
    pub fn has_given_up(&self, endpoint: &Endpoint) -> bool {
        endpoint.is_down()
            && self
                .member_of(endpoint)
                .is_none_or(|member| !endpoint.accepted(self.levels[usize::from(member.level)].accept()))
    }

    /// The index of the endpoint that the request's session is with, of whatever level, if that is in the pool, was not
    /// tried, and `may`, given the verdicts that its level accepts.
    pub(super) fn session_with(
        &self,
        seeker: &Seeker,
        may: impl FnOnce(&Member, u8) -> bool,
    ) -> Option<usize> {
        let index = self.sessions.as_ref()?.index(seeker.session?)?;
        let member = &self.members[index];
        let accept = self.levels[usize::from(member.level)].accept();
        (!seeker.excludes(member.endpoint.id()) && may(member, accept)).then_some(index)
    }
}

impl Member {
    /// Whether only a threshold can keep it from serving this request.
    fn is_possible(&self, plan: &Plan, seeker: &Seeker) -> bool {
        self.weight > 0
            && self.endpoint.accepted(plan.accept(self.level.into()))
            && !seeker.excludes(self.endpoint.id())
    }

    /// Whether only a threshold can keep it from serving a request of one of its own sessions.
    fn is_possible_for_session(&self, accept: u8) -> bool {
        self.endpoint.accepted_for_session(accept)
    }
}

/// The policy of a level, for the weights that were learned where there are any.
fn policy_of<'p>(level: &'p Level, place: usize, learned: Option<&'p Table>) -> &'p Policy {
    learned.map_or(&level.policy, |table| table.policy(place))
}
