//! Choosing by comparison, for every policy that has a cost: of all, or of two drawn by weight.

use super::weighted_random::Alias;
use super::{Candidates, DRAWS_MAX, SCAN_MAX, accepts};
use crate::random::below;
use rand::Rng;

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
    pick_of_all(candidates, rng, |index| candidates.eligible(index).then(|| cost(candidates, index)))
}

/// Takes the cheapest of all that have a cost.
pub(super) fn pick_of_all(
    candidates: &impl Candidates,
    rng: &mut impl Rng,
    cost_if_eligible: impl Fn(usize) -> Option<f32>,
) -> Option<usize> {
    loop {
        let index = cheapest(candidates.len(), rng, &cost_if_eligible)?;
        if candidates.take(index) {
            return Some(index);
        }
    }
}

/// Takes the cheaper of two distinct candidates drawn from the table; `None` where no two are found soon.
pub(super) fn pick_of_two<C: Candidates>(
    alias: &Alias,
    candidates: &C,
    rng: &mut impl Rng,
    cost: impl Fn(&C, usize) -> f32,
) -> Option<usize> {
    let mut first = None;
    for _ in 0..DRAWS_MAX {
        let index = alias.draw(rng)?;
        if !candidates.eligible(index) || !accepts(candidates, index, rng) {
            continue;
        }
        let Some(other) = first.filter(|&other| other != index) else {
            first = Some(index);
            continue;
        };
        let wins = match cost(candidates, index).total_cmp(&cost(candidates, other)) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => rng.next_u64() >> 63 == 0,
            std::cmp::Ordering::Greater => false,
        };
        let (winner, loser) = if wins { (index, other) } else { (other, index) };
        return [winner, loser].into_iter().find(|&index| candidates.take(index));
    }
    None
}

/// The candidate of the lowest cost of those that have one, ties at random.
fn cheapest(count: usize, rng: &mut impl Rng, cost: impl Fn(usize) -> Option<f32>) -> Option<usize> {
    let mut best = f32::INFINITY;
    let mut chosen = None;
    let mut start = 0;
    while start < count {
        let end = count.min(start + SCAN_MAX);
        // A bit for each candidate of this block that costs `best`; one draw then breaks the tie.
        let mut tied = 0u64;
        for index in start..end {
            let Some(cost) = cost(index) else { continue };
            let here = 1 << (index - start);
            if cost < best {
                best = cost;
                tied = here;
                chosen = None;
            } else if cost <= best {
                tied |= here;
            }
        }
        chosen = merge(chosen, start, tied, rng);
        start = end;
    }
    chosen.map(|(index, _)| index)
}

/// Chooses among the `count` candidates tied so far, of which one stands for all, and those of a new block.
fn merge(
    earlier: Option<(usize, usize)>,
    start: usize,
    tied: u64,
    rng: &mut impl Rng,
) -> Option<(usize, usize)> {
    let here = tied.count_ones() as usize;
    let before = earlier.map_or(0, |(_, count)| count);
    if here == 0 {
        return earlier;
    }
    let draw = if before + here == 1 { 0 } else { below(rng, before + here) };
    if draw >= here {
        return earlier.map(|(index, count)| (index, count + here));
    }
    let mut rest = tied;
    for _ in 0..draw {
        rest &= rest - 1;
    }
    Some((start + rest.trailing_zeros() as usize, before + here))
}
