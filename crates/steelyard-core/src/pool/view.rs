//! The members as a policy sees them, for one request at one moment.

use super::{Member, Pool, UNANSWERED_S};
use crate::document::Load;
use crate::endpoint::{Endpoint, Threshold};
use crate::learned::Table;
use crate::load::{Stamp, Times};
use crate::policy::{Candidates, Facts, Reads, Source};
use crate::random::mix;
use crate::reading::Reading;
use crate::report::Report;
use crate::seeker::Seeker;
use crate::time::Nanos;
use std::ops::Range;
use std::sync::Arc;

/// A smaller rate of failures counts as none: a rest of what was long ago would decide among all that are idle.
const NEGLIGIBLE_RATE: f32 = 0.001;

/// The level of those that take no new requests.
const NOWHERE: u8 = u8::MAX;

/// What picks read of one member, side by side: a scan walks along these and the endpoints, and nothing else.
#[derive(Debug)]
pub(super) struct Seat {
    endpoint: Arc<Endpoint>,
    id: u32,
    weight: u32,
    /// 1 / weight.
    inverse_weight: f32,
    level: u8,
    /// The level, or [`NOWHERE`] with a weight of 0.
    serves: u8,
    is_near: bool,
}

impl Seat {
    pub fn of(member: &Member) -> Self {
        let weight = member.weight;
        Self {
            endpoint: Arc::clone(&member.endpoint),
            id: member.endpoint.id(),
            weight,
            inverse_weight: if weight == 0 { f32::INFINITY } else { 1.0 / weight as f32 },
            level: member.level,
            serves: if weight == 0 { NOWHERE } else { member.level },
            is_near: member.is_near,
        }
    }
}

/// What moves the weights: while anybody is in slow start, or once weights have been learned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shift<'a> {
    /// What chance draws from for those in slow start.
    pub salt: u64,
    pub learned: Option<&'a Table>,
}

/// The members as a policy sees them, for one request at one moment. Small: it is written down for each pick.
#[derive(Debug)]
pub(super) struct View<'a, R> {
    pub pool: &'a Pool,
    pub reading: &'a R,
    pub now: Nanos,
    pub seeker: &'a Seeker,
    /// `None` where weights are as they are configured, which is nearly always.
    pub shift: Option<&'a Shift<'a>>,
    pub level: u8,
    pub accept: u8,
    /// Whether it is the only level, and the verdicts of all that take new requests are accepted.
    pub whole: bool,
}

impl<R> Clone for View<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for View<'_, R> {}

impl<'a, R: Reading> View<'a, R> {
    /// Of the first level, which accepts nobody yet.
    pub fn new(pool: &'a Pool, reading: &'a R, now: Nanos, seeker: &'a Seeker) -> Self {
        Self { pool, reading, now, seeker, shift: None, level: 0, accept: 0, whole: false }
    }

    /// The same of another level, with the verdicts that it accepts.
    pub fn at(&self, level: usize, accept: u8) -> Self {
        Self { level: level as u8, accept, whole: false, ..*self }
    }

