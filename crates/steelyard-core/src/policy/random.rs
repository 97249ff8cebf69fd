//! `random`: every eligible endpoint with equal probability.

use super::{Candidates, DRAWS_MAX, accepts, scan_and_take};
use crate::random::below;
use rand::Rng;

#[inline(never)]
pub(super) fn pick(candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    if candidates.is_empty() {
        return None;
    }
    for _ in 0..DRAWS_MAX {
        let index = below(rng, candidates.len());
        if candidates.eligible(index) && accepts(candidates, index, rng) && candidates.take(index) {
            return Some(index);
        }
    }
    scan_and_take(candidates, rng, |_| 1)
}
