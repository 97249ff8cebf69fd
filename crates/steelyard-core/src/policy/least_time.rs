//! `least_time`: the endpoint with the lowest time to first byte x (1 + in flight) / weight.
//!
//! What the next request would wait if those before it take as long as they used to. The idea is that of NGINX Plus'
//! `least_time header`; the time is the smoothed one of the endpoint, and the pool's where it has not answered yet.

use super::weighted_random::Alias;
use super::{Candidates, compare};
use rand::Rng;

#[inline(never)]
pub(super) fn pick(alias: Option<&Alias>, candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    compare::pick(alias, candidates, rng, Candidates::time_cost)
}