    fn learned(&self) -> Option<&'a Table> {
        self.shift.and_then(|shift| shift.learned)
    }

    #[inline]
    fn seat(&self, index: usize) -> &'a Seat {
        &self.pool.seats[index]
    }

    /// The moment of which the reading tells.
    #[inline]
    fn moment(&self) -> Stamp {
        Stamp::of(self.reading.moment(self.now))
    }

    #[inline]
    fn times(&self) -> &Times {
        self.reading.times(&self.pool.shared.times)
    }

    /// An endpoint as it is known.
    #[inline]
    fn known(&self, index: usize) -> &Endpoint {
        self.reading.endpoint(&self.seat(index).endpoint)
    }

    #[inline]
    fn burden(&self, index: usize) -> f32 {
        self.known(index).burden(self.moment(), || self.times().phantom_decay())
    }

    /// How long it takes; `None` where it has not answered yet. What was long ago fades towards what the pool takes.
    #[inline]
    fn known_s(&self, index: usize) -> Option<f32> {
        self.known(index).smoothed().fading(|| self.times().usual_s(), self.moment())
    }

    /// The same, with what the pool takes where it has not answered yet, and a guess before anyone has.
    #[inline]
    fn expected_s(&self, index: usize) -> f32 {
        self.known_s(index).unwrap_or_else(|| self.times().usual_s())
    }

    /// 1 / the weight that counts now.
    #[inline]
    fn inverse_weight(&self, index: usize, is_idle: bool) -> f32 {
        match self.shift {
            None => self.seat(index).inverse_weight,
            Some(shift) => self.inverse_weight_now(index, is_idle, shift),
        }
    }

    /// The same while weights change. One that is idle and in slow start is compared at its whole weight in as many cases
    /// as its factor says: otherwise it would get nothing as long as any other is idle too.
    #[inline(never)]
    fn inverse_weight_now(&self, index: usize, is_idle: bool, shift: &Shift<'_>) -> f32 {
        let seat = self.seat(index);
        let inverse_weight = shift.learned.map_or(seat.inverse_weight, |table| table.weight(index).inverse);
        let factor = self.pool.start_factor(&seat.endpoint, self.now);
        if factor >= 1.0 || is_idle && mix(shift.salt ^ u64::from(seat.id)) < factor {
            return inverse_weight;
        }
        inverse_weight / factor
    }

    /// The weight but for slow start, learned or configured.
    #[inline]
    fn weight_in_force(&self, index: usize) -> f32 {
        self.learned().map_or(self.seat(index).weight as f32, |table| table.weight(index).weight)
    }

    /// It fades as times do: who is asked no more could never show that it has recovered.
    fn error_rate(&self, index: usize) -> f64 {
        let rate = self.known(index).errors.fading(|| 0.0, self.moment()).unwrap_or(0.0);
        if rate < NEGLIGIBLE_RATE { 0.0 } else { f64::from(rate) }
    }
}

