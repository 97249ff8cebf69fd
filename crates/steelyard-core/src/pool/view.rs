//! The members as a policy sees them, for one request at one moment.

use super::{Member, Pool, UNANSWERED_S};
use crate::document::Load;
use crate::endpoint::Endpoint;
use crate::learned::Table;
use crate::policy::{Candidates, Facts, Reads, Source};
use crate::random::mix;
use crate::reading::Reading;
use crate::report::Report;
use crate::seeker::Seeker;
use crate::time::Nanos;

/// A smaller rate of failures counts as none: a rest of what was long ago would decide among all that are idle.
const NEGLIGIBLE_RATE: f32 = 0.001;

/// The members as a policy sees them, for one request at one moment.
pub(super) struct View<'a, R> {
    pub pool: &'a Pool,
    pub reading: &'a R,
    pub now: Nanos,
    pub seeker: &'a Seeker,
    pub level: u8,
    pub accept: u8,
    /// What chance draws from for those in slow start; `None` when nobody is and no weights have been learned.
    pub salt: Option<u64>,
    /// Looked at only where there is a salt.
    pub learned: Option<&'a Table>,
}

impl<R: Reading> View<'_, R> {
    fn member(&self, index: usize) -> &Member {
        &self.pool.members[index]
    }

    /// An endpoint as it is known.
    fn known<'v>(&'v self, member: &'v Member) -> &'v Endpoint {
        self.reading.endpoint(&member.endpoint)
    }

    /// The moment of which that tells.
    fn moment(&self) -> Nanos {
        self.reading.moment(self.now)
    }

    fn phantom_s(&self) -> f32 {
        self.reading.times(&self.pool.shared.times).phantom_s()
    }

    fn expected_s(&self, member: &Member) -> f32 {
        self.reading.times(&self.pool.shared.times).expected_s(self.known(member), self.moment())
    }

    fn known_s(&self, member: &Member) -> Option<f32> {
        self.reading.times(&self.pool.shared.times).known_s(self.known(member), self.moment())
    }

    fn burden(&self, member: &Member) -> f32 {
        self.known(member).burden(self.moment(), || self.phantom_s())
    }

    /// 1 / the weight that counts now. One that is idle and in slow start is compared at its whole weight in as many
    /// cases as its factor says: otherwise it would get nothing as long as any other is idle too.
    fn inverse_weight(&self, index: usize, is_idle: bool) -> f32 {
        let member = self.member(index);
        let Some(salt) = self.salt else { return member.inverse_weight };
        let inverse_weight = self.learned.map_or(member.inverse_weight, |table| table.weight(index).inverse);
        let factor = self.pool.start_factor(&member.endpoint, self.now);
        if factor >= 1.0 || is_idle && mix(salt ^ u64::from(member.endpoint.id())) < factor {
            return inverse_weight;
        }
        inverse_weight / factor
    }

    /// The weight but for slow start, learned or configured.
    fn weight_in_force(&self, index: usize) -> f32 {
        self.learned.map_or(self.member(index).weight as f32, |table| table.weight(index).weight)
    }

    /// It fades as times do: who is asked no more could never show that it has recovered.
    fn error_rate(&self, member: &Member) -> f64 {
        let rate = self.known(member).errors.fading(|| 0.0, self.moment()).unwrap_or(0.0);
        if rate < NEGLIGIBLE_RATE { 0.0 } else { f64::from(rate) }
    }

    fn is_eligible(&self, member: &Member) -> bool {
        member.weight > 0
            && member.level == self.level
            && member.endpoint.eligible(self.accept, &self.pool.threshold, self.now)
            && !self.seeker.excludes(member.endpoint.id())
    }
}

