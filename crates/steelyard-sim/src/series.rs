//! Loads over time.

use crate::clock::{NEVER, ORIGIN, seconds};
use serde::Serialize;
use steelyard_core::time::Nanos;

/// Looks at the loads per point of the series.
const LOOKS: u64 = 16;

/// Requests in flight by endpoint, and arrivals, over equal spans of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    /// The middle of each span, in seconds.
    pub t_s: Vec<f64>,
    /// By span and endpoint: the mean requests in flight, all balancers together.
    pub in_flight: Vec<Vec<f64>>,
    /// Arrivals per second.
    pub rate: Vec<f64>,
    #[serde(skip)]
    every: Nanos,
    #[serde(skip)]
    next: u64,
}

impl Series {
    /// An empty series of so many points up to `end`.
    pub(crate) fn new(points: usize, endpoints: usize, end: Nanos) -> Self {
        let every = Nanos((end.since(ORIGIN).0 / (points as u64 * LOOKS)).max(1));
        let length_s = seconds(every) * LOOKS as f64;
        Self {
            t_s: (0..points).map(|point| (point as f64 + 0.5) * length_s).collect(),
            in_flight: vec![vec![0.0; endpoints]; points],
            rate: vec![0.0; points],
            every,
            next: 0,
        }
    }

    /// When the loads are looked at next.
    pub(crate) fn next_at(&self) -> Nanos {
        if self.next / LOOKS >= self.t_s.len() as u64 {
            return NEVER;
        }
        // In the middle of its part of a span.
        ORIGIN.plus(Nanos(self.every.0 * self.next + self.every.0 / 2))
    }

    /// Takes in the loads of this moment.
    pub(crate) fn look(&mut self, in_flight: impl Fn(u32) -> u32) {
        if let Some(point) = self.in_flight.get_mut((self.next / LOOKS) as usize) {
            for (endpoint, sum) in (0u32..).zip(point) {
                *sum += f64::from(in_flight(endpoint)) / LOOKS as f64;
            }
        }
        self.next += 1;
    }

    /// A request has come.
    pub(crate) fn arrival(&mut self, now: Nanos) {
        let span = Nanos(self.every.0 * LOOKS);
        if let Some(rate) = self.rate.get_mut((now.since(ORIGIN).0 / span.0) as usize) {
            *rate += 1.0 / seconds(span);
        }
    }
}
