//! A policy written in Python: the endpoint with the lowest score, by a function compiled to native code.
//!
//! The function sees one endpoint's [`Facts`] and says how little it wants it; whoever scores lowest is taken, of all or of
//! two drawn by weight. What is no number, or is infinite, is the worst score: such an endpoint is taken only where none
//! scores better.

use super::weighted_random::Alias;
use super::{Candidates, compare};
use crate::native::Native;
use rand::Rng;

/// What a score may look at. Lower case names in Python are these names.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Facts {
    /// Requests in flight, and for each recent failure one more that fades: who fails fast does not look idle.
    pub in_flight: f64,
    /// Smoothed response time, in seconds; 0 before the first response. Without responses it fades towards the pool's.
    pub latency: f64,
    /// The smoothed share of attempts that failed, 0 to 1. Without attempts it fades.
    pub error_rate: f64,
    /// The weight in force, slow start included.
    pub weight: f64,
    /// Bytes per second, both directions together.
    pub bytes_per_second: f64,
    /// Seconds since it joined or returned.
    pub age: f64,
    /// 1 where it stands in this instance's own zone, else 0.
    pub zone_match: f64,
}

/// Which of the facts a function reads: what costs something to find out is left out where it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reads(u8);

impl Reads {
    /// [`Facts::latency`].
    pub const LATENCY: Self = Self(1);
    /// [`Facts::error_rate`].
    pub const ERROR_RATE: Self = Self(1 << 1);
    /// [`Facts::bytes_per_second`].
    pub const BYTES_PER_SECOND: Self = Self(1 << 2);
    /// [`Facts::age`].
    pub const AGE: Self = Self(1 << 3);
    /// All of them.
    pub const ALL: Self = Self(u8::MAX);

    /// Those of these names; all where it is not known which.
    pub fn of(names: Option<&[String]>) -> Self {
        let bit = |name: &String| match name.as_str() {
            "latency" => Self::LATENCY.0,
            "error_rate" => Self::ERROR_RATE.0,
            "bytes_per_second" => Self::BYTES_PER_SECOND.0,
            "age" => Self::AGE.0,
            // These cost nothing and are always there.
            "in_flight" | "weight" | "zone_match" => 0,
            _ => u8::MAX,
        };
        names.map_or(Self::ALL, |names| Self(names.iter().map(bit).fold(0, |all, one| all | one)))
    }

    /// A fact where it is read, else 0.
    pub fn then(self, fact: Self, value: impl FnOnce() -> f64) -> f64 {
        if self.0 & fact.0 == 0 { 0.0 } else { value() }
    }
}

#[inline(never)]
pub(super) fn pick<C: Candidates>(
    native: Native,
    alias: Option<&Alias>,
    candidates: &C,
    rng: &mut impl Rng,
) -> Option<usize> {
    // The largest number there is, so that the worst can still be taken where nobody is better.
    const WORST: f32 = f32::MAX;
    let score = |candidates: &C, index| {
        let score = native.score(&candidates.facts(index, native.reads())) as f32;
        if score.is_finite() { score } else { WORST }
    };
    if let Some(alias) = alias
        && let Some(index) = compare::pick_of_two(alias, candidates, rng, score)
    {
        return Some(index);
    }
    // A score need not know weights: those in slow start let requests pass as where turns are taken.
    let is_starting =
        candidates.any_starts() && (0..candidates.len()).any(|index| candidates.factor(index) < 1.0);
    let salt = if is_starting { Some(rng.next_u64()) } else { None };
    compare::pick_of_all(candidates, rng, |candidates: &C, index| {
        let waits =
            || salt.is_some_and(|salt| !candidates.starts(index, salt ^ u64::from(candidates.id(index))));
        candidates.eligible(index).then(|| if waits() { WORST } else { score(candidates, index) })
    })
}
