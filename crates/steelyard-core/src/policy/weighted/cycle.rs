//! The turns of `weighted` worked out beforehand, so that a pick is one step along a list.

use crate::policy::Candidates;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A longer cycle is not worked out: the weights then go by the linear scheme.
const TURNS_MAX: u64 = 1 << 16;
/// Above, the turns are laid out by deadlines, which takes less than comparing all endpoints for each.
const SMOOTH_MAX: usize = 256;

/// One cycle: every endpoint as often as its weight, divided by the greatest common divisor of all.
#[derive(Debug)]
pub struct Cycle {
    turns: Box<[u32]>,
}

impl Cycle {
    /// The cycle of these weights; `None` when it would be too long, or empty.
    pub fn new(weights: &[u32]) -> Option<Self> {
        let divisor = weights.iter().copied().fold(0, gcd);
        if divisor == 0 {
            return None;
        }
        let weights: Vec<u64> = weights.iter().map(|&weight| u64::from(weight / divisor)).collect();
        let length: u64 = weights.iter().sum();
        if length > TURNS_MAX {
            return None;
        }
        let turns = if weights.len() <= SMOOTH_MAX { smooth(&weights) } else { by_deadline(&weights) };
        debug_assert_eq!(turns.len() as u64, length, "every endpoint has its turns");
        Some(Self { turns: turns.into() })
    }

    /// How many turns there are.
    pub fn len(&self) -> usize {
        self.turns.len()
    }

    /// Whose turn it is at a position that only ever grows.
    pub fn at(&self, position: u64) -> usize {
        self.turns[(position % self.turns.len() as u64) as usize] as usize
    }

    /// Whether the candidates are those that the cycle was made for.
    pub fn fits(&self, candidates: &impl Candidates) -> bool {
        self.turns.iter().all(|&index| (index as usize) < candidates.len())
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Smooth weighted round robin (nginx): everyone gains its weight, the one with the most is next and pays the total.
fn smooth(weights: &[u64]) -> Vec<u32> {
    let total: u64 = weights.iter().sum();
    let mut current = vec![0i64; weights.len()];
    let mut turns = Vec::with_capacity(total as usize);
    for _ in 0..total {
        let mut best = 0;
        for (index, &weight) in weights.iter().enumerate() {
            current[index] += weight as i64;
            if current[index] > current[best] {
                best = index;
            }
        }
        current[best] -= total as i64;
        turns.push(best as u32);
    }
    turns
}

/// Earliest deadline first (Envoy, gRPC): the turns of one endpoint are due at 1/w, 2/w, and so on; of those due at one
/// moment the one that lined up first is next. In whole numbers, so that ties are ties on every machine.
fn by_deadline(weights: &[u64]) -> Vec<u32> {
    let total: u64 = weights.iter().sum();
    let entry =
        |index: usize, turn: u64, order: u64| Reverse(Due { turn, weight: weights[index], order, index });
    let mut due: BinaryHeap<_> = (0..weights.len())
        .filter(|&index| weights[index] > 0)
        .enumerate()
        .map(|(order, index)| entry(index, 1, order as u64))
        .collect();
    let mut turns = Vec::with_capacity(total as usize);
    let mut order = due.len() as u64;
    while (turns.len() as u64) < total
        && let Some(Reverse(next)) = due.pop()
    {
        turns.push(next.index as u32);
        due.push(entry(next.index, next.turn + 1, order));
        order += 1;
    }
    turns
}

/// The `turn`-th turn of an endpoint, due at `turn / weight`.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    turn: u64,
    weight: u64,
    order: u64,
    index: usize,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Both are bounded by the length of a cycle: the products stay far below the limit.
        (self.turn * other.weight).cmp(&(other.turn * self.weight)).then(self.order.cmp(&other.order))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn letters(turns: &[u32]) -> String {
        turns.iter().map(|&index| char::from(b'a' + index as u8)).collect()
    }

    #[test]
    fn the_smooth_vectors_hold() {
        for (weights, expected) in [([5, 1, 1], "aabacaa"), ([4, 2, 1], "abacaba"), ([5, 3, 2], "abcaabacba")]
        {
            assert_eq!(letters(&smooth(&weights)), expected);
        }
    }

    #[test]
    fn the_vectors_of_deadlines_hold() {
        assert_eq!(letters(&by_deadline(&[5, 1, 1])), "aaaabca");
        assert_eq!(letters(&by_deadline(&[4, 2, 1])), "abaacba");
        assert_eq!(letters(&by_deadline(&[3, 2])), "ababa");
    }

    #[test]
    fn everyone_has_its_turns_by_either_scheme() {
        for count in [1, 3, SMOOTH_MAX, SMOOTH_MAX + 1] {
            let weights: Vec<u32> = (0..count as u32).map(|index| index % 4 * 6).collect();
            let Some(cycle) = Cycle::new(&weights) else {
                assert!(weights.iter().all(|&weight| weight == 0));
                continue;
            };
            let mut counts = vec![0; count];
            (0..cycle.len() as u64).for_each(|position| counts[cycle.at(position)] += 1);
            let expected: Vec<u32> = weights.iter().map(|weight| weight / 6).collect();
            assert_eq!(counts, expected);
        }
    }

    #[test]
    fn what_would_be_too_long_is_left_to_the_linear_scheme() {
        assert!(Cycle::new(&[1, TURNS_MAX as u32]).is_none());
        assert!(Cycle::new(&[1, TURNS_MAX as u32 - 1]).is_some());
        assert!(Cycle::new(&[u32::MAX, u32::MAX]).is_some_and(|cycle| cycle.len() == 2));
    }
}
