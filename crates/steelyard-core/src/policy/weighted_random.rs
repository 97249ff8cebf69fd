//! `weighted_random`: each endpoint with a probability in proportion to its weight, in constant time.
//!
//! M. D. Vose, "A linear algorithm for generating random numbers with a given distribution", 1991.

use super::{Candidates, DRAWS_MAX, accepts, scan_and_take};
use rand::Rng;
use std::hint::select_unpredictable;

/// Vose's alias table: one draw picks a column, and the column's own share of it decides between two indices.
#[derive(Debug)]
pub struct Alias {
    columns: Box<[Column]>,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    /// The share of this column that is its own, of 2^32.
    own: u64,
    other: u32,
}

const WHOLE: u64 = 1 << 32;

impl Alias {
    /// A table for these weights; with none above 0 it draws nothing.
    pub fn new(weights: &[u32]) -> Self {
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        if total == 0 {
            return Self { columns: Box::default() };
        }
        let count = weights.len() as u64;
        // In integers (parts of `total`), so that every machine builds the same table.
        let mut parts: Vec<u64> = weights.iter().map(|&weight| u64::from(weight) * count).collect();
        let mut columns: Vec<Column> =
            (0..weights.len()).map(|index| Column { own: WHOLE, other: index as u32 }).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|&index| parts[index] < total);
        while let (Some(&giver), Some(taker)) = (large.last(), small.pop()) {
            columns[taker] = Column {
                own: (u128::from(parts[taker]) * u128::from(WHOLE) / u128::from(total)) as u64,
                other: giver as u32,
            };
            parts[giver] -= total - parts[taker];
            if parts[giver] < total {
                large.pop();
                small.push(giver);
            }
        }
        Self { columns: columns.into() }
    }

    /// One index in proportion to its weight; `None` when no weight is above 0.
    pub fn draw(&self, rng: &mut impl Rng) -> Option<usize> {
        if self.columns.is_empty() {
            return None;
        }
        let random = rng.next_u64();
        let index = (((random >> 32) * self.columns.len() as u64) >> 32) as usize;
        let column = self.columns[index];
        // Which of the two nobody can foresee, the processor neither: no branch.
        Some(select_unpredictable(random & (WHOLE - 1) < column.own, index, column.other as usize))
    }
}

#[inline(never)]
pub(super) fn pick(alias: &Alias, candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    for _ in 0..DRAWS_MAX {
        let index = alias.draw(rng)?;
        if candidates.eligible(index) && accepts(candidates, index, rng) && candidates.take(index) {
            return Some(index);
        }
    }
    scan_and_take(candidates, rng, |index| candidates.weight(index))
}
