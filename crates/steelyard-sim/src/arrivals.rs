//! When requests come.

use crate::clock::{NEVER, at};
use crate::scenario::Arrivals;
use crate::streams::{exponential, fill_exponential, uniform};
use steelyard_core::random::Generator;
use steelyard_core::time::Nanos;

/// The arrivals of one replication, in order.
#[derive(Debug)]
pub struct Source<'s> {
    kind: &'s Arrivals,
    rng: Generator,
    count: u64,
    now_s: f64,
    /// Of `poisson`: the mean distance.
    gap_s: f64,
    /// Of `on_off`: whether it is on, and until when.
    on: bool,
    until_s: f64,
    /// Of `profile`: the segment that time is in, and the highest rate.
    segment: usize,
    peak: f64,
}

impl<'s> Source<'s> {
    /// Nothing has come yet.
    pub fn new(kind: &'s Arrivals, mut rng: Generator) -> Self {
        let mut on = true;
        let mut until_s = 0.0;
        if let Arrivals::OnOff { on_s, off_s, .. } = kind {
            // As it is at any moment of a process that has gone on for ever.
            on = uniform(&mut rng) < on_s / (on_s + off_s);
            until_s = exponential(&mut rng) * if on { on_s } else { off_s };
        }
        let peak = peak_rate(kind);
        Self { kind, rng, count: 0, now_s: 0.0, gap_s: 1.0 / peak, on, until_s, segment: 0, peak }
    }

    /// When the next requests come; never, when no more do.
    pub(crate) fn fill<const COUNT: usize>(&mut self, times: &mut [Nanos; COUNT]) {
        if let Arrivals::Poisson { .. } = self.kind {
            let mut gaps = [0.0; COUNT];
            fill_exponential(&mut self.rng, &mut gaps);
            for (time, gap) in times.iter_mut().zip(gaps) {
                self.now_s += gap * self.gap_s;
                *time = at(self.now_s);
            }
        } else {
            for time in times {
                *time = self.next_arrival().unwrap_or(NEVER);
            }
        }
    }

    /// When the next request comes; `None` when no more do.
    pub fn next_arrival(&mut self) -> Option<Nanos> {
        let seconds = match self.kind {
            Arrivals::Poisson { .. } => {
                self.now_s += exponential(&mut self.rng) * self.gap_s;
                self.now_s
            }
            Arrivals::Deterministic { rate } => (self.count + 1) as f64 / rate,
            Arrivals::OnOff { rate_on, rate_off, on_s, off_s } => {
                self.next_on_off(*rate_on, *rate_off, *on_s, *off_s)
            }
            Arrivals::Profile { points } => self.next_profile(points)?,
            Arrivals::Trace { times_s } => *times_s.get(self.count as usize)?,
        };
        self.count += 1;
        Some(at(seconds))
    }

    fn next_on_off(&mut self, rate_on: f64, rate_off: f64, on_s: f64, off_s: f64) -> f64 {
        loop {
            let rate = if self.on { rate_on } else { rate_off };
            let gap = if rate > 0.0 { exponential(&mut self.rng) / rate } else { f64::INFINITY };
            if self.now_s + gap < self.until_s {
                self.now_s += gap;
                return self.now_s;
            }
            // What is left of a gap is memoryless, so it is drawn anew at the other rate.
            self.now_s = self.until_s;
            self.on = !self.on;
            self.until_s += exponential(&mut self.rng) * if self.on { on_s } else { off_s };
        }
    }

    /// Thinning (Lewis and Shedler, 1979).
    fn next_profile(&mut self, points: &[(f64, f64)]) -> Option<f64> {
        let &(end_s, last_rate) = points.last()?;
        loop {
            if last_rate <= 0.0 && self.now_s >= end_s {
                return None;
            }
            self.now_s += exponential(&mut self.rng) / self.peak;
            while self.segment < points.len() && points[self.segment].0 <= self.now_s {
                self.segment += 1;
            }
            if uniform(&mut self.rng) * self.peak < rate_at(points, self.segment, self.now_s) {
                return Some(self.now_s);
            }
        }
    }
}

/// The rate at a time before the point at `next`, and not before the one ahead of it.
fn rate_at(points: &[(f64, f64)], next: usize, time_s: f64) -> f64 {
    match (next.checked_sub(1).map(|before| points[before]), points.get(next)) {
        (None, Some(&(_, rate))) | (Some((_, rate)), None) => rate,
        (Some((from_s, from)), Some(&(to_s, to))) => from + (to - from) * (time_s - from_s) / (to_s - from_s),
        (None, None) => 0.0,
    }
}

/// The highest rate that lasts for a while; of a trace, the mean.
pub fn peak_rate(kind: &Arrivals) -> f64 {
    match kind {
        Arrivals::Poisson { rate } | Arrivals::Deterministic { rate } => *rate,
        Arrivals::OnOff { rate_on, rate_off, .. } => rate_on.max(*rate_off),
        Arrivals::Profile { points } => points.iter().map(|&(_, rate)| rate).fold(0.0, f64::max),
        Arrivals::Trace { .. } => lasting_rate(kind),
    }
}

/// The rate that a long run has in the end.
pub fn lasting_rate(kind: &Arrivals) -> f64 {
    match kind {
        Arrivals::Poisson { rate } | Arrivals::Deterministic { rate } => *rate,
        Arrivals::OnOff { rate_on, rate_off, on_s, off_s } => {
            (rate_on * on_s + rate_off * off_s) / (on_s + off_s)
        }
        Arrivals::Profile { points } => points.last().map_or(0.0, |&(_, rate)| rate),
        Arrivals::Trace { times_s } => match (times_s.first(), times_s.last()) {
            (Some(first), Some(last)) if last > first => (times_s.len() - 1) as f64 / (last - first),
            _ => 0.0,
        },
    }
}
