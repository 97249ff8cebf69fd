//! `round_robin`: each request goes to the next endpoint in turn.
//!
//! The turns stand in order of how long ago they were taken, and whoever is chosen goes to the end. An endpoint
//! that is skipped keeps its place, so that the requests it misses are spread over all others and not given to
//! its neighbour, and it is owed one turn on return, not all that it missed.

use super::Candidates;
use super::rotation::{Rotation, Turns};
use rand::Rng;

pub(super) fn pick(candidates: &impl Candidates, rotation: &Rotation, rng: &mut impl Rng) -> Option<usize> {
    let mut turns = rotation.lock(candidates, rng, |turns: &mut Turns| turns.order.rotate_left(1));
    for place in 0..turns.order.len() {
        let turn = turns.order[place];
        let Some(index) = turns.index(&turn, candidates) else { continue };
        if candidates.eligible(index) && candidates.take(index) {
            turns.order.remove(place);
            turns.order.push_back(turn);
            return Some(index);
        }
    }
    None
}