impl<R: Reading> Candidates for View<'_, R> {
    #[inline]
    fn len(&self) -> usize {
        self.pool.seats.len()
    }

    #[inline]
    fn id(&self, index: usize) -> u32 {
        self.seat(index).id
    }

    #[inline]
    fn weight(&self, index: usize) -> u32 {
        match self.learned() {
            Some(table) => table.weight(index).parts,
            None => self.seat(index).weight,
        }
    }

    #[expect(
        clippy::inline_always,
        reason = "scans come by here for everybody, and a call costs as much again"
    )]
    #[inline(always)]
    fn eligible(&self, index: usize) -> bool {
        let seat = self.seat(index);
        seat.serves == self.level
            && seat.endpoint.eligible(self.accept, &self.pool.threshold, self.now)
            && !self.seeker.excludes(seat.id)
    }

    #[inline]
    fn factor(&self, index: usize) -> f32 {
        if self.shift.is_none() {
            return 1.0;
        }
        self.pool.start_factor(&self.seat(index).endpoint, self.now)
    }

    #[inline]
    fn all_serve(&self) -> bool {
        self.whole
            && self.shift.is_none()
            && self.pool.threshold == Threshold::OFF
            && self.seeker.excludes_none()
            && self.pool.shared.phantoms_gone(self.reading.moment(self.now))
    }

    #[inline]
    fn any_starts(&self) -> bool {
        self.shift.is_some()
    }

    #[inline]
    fn cost(&self, index: usize) -> f32 {
        let burden = self.burden(index);
        (1.0 + burden) * self.inverse_weight(index, burden <= 0.0)
    }

    #[inline]
    fn plain_cost(&self, index: usize) -> Option<f32> {
        let seat = self.seat(index);
        (seat.weight > 0).then(|| (1.0 + self.known(index).in_flight() as f32) * seat.inverse_weight)
    }

    #[inline]
    fn look_at(&self, indices: Range<usize>, mut look: impl FnMut(&Self, usize)) {
        // A copy that nobody else can see stays in registers.
        let view = *self;
        indices.for_each(|index| look(&view, index));
    }

    #[inline]
    fn in_flight(&self, index: usize) -> u32 {
        self.known(index).in_flight()
    }

    fn excluded(&self, index: usize) -> bool {
        let seat = self.seat(index);
        seat.level != self.level || self.seeker.excludes(seat.id)
    }

    #[inline]
    fn phantoms(&self, index: usize) -> f32 {
        self.known(index).phantoms(self.moment(), || self.times().phantom_decay())
    }

    #[inline]
    fn source(&self, index: usize) -> Source {
        let reporting = &self.seat(index).endpoint.reporting;
        if !reporting.is_silent() {
            return Source::Reports;
        }
        let estimate = Report { in_flight: self.known(index).in_flight(), latency_s: self.expected_s(index) };
        Source::Silent { estimate, ask: reporting.is_due(self.now) }
    }

    #[inline]
    fn measure(&self) -> Load {
        self.pool.config.load
    }

    fn latency_load(&self, index: usize) -> f32 {
        self.expected_s(index) * self.inverse_weight(index, self.in_flight(index) == 0)
    }

    fn reported_load(&self, index: usize) -> f32 {
        let load = self.pool.reported_load(self.known(index), self.burden(index), self.moment());
        load * self.inverse_weight(index, self.in_flight(index) == 0)
    }

    fn bytes_load(&self, index: usize) -> f32 {
        // One that has sent nothing yet costs nothing, whatever its weight: in slow start it has to let requests pass as
        // where turns are taken.
        if self.shift.is_some_and(|shift| !self.starts(index, shift.salt)) {
            return f32::MAX;
        }
        self.known(index).bytes_per_second(self.moment())
            * self.inverse_weight(index, self.in_flight(index) == 0)
    }

    #[inline]
    fn time_cost(&self, index: usize) -> f32 {
        let in_flight = self.in_flight(index);
        let inverse_weight = self.inverse_weight(index, in_flight == 0);
        self.expected_s(index) * (1.0 + in_flight as f32) * inverse_weight
    }

    #[inline]
    fn peak_cost(&self, index: usize) -> f32 {
        let pending = self.in_flight(index) as f32;
        let mut peak = self.known(index).peak().look(self.moment(), self.pool.peak_decay);
        if peak <= 0.0 && self.factor(index) < 1.0 {
            // Finagle's 0 for one that nobody has heard of would undo a slow start.
            peak = self.expected_s(index);
        }
        let cost = if peak <= 0.0 && pending > 0.0 { UNANSWERED_S + pending } else { peak * (pending + 1.0) };
        cost * self.inverse_weight(index, pending <= 0.0)
    }

    #[inline]
    fn facts(&self, index: usize, reads: Reads) -> Facts {
        let seat = self.seat(index);
        Facts {
            in_flight: f64::from(self.burden(index)),
            latency: reads.then(Reads::LATENCY, || self.known_s(index).map_or(0.0, f64::from)),
            error_rate: reads.then(Reads::ERROR_RATE, || self.error_rate(index)),
            weight: f64::from(self.weight_in_force(index)) * f64::from(self.factor(index)),
            bytes_per_second: reads.then(Reads::BYTES_PER_SECOND, || {
                f64::from(self.known(index).bytes_per_second(self.moment()))
            }),
            age: reads.then(Reads::AGE, || seat.endpoint.age_s(self.now)),
            zone_match: f64::from(u8::from(seat.is_near)),
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
        self.seat(index).endpoint.take(&self.pool.threshold, self.now)
    }

    fn take_idle(&self, index: usize) -> bool {
        self.seat(index).endpoint.take_idle(&self.pool.threshold, self.now)
    }

    fn now(&self) -> Nanos {
        self.now
    }

    fn generation(&self) -> u64 {
        self.pool.generation
    }
}
