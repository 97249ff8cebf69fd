//! `p2c`: of two distinct endpoints drawn by weight, the one with the lower (1 + in flight + phantoms) / weight.
//!
//! M. Mitzenmacher, "The power of two choices in randomized load balancing", 2001. Drawn without replacement and in
//! proportion to weight: drawn evenly, a slow server would be looked at as often as a fast one and could be overloaded
//! by the draws alone.

use super::weighted_random::Alias;
use super::{Candidates, compare};
use rand::Rng;

#[inline(never)]
pub(super) fn pick(alias: &Alias, candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    compare::pick(Some(alias), candidates, rng, Candidates::cost)
}
