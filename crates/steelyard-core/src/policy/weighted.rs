//! `weighted`: smooth weighted round robin, after nginx's `ngx_http_upstream_round_robin.c`.
//!
//! Every endpoint that takes part gains its weight, the one with the most is chosen and pays the total. Over one
//! cycle each is chosen exactly in proportion, evenly spread; the current weights always sum to zero. nginx's
//! lowering of the weight of failed peers is left out: health does that here.
//!
//! The order of one cycle depends on the weights alone, so it is worked out beforehand and a pick is one step along it.
//! An endpoint that is out misses its turns, and nobody gets them: those that are left keep their proportions. Only
//! weights whose cycle is too long, and pools in which most turns belong to endpoints that are out, are left to the scheme
//! itself, which is linear.

mod cycle;

pub use cycle::Cycle;

use super::rotation::{Rotation, Turn, Turns};
use super::{Candidates, accepts};
use rand::Rng;

/// Turns missed in a row before the linear scheme takes over.
const MISSED_MAX: usize = 64;

#[inline(never)]
pub(super) fn pick(
    cycle: Option<&Cycle>,
    candidates: &impl Candidates,
    rotation: &Rotation,
    rng: &mut impl Rng,
) -> Option<usize> {
    if let Some(cycle) = cycle {
        debug_assert!(cycle.fits(candidates), "a cycle is made for its candidates");
        for _ in 0..MISSED_MAX {
            let index = cycle.at(rotation.step());
            if candidates.eligible(index) && accepts(candidates, index, rng) && candidates.take(index) {
                return Some(index);
            }
        }
    }
    pick_linear(candidates, rotation, rng)
}

#[inline(never)]
fn pick_linear(candidates: &impl Candidates, rotation: &Rotation, rng: &mut impl Rng) -> Option<usize> {
    let mut turns = rotation.lock(candidates, rng, |turns: &mut Turns| {
        let round = gain(turns, candidates, |_| true);
        if let Some(best) = round.best {
            turns.order[best].current -= round.total;
        }
    });
    let mut round =
        gain(&mut turns, candidates, |index| candidates.eligible(index) && accepts(candidates, index, rng));
    if round.best.is_none() {
        // Those in slow start may be all that there is.
        round = gain(&mut turns, candidates, |index| candidates.eligible(index));
    }
    while let Some(best) = round.best {
        let index = turns.index(&turns.order[best], candidates)?;
        if candidates.take(index) {
            turns.order[best].current -= round.total;
            debug_assert_eq!(turns.order.iter().map(|turn| turn.current).sum::<i64>(), 0, "current weights");
            return Some(index);
        }
        // Another worker took its last slot: it does not take part in this pick.
        let weight = i64::from(candidates.weight(index));
        turns.order[best].current -= weight;
        turns.order[best].took_part = false;
        round.total -= weight;
        round.best = most(&turns);
    }
    None
}

/// What one round of gains came to.
struct Round {
    /// The place of the one that has the most; the first one wins ties.
    best: Option<usize>,
    most: i64,
    /// What all gained together.
    total: i64,
}

/// Lets everyone that takes part gain its weight.
fn gain(turns: &mut Turns, candidates: &impl Candidates, mut takes_part: impl FnMut(usize) -> bool) -> Round {
    let mut gain = |index: usize| takes_part(index).then(|| i64::from(candidates.weight(index)));
    if turns.is_stale(candidates) {
        // For a request that is still on an older snapshot than the turns are: rare enough to allocate.
        let indices: Vec<_> = turns.order.iter().map(|turn| turns.index(turn, candidates)).collect();
        return settle(turns, |place, _| indices[place].and_then(&mut gain));
    }
    settle(turns, |_, turn| gain(turn.index))
}

/// Adds to each turn what it gains; `None` takes no part.
fn settle(turns: &mut Turns, mut gain: impl FnMut(usize, &Turn) -> Option<i64>) -> Round {
    let mut round = Round { best: None, most: i64::MIN, total: 0 };
    for (place, turn) in turns.order.make_contiguous().iter_mut().enumerate() {
        let gain = gain(place, turn);
        turn.took_part = gain.is_some();
        let Some(gain) = gain else { continue };
        turn.current += gain;
        round.total += gain;
        if turn.current > round.most {
            (round.best, round.most) = (Some(place), turn.current);
        }
    }
    round
}

/// The place of the one that has the most of those that take part; the first one wins ties.
fn most(turns: &Turns) -> Option<usize> {
    let mut most = i64::MIN;
    let mut best = None;
    for (place, turn) in turns.order.iter().enumerate() {
        if turn.took_part && turn.current > most {
            most = turn.current;
            best = Some(place);
        }
    }
    best
}
