//! `least_load`: the endpoint with the least of the pool's `load` for its weight.
//!
//! The load is requests in flight, the smoothed response time, or bytes per second. Response time and bytes are measured
//! by what went before: they say nothing of the request that was just sent, so that many may follow it to the same
//! endpoint. Where that matters, `least_time` or `least_request` is the better choice.

use super::weighted_random::Alias;
use super::{Candidates, compare};
use rand::Rng;

pub(super) fn pick(alias: Option<&Alias>, candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    compare::pick(alias, candidates, rng, Candidates::load)
}
