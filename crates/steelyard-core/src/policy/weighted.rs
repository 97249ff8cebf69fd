//! `weighted`: smooth weighted round robin, after nginx's `ngx_http_upstream_round_robin.c`.
//!
//! Every endpoint that takes part gains its weight, the one with the most is chosen and pays the total. Over one
//! cycle each is chosen exactly in proportion, evenly spread; the current weights always sum to zero. nginx's
//! lowering of the weight of failed peers is left out: health does that here.

use super::Candidates;
use super::rotation::{Rotation, Turn, Turns};
use rand::Rng;

pub(super) fn pick(candidates: &impl Candidates, rotation: &Rotation, rng: &mut impl Rng) -> Option<usize> {
    let mut turns = rotation.lock(candidates, rng, |turns: &mut Turns| {
        for turn in &mut turns.order {
            turn.took_part = true;
        }
        if let Some(best) = best(turns, candidates) {
            settle(turns, candidates, best);
        }
    });
    mark_eligible(&mut turns, candidates);
    loop {
        let best = best(&turns, candidates)?;
        let index = turns.index(&turns.order[best], candidates)?;
        if candidates.take(index) {
            settle(&mut turns, candidates, best);
            return Some(index);
        }
        // Another worker took its last slot: it does not take part in this pick.
        turns.order[best].took_part = false;
    }
}

fn mark_eligible(turns: &mut Turns, candidates: &impl Candidates) {
    for place in 0..turns.order.len() {
        let index = turns.index(&turns.order[place], candidates);
        turns.order[place].took_part = index.is_some_and(|index| candidates.eligible(index));
    }
}

fn weight(turns: &Turns, turn: &Turn, candidates: &impl Candidates) -> i64 {
    turns.index(turn, candidates).map_or(0, |index| i64::from(candidates.weight(index)))
}

/// The place of the one that would have the most after everyone has gained; the first one wins ties.
fn best(turns: &Turns, candidates: &impl Candidates) -> Option<usize> {
    let mut best: Option<(usize, i64)> = None;
    for (place, turn) in turns.order.iter().enumerate() {
        if !turn.took_part {
            continue;
        }
        let after = turn.current + weight(turns, turn, candidates);
        if best.is_none_or(|(_, most)| after > most) {
            best = Some((place, after));
        }
    }
    best.map(|(place, _)| place)
}

/// Lets everyone gain and the chosen one pay.
fn settle(turns: &mut Turns, candidates: &impl Candidates, chosen: usize) {
    let mut total = 0;
    for place in 0..turns.order.len() {
        let turn = turns.order[place];
        if turn.took_part {
            let gain = weight(turns, &turn, candidates);
            turns.order[place].current += gain;
            total += gain;
        }
    }
    turns.order[chosen].current -= total;
}
