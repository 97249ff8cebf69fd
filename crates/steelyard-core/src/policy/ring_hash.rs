//! `ring_hash`: every endpoint owns points on a ring, and a key goes to the owner of the first point behind it.
//!
//! D. Karger et al., "Consistent hashing and random trees", 1997; points in proportion to weight as in libketama and
//! Envoy. An endpoint's points depend on its name and weight alone, never on the others, so that whoever leaves or joins
//! moves no key but its own. An endpoint that is out keeps its points: its keys walk on to the next one that is not.
//! A share is off by about one in the square root of the points; a larger `ring_size` makes them more even.

use super::keyed::Keyed;
use super::{Candidates, Prospect};
use rand::Rng;
use xxhash_rust::xxh64::xxh64;

/// The points of a ring are at least so many, unless `ring_size` says otherwise.
pub const RING_SIZE: u32 = 1024;
/// The largest `ring_size`.
pub const RING_SIZE_MAX: u32 = 8 << 20;
/// Beyond this many points, or `ring_size` where that is more, the points for a weight are halved until they fit.
const POINTS_MAX: u64 = 1 << 20;
/// Points that a key walks along before all endpoints are compared instead.
pub(super) const WALK_MAX: usize = 64;

/// Points in the order of their hashes.
#[derive(Debug)]
pub struct Ring {
    hashes: Box<[u64]>,
    owners: Box<[u32]>,
    /// For each value of a hash's first bits, the first point that is not before it.
    first: Box<[u32]>,
    /// How far a hash is shifted to leave those bits.
    shift: u32,
}

impl Ring {
    /// A ring of at least `size_min` points, where there are two endpoints or more. So many `parts` are a weight of 1.
    pub(super) fn new(endpoints: &[Prospect], parts: f64, size_min: u32) -> Self {
        // Half the ring for a weight of 1: enough from two endpoints on, and the same whoever else is there.
        let each = u64::from(size_min.clamp(2, RING_SIZE_MAX)).div_ceil(2);
        let size_max = POINTS_MAX.max(size_min.into());
        let points_of = |weight: u32, halved: u32| match weight {
            0 => 0,
            weight => (((f64::from(weight) / parts * each as f64).round() as u64) >> halved).max(1),
        };
        let total = |halved| endpoints.iter().map(|one| points_of(one.weight, halved)).sum::<u64>();
        let halved = (0..u64::BITS - 1).find(|&halved| total(halved) <= size_max).unwrap_or(u64::BITS - 1);
        let mut points: Vec<(u64, u32)> = endpoints
            .iter()
            .enumerate()
            .flat_map(|(index, endpoint)| {
                let name = endpoint.name.to_le_bytes();
                (0..points_of(endpoint.weight, halved)).map(move |point| (xxh64(&name, point), index as u32))
            })
            .collect();
        points.sort_unstable();
        let bits = points.len().next_power_of_two().trailing_zeros().max(1);
        let shift = u64::BITS - bits;
        let mut first = Vec::with_capacity(1 << bits);
        let mut at = 0;
        for start in 0..1u64 << bits {
            while points.get(at).is_some_and(|&(hash, _)| hash >> shift < start) {
                at += 1;
            }
            first.push(at as u32);
        }
        let (hashes, owners): (Vec<u64>, Vec<u32>) = points.into_iter().unzip();
        Self { hashes: hashes.into(), owners: owners.into(), first: first.into(), shift }
    }

    /// The owners of the points from a key on, once around.
    pub(super) fn walk(&self, key: u64) -> impl Iterator<Item = usize> {
        let mut start = self.first[(key >> self.shift) as usize] as usize;
        while self.hashes.get(start).is_some_and(|&hash| hash < key) {
            start += 1;
        }
        let (before, behind) = self.owners.split_at(start);
        behind.iter().chain(before).map(|&owner| owner as usize)
    }
}

#[inline(never)]
pub(super) fn pick(keyed: &Keyed<Ring>, candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    let fits = |index| candidates.eligible(index);
    let walk = |ring: &Ring, key| {
        ring.walk(key)
            .take(WALK_MAX)
            .find(|&index| fits(index) && candidates.starts(index, key) && candidates.take(index))
    };
    keyed.pick(candidates, rng, walk, fits)
}
