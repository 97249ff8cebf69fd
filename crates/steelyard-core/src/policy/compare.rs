//! Choosing by comparison, for every policy that has a cost: of all, or of two drawn by weight.

use super::weighted_random::Alias;
use super::{Candidates, DRAWS_MAX, SCAN_MAX, accepts};
use crate::random::below;
use rand::Rng;
use std::hint::select_unpredictable;

/// Takes the cheapest of all, or, with a table to draw from, the cheaper of two distinct ones.
pub(super) fn pick<C: Candidates>(
    alias: Option<&Alias>,
    candidates: &C,
    rng: &mut impl Rng,
    cost: impl Fn(&C, usize) -> f32,
) -> Option<usize> {
    if let Some(alias) = alias
        && let Some(index) = pick_of_two(alias, candidates, rng, &cost)
    {
        return Some(index);
    }
    pick_of_all(candidates, rng, |candidates, index| {
        candidates.eligible(index).then(|| cost(candidates, index))
    })
}

/// The same where requests in flight are what it costs: while all serve, nobody is asked whether it does.
pub(super) fn pick_by_requests(
    alias: Option<&Alias>,
    candidates: &impl Candidates,
    rng: &mut impl Rng,
) -> Option<usize> {
    if alias.is_none() && candidates.all_serve() {
        return pick_of_all(candidates, rng, Candidates::plain_cost);
    }
    pick(alias, candidates, rng, Candidates::cost)
}

/// Takes the cheapest of all that have a cost.
#[inline(never)]
pub(super) fn pick_of_all<C: Candidates>(
    candidates: &C,
    rng: &mut impl Rng,
    cost_if_eligible: impl Fn(&C, usize) -> Option<f32>,
) -> Option<usize> {
    loop {
        let index = if candidates.len() <= FEW {
            cheapest::<FEW, C>(candidates, rng, &cost_if_eligible)?
        } else {
            cheapest::<SCAN_MAX, C>(candidates, rng, &cost_if_eligible)?
        };
        if candidates.take(index) {
            return Some(index);
        }
    }
}

/// So many take less room.
const FEW: usize = 16;

/// Takes the cheaper of two distinct candidates drawn from the table; `None` where no two are found soon.
pub(super) fn pick_of_two<C: Candidates>(
    alias: &Alias,
    candidates: &C,
    rng: &mut impl Rng,
    cost: impl Fn(&C, usize) -> f32,
) -> Option<usize> {
    let mut draws = DRAWS_MAX;
    let all_serve = candidates.all_serve();
    let other = draw(alias, candidates, all_serve, rng, &mut draws)?;
    let index = loop {
        let index = draw(alias, candidates, all_serve, rng, &mut draws)?;
        if index != other {
            break index;
        }
    };
    let (ours, theirs) = (cost(candidates, index), cost(candidates, other));
    // In the order of `total_cmp`, a coin between equals. Which of the two is cheaper nobody can foresee, nor whether they
    // are equal, the processor neither: no branch, and the coin is always thrown.
    let coin = (rng.next_u64() >> 63) as i64;
    let wins = i64::from(order(ours)) < i64::from(order(theirs)) + coin;
    let winner = select_unpredictable(wins, index, other);
    [winner, index ^ other ^ winner].into_iter().find(|&index| candidates.take(index))
}

/// Draws a candidate that can take the request, with so many draws left. Where all serve, nobody is asked.
#[inline]
fn draw<C: Candidates>(
    alias: &Alias,
    candidates: &C,
    all_serve: bool,
    rng: &mut impl Rng,
    draws: &mut usize,
) -> Option<usize> {
    while *draws > 0 {
        *draws -= 1;
        let index = alias.draw(rng)?;
        if all_serve || candidates.eligible(index) && accepts(candidates, index, rng) {
            return Some(index);
        }
    }
    None
}

/// A number in whose order costs stand.
#[inline]
fn order(cost: f32) -> i32 {
    let bits = cost.to_bits() as i32;
    bits ^ ((bits >> 31) as u32 >> 1) as i32
}

/// The candidate of the lowest cost of those that have one, ties at random; looked at in blocks.
fn cheapest<const BLOCK: usize, C: Candidates>(
    candidates: &C,
    rng: &mut impl Rng,
    cost: impl Fn(&C, usize) -> Option<f32>,
) -> Option<usize> {
    let mut best = f32::INFINITY;
    let mut chosen = None;
    let mut start = 0;
    while start < candidates.len() {
        let end = candidates.len().min(start + BLOCK);
        // First what each costs and the least of it, then who costs that: neither has a branch that nobody can foresee,
        // and no candidate waits for the one before it.
        let mut costs = [f32::NAN; BLOCK];
        let mut least = f32::INFINITY;
        candidates.look_at(start..end, |candidates, index| {
            let cost = cost(candidates, index).unwrap_or(f32::NAN);
            costs[index - start] = cost;
            least = if cost < least { cost } else { least };
        });
        if least < best {
            best = least;
            chosen = None;
        }
        let (mut tied, mut count) = ([0; BLOCK], 0);
        for (place, &cost) in (0u8..).zip(&costs[..end - start]) {
            tied[count] = place;
            // None costs less.
            count += usize::from(cost <= best);
        }
        chosen = merge(chosen, start, &tied[..count], rng);
        start = end;
    }
    chosen.map(|(index, _)| index)
}

/// Chooses among the `count` candidates tied so far, of which one stands for all, and those of a new block.
fn merge(
    earlier: Option<(usize, usize)>,
    start: usize,
    tied: &[u8],
    rng: &mut impl Rng,
) -> Option<(usize, usize)> {
    if tied.is_empty() {
        return earlier;
    }
    let before = earlier.map_or(0, |(_, count)| count);
    let all = before + tied.len();
    let draw = if all == 1 { 0 } else { below(rng, all) };
    match tied.get(draw) {
        Some(&place) => Some((start + usize::from(place), all)),
        None => earlier.map(|(index, _)| (index, all)),
    }
}
