//! `peak_ewma`: of two distinct endpoints drawn by weight, the one with the lower peak of response times x
//! (1 + in flight) / weight.
//!
//! Twitter's Finagle, `PeakEwma.scala`. A response slower than the estimate replaces it at once, a faster one pulls it
//! down only as far as time has passed since somebody last looked. Since every look lets the estimate decay and starts
//! that time anew, an endpoint that is looked at often holds, in effect, the decayed *maximum* of its response times and
//! not their mean: max over past responses of time x e^(-age / decay). Two things follow. A busy endpoint looks slower
//! than an idle one of the same speed, merely because it is sampled more often. And one slow response keeps an endpoint
//! back for about decay x ln(peak / usual): with routes of very different cost, a shorter `decay` is kinder.

use super::weighted_random::Alias;
use super::{Candidates, compare};
use rand::Rng;

#[inline(never)]
pub(super) fn pick(alias: &Alias, candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    compare::pick(Some(alias), candidates, rng, Candidates::peak_cost)
}
