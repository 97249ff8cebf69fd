//! `least_request`, the default: the endpoint with the lowest (1 + in flight + phantoms) / weight.
//!
//! Up to [`SCAN_MAX`](super::SCAN_MAX) endpoints all are compared and ties are broken at random: a fixed order
//! would send every balancer to the same one. Above, two distinct ones are drawn by weight and the cheaper wins
//! (M. Mitzenmacher, "The power of two choices in randomized load balancing", 2001). Phantoms are recent
//! failures: without them a server that fails fast always looks idle and draws all traffic.

use super::weighted_random::Alias;
use super::{Candidates, DRAWS_MAX, SCAN_MAX};
use crate::random::below;
use rand::Rng;

pub(super) fn pick(alias: Option<&Alias>, candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    if let Some(alias) = alias
        && let Some(index) = pick_of_two(alias, candidates, rng)
    {
        return Some(index);
    }
    loop {
        let index = cheapest(candidates, rng)?;
        if candidates.take(index) {
            return Some(index);
        }
    }
}

fn pick_of_two(alias: &Alias, candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    let mut first = None;
    for _ in 0..DRAWS_MAX {
        let index = alias.draw(rng)?;
        if !candidates.eligible(index) {
            continue;
        }
        let Some(other) = first.filter(|&other| other != index) else {
            first = Some(index);
            continue;
        };
        let (cost, rival) = (candidates.cost(index), candidates.cost(other));
        let wins = match cost.total_cmp(&rival) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => rng.next_u64() >> 63 == 0,
            std::cmp::Ordering::Greater => false,
        };
        let (winner, loser) = if wins { (index, other) } else { (other, index) };
        return [winner, loser].into_iter().find(|&index| candidates.take(index));
    }
    None
}

/// The eligible candidate of the lowest cost, ties at random.
fn cheapest(candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    let mut best = f32::INFINITY;
    let mut chosen = None;
    let mut start = 0;
    while start < candidates.len() {
        let end = candidates.len().min(start + SCAN_MAX);
        // A bit for each candidate of this block that costs `best`; one draw then breaks the tie.
        let mut tied = 0u64;
        for index in start..end {
            let Some(cost) = candidates.cost_if_eligible(index) else { continue };
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
