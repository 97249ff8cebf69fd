//! `least_request`, the default: the endpoint with the lowest (1 + in flight + phantoms) / weight.
//!
//! Up to [`SCAN_MAX`](super::SCAN_MAX) endpoints all are compared and ties are broken at random: a fixed order
//! would send every balancer to the same one. Above, two distinct ones are drawn by weight and the cheaper wins
//! (M. Mitzenmacher, "The power of two choices in randomized load balancing", 2001). Phantoms are recent
//! failures: without them a server that fails fast always looks idle and draws all traffic.

use super::weighted_random::Alias;
use super::{Candidates, compare};
use rand::Rng;

#[inline(never)]
pub(super) fn pick(alias: Option<&Alias>, candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    compare::pick_by_requests(alias, candidates, rng)
}
