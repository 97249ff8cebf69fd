//! `least_load`: the endpoint with the least of the pool's `load` for its weight.
//!
//! The load is requests in flight, the smoothed response time, or bytes per second. Response time and bytes are measured
//! by what went before: they say nothing of the request that was just sent, so that many may follow it to the same
//! endpoint. Where that matters, `least_time` or `least_request` is the better choice.

use super::weighted_random::Alias;
use super::{Candidates, compare};
use crate::document::Load;
use rand::Rng;

pub(super) fn pick(alias: Option<&Alias>, candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    // Decided once, not for each.
    match candidates.measure() {
        Load::Requests => compare::pick_by_requests(alias, candidates, rng),
        Load::Latency => pick_by(alias, candidates, rng, Candidates::latency_load),
        Load::Reported => pick_by(alias, candidates, rng, Candidates::reported_load),
        Load::Bytes => pick_by(alias, candidates, rng, Candidates::bytes_load),
    }
}

#[inline(never)]
fn pick_by<C: Candidates>(
    alias: Option<&Alias>,
    candidates: &C,
    rng: &mut impl Rng,
    load: impl Fn(&C, usize) -> f32,
) -> Option<usize> {
    compare::pick(alias, candidates, rng, load)
}
