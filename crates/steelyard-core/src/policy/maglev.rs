//! `maglev`: a table in which every endpoint has its share of the entries, and a key goes to the one at its place.
//!
//! D. Eisenbud et al., "Maglev: a fast and reliable software network load balancer", 2016, section 3.4, with Envoy's
//! weights and order: endpoints fill the table in turn by their own permutations of it, sorted by name first, so that
//! every instance builds the same one however it lists them. Shares are even to one entry, and a pick is one look.
//! When an endpoint leaves, few keys of the others move, though not none; `ring_hash` and `rendezvous` move none. An
//! endpoint that is out keeps its entries, and its keys look elsewhere until it is back.

use super::keyed::Keyed;
use super::{Candidates, DRAWS_MAX, Prospect};
use rand::Rng;
use xxhash_rust::xxh64::xxh64;

/// The entries of a table, unless `table_size` says otherwise. A prime, so that every step reaches every place.
pub const TABLE_SIZE: u32 = 65_537;
/// The largest `table_size`; Envoy's.
pub const TABLE_SIZE_MAX: u32 = 5_000_011;

/// The owner of each entry.
#[derive(Debug)]
pub struct Table {
    owners: Box<[u32]>,
}

/// An entry that nobody has yet.
const FREE: u32 = u32::MAX;

/// An endpoint while the table is filled.
struct Filler {
    index: u32,
    weight: u64,
    /// The weight times rounds at which it takes its next entry.
    target: u64,
    /// The next place of its permutation.
    place: u64,
    skip: u64,
}

impl Table {
    /// A table of `size` entries, which is a prime.
    pub(super) fn new(endpoints: &[Prospect], size: u32) -> Self {
        let entries = u64::from(size);
        let mut order: Vec<(u64, u32, u32)> = (0..)
            .zip(endpoints)
            .filter(|(_, endpoint)| endpoint.weight > 0)
            .map(|(index, endpoint)| (endpoint.name, endpoint.weight, index))
            .collect();
        order.sort_unstable();
        let mut fillers: Vec<Filler> = order
            .into_iter()
            .map(|(name, weight, index)| Filler {
                index,
                weight: weight.into(),
                target: 0,
                place: xxh64(&name.to_le_bytes(), 0) % entries,
                skip: xxh64(&name.to_le_bytes(), 1) % (entries - 1) + 1,
            })
            .collect();
        let Some(heaviest) = fillers.iter().map(|filler| filler.weight).max() else {
            return Self { owners: Box::default() };
        };
        let mut owners = vec![FREE; size as usize];
        let mut free = entries;
        'rounds: for round in 1.. {
            for filler in &mut fillers {
                if round * filler.weight < filler.target {
                    continue;
                }
                filler.target += heaviest;
                while owners[filler.place as usize] != FREE {
                    filler.place = (filler.place + filler.skip) % entries;
                }
                owners[filler.place as usize] = filler.index;
                free -= 1;
                if free == 0 {
                    break 'rounds;
                }
            }
        }
        Self { owners: owners.into() }
    }

    /// The owners at the places of a key: its own, then those that Envoy looks at when it tries again.
    fn look(&self, key: u64) -> impl Iterator<Item = usize> {
        let places = if self.owners.is_empty() { 0 } else { DRAWS_MAX as u64 };
        (0..places).map(move |again| {
            let hash = if again == 0 { key } else { key ^ (u64::MAX - again + 1) };
            self.owners[(hash % self.owners.len() as u64) as usize] as usize
        })
    }
}

#[inline(never)]
pub(super) fn pick(keyed: &Keyed<Table>, candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    let fits = |index| candidates.eligible(index);
    let look = |table: &Table, key| {
        table.look(key).find(|&index| fits(index) && candidates.starts(index, key) && candidates.take(index))
    };
    keyed.pick(candidates, rng, look, fits)
}

/// Whether a number is a prime.
pub fn is_prime(number: u32) -> bool {
    number >= 2 && (2..=number.isqrt()).all(|by| !number.is_multiple_of(by))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::key::hash;

    fn prospects(names: impl IntoIterator<Item = usize>, weight: impl Fn(usize) -> u32) -> Vec<Prospect> {
        names
            .into_iter()
            .map(|name| Prospect { weight: weight(name), name: hash(&name.to_le_bytes()) })
            .collect()
    }

    /// How many entries each of `count` endpoints has.
    fn shares(table: &Table, count: usize) -> Vec<usize> {
        (0..count as u32).map(|index| table.owners.iter().filter(|&&owner| owner == index).count()).collect()
    }

    #[test]
    fn entries_of_equal_weights_differ_by_one_at_the_most() {
        for (count, size) in [(1, 13), (3, 251), (7, 65_537), (100, 65_537), (250, 251)] {
            let shares = shares(&Table::new(&prospects(0..count, |_| 5), size), count);
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= 1, "{count} in {size}: {shares:?}");
            assert_eq!(shares.iter().sum::<usize>(), size as usize);
        }
    }

    #[test]
    fn entries_follow_weights() {
        let shares = shares(&Table::new(&prospects(0..5, |name| name as u32), TABLE_SIZE), 5);
        for (weight, &share) in shares.iter().enumerate() {
            let due = f64::from(TABLE_SIZE) * weight as f64 / 10.0;
            assert!((share as f64 - due).abs() <= 2.0, "{shares:?}");
        }
    }

    #[test]
    fn every_instance_builds_the_same_table_however_it_lists_the_endpoints() {
        let weight = |name| name as u32 % 3 + 1;
        let one = Table::new(&prospects(0..10, weight), 2_039);
        let other = Table::new(&prospects((0..10).rev(), weight), 2_039);
        let renamed: Vec<u32> = other.owners.iter().map(|owner| 9 - owner).collect();
        assert_eq!(*one.owners, *renamed);
    }

    #[test]
    fn one_that_leaves_moves_few_keys_of_the_others() {
        let ten = Table::new(&prospects(0..10, |_| 1), TABLE_SIZE);
        let nine = Table::new(&prospects(0..9, |_| 1), TABLE_SIZE);
        let moved =
            ten.owners.iter().zip(&nine.owners).filter(|(before, after)| **before != 9 && before != after);
        let share = moved.count() as f64 / f64::from(TABLE_SIZE);
        // The paper's figure 12: a few in a hundred with a table this large.
        assert!(share < 0.05, "{share}");
    }

    #[test]
    fn primes_are_known_from_other_numbers() {
        let primes: Vec<u32> = (0..30).filter(|&number| is_prime(number)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert!(
            is_prime(TABLE_SIZE) && is_prime(TABLE_SIZE_MAX) && !is_prime(65_539 * 3) && !is_prime(65_536)
        );
    }
}
