//! `round_robin`: each request goes to the next endpoint in turn.
//!
//! The turns stand in order of how long ago they were taken, and whoever is chosen goes to the end. An endpoint
//! that is skipped keeps its place, so that the requests it misses are spread over all others and not given to
//! its neighbour, and it is owed one turn on return, not all that it missed. Only the turn that an endpoint lets pass
//! while it is in slow start is gone.

use super::rotation::{Rotation, Turns};
use super::{Candidates, accepts};
use rand::Rng;

#[inline(never)]
pub(super) fn pick(candidates: &impl Candidates, rotation: &Rotation, rng: &mut impl Rng) -> Option<usize> {
    let mut turns = rotation.lock(candidates, rng, |turns: &mut Turns| turns.order.rotate_left(1));
    let mut place = 0;
    let mut passed = false;
    for _ in 0..turns.order.len() {
        let turn = turns.order[place];
        let index = turns.index(&turn, candidates).filter(|&index| candidates.eligible(index));
        if let Some(index) = index {
            let accepts = accepts(candidates, index, rng);
            if !accepts || candidates.take(index) {
                turns.order.remove(place);
                turns.order.push_back(turn);
                if accepts {
                    return Some(index);
                }
                passed = true;
                continue;
            }
        }
        place += 1;
    }
    if passed { take_any(candidates, &mut turns) } else { None }
}

/// Takes whoever waited longest, in slow start or not: there is no one else.
fn take_any(candidates: &impl Candidates, turns: &mut Turns) -> Option<usize> {
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
