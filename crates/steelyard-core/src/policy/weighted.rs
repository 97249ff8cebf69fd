//! `weighted`: smooth weighted round robin, after nginx's `ngx_http_upstream_round_robin.c`.
//!
//! Every endpoint that takes part gains its weight, the one with the most is chosen and pays the total. Over one
//! cycle each is chosen exactly in proportion, evenly spread; the current weights always sum to zero. nginx's
//! lowering of the weight of failed peers is left out: health does that here.

use super::Candidates;
use super::rotation::{Rotation, Turns};
use rand::Rng;

pub(super) fn pick(candidates: &impl Candidates, rotation: &Rotation, rng: &mut impl Rng) -> Option<usize> {
    let mut turns = rotation.lock(candidates, rng, |turns: &mut Turns| {
        let round = gain(turns, candidates, |_| true);
        if let Some(best) = round.best {
            turns.order[best].current -= round.total;
        }
    });
    let mut round = gain(&mut turns, candidates, |index| candidates.eligible(index));
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
fn gain(turns: &mut Turns, candidates: &impl Candidates, takes_part: impl Fn(usize) -> bool) -> Round {
    let mut round = Round { best: None, most: i64::MIN, total: 0 };
    let stale = turns.is_stale(candidates);
    for place in 0..turns.order.len() {
        // Looked up only for a request that is still on an older snapshot than the turns are.
        let index =
            if stale { turns.index(&turns.order[place], candidates) } else { Some(turns.order[place].index) };
        let turn = &mut turns.order[place];
        turn.took_part = index.is_some_and(&takes_part);
        if let (true, Some(index)) = (turn.took_part, index) {
            let weight = i64::from(candidates.weight(index));
            turn.current += weight;
            round.total += weight;
            if turn.current > round.most {
                (round.best, round.most) = (Some(place), turn.current);
            }
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