impl<R: Reading> Candidates for View<'_, R> {
    fn len(&self) -> usize {
        self.pool.members.len()
    }

    fn id(&self, index: usize) -> u32 {
        self.member(index).endpoint.id()
    }

    fn weight(&self, index: usize) -> u32 {
        match self.learned {
            Some(table) => table.weight(index).parts,
            None => self.member(index).weight,
        }
    }

    fn eligible(&self, index: usize) -> bool {
        self.is_eligible(self.member(index))
    }

    fn factor(&self, index: usize) -> f32 {
        if self.salt.is_none() {
            return 1.0;
        }
        self.pool.start_factor(&self.member(index).endpoint, self.now)
    }

    fn cost(&self, index: usize) -> f32 {
        let member = self.member(index);
        let burden = self.burden(member);
        (1.0 + burden) * self.inverse_weight(index, burden <= 0.0)
    }

    fn cost_if_eligible(&self, index: usize) -> Option<f32> {
        self.is_eligible(self.member(index)).then(|| self.cost(index))
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.known(self.member(index)).in_flight()
    }

    fn excluded(&self, index: usize) -> bool {
        let member = self.member(index);
        member.level != self.level || self.seeker.excludes(member.endpoint.id())
    }

    fn phantoms(&self, index: usize) -> f32 {
        self.known(self.member(index)).phantoms(self.moment(), || self.phantom_s())
    }

    fn source(&self, index: usize) -> Source {
        let member = self.member(index);
        let endpoint = &member.endpoint;
        if !endpoint.reporting.is_silent() {
            return Source::Reports;
        }
        let estimate =
            Report { in_flight: self.known(member).in_flight(), latency_s: self.expected_s(member) };
        Source::Silent { estimate, ask: endpoint.reporting.is_due(self.now) }
    }

    fn load(&self, index: usize) -> f32 {
        let member = self.member(index);
        let inverse_weight = || self.inverse_weight(index, self.known(member).in_flight() == 0);
        match self.pool.config.load {
            Load::Requests => self.cost(index),
            Load::Latency => self.expected_s(member) * inverse_weight(),
            Load::Reported => {
                let burden = self.burden(member);
                self.pool.reported_load(self.known(member), burden, self.moment()) * inverse_weight()
            }
            // One that has sent nothing yet costs nothing, whatever its weight: in slow start it has to let requests
            // pass as where turns are taken.
            Load::Bytes if self.salt.is_some_and(|salt| !self.starts(index, salt)) => f32::MAX,
            Load::Bytes => self.known(member).bytes_per_second(self.moment()) * inverse_weight(),
        }
    }

    fn time_cost(&self, index: usize) -> f32 {
        let member = self.member(index);
        let in_flight = self.known(member).in_flight();
        let inverse_weight = self.inverse_weight(index, in_flight == 0);
        self.expected_s(member) * (1.0 + in_flight as f32) * inverse_weight
    }

    fn peak_cost(&self, index: usize) -> f32 {
        let member = self.member(index);
        let pending = self.known(member).in_flight() as f32;
        let mut peak = self.known(member).peak.look(self.moment(), self.pool.decay_s());
        if peak <= 0.0 && self.factor(index) < 1.0 {
            // Finagle's 0 for one that nobody has heard of would undo a slow start.
            peak = self.expected_s(member);
        }
        let cost = if peak <= 0.0 && pending > 0.0 { UNANSWERED_S + pending } else { peak * (pending + 1.0) };
        cost * self.inverse_weight(index, pending <= 0.0)
    }

    fn facts(&self, index: usize, reads: Reads) -> Facts {
        let member = self.member(index);
        let known = self.known(member);
        Facts {
            in_flight: f64::from(self.burden(member)),
            latency: reads.then(Reads::LATENCY, || self.known_s(member).map_or(0.0, f64::from)),
            error_rate: reads.then(Reads::ERROR_RATE, || self.error_rate(member)),
            weight: f64::from(self.weight_in_force(index)) * f64::from(self.factor(index)),
            bytes_per_second: reads
                .then(Reads::BYTES_PER_SECOND, || f64::from(known.bytes_per_second(self.moment()))),
            age: reads.then(Reads::AGE, || member.endpoint.age_s(self.now)),
            zone_match: f64::from(u8::from(member.is_near)),
        }
    }

    fn session(&self) -> Option<usize> {
        self.pool.session_with(self.seeker, |member, accept| {
            member.endpoint.eligible_for_session(accept, &self.pool.threshold, self.now)
        })
    }

    fn key(&self) -> Option<u64> {
        self.seeker.key
    }

    fn take(&self, index: usize) -> bool {
        self.member(index).endpoint.take(&self.pool.threshold, self.now)
    }

    fn take_idle(&self, index: usize) -> bool {
        self.member(index).endpoint.take_idle(&self.pool.threshold, self.now)
    }

    fn now(&self) -> Nanos {
        self.now
    }

    fn generation(&self) -> u64 {
        self.pool.generation
    }
}
