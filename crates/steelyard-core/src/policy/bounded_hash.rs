//! `bounded_hash`: the ring of `ring_hash`, on which nobody carries more than its share and a bit.
//!
//! V. Mirrokni, M. Thorup and M. Zadimoghaddam, "Consistent hashing with bounded loads", 2016. With L requests in flight
//! on the endpoints that can take one, each may carry up to ceil(`balance` x (L + 1) x its share of their weight); a key
//! walks on to the first that is below. There always is one. With few requests in flight that is one for each, so that
//! a busy key spreads although nobody is under pressure: the bound holds, at the cost of the cache it was meant for.
//! Requests are counted by this instance alone, and added up by a pick that meets a busy endpoint, which makes such a
//! pick linear in the endpoints.

use super::keyed::Keyed;
use super::ring_hash::{Ring, WALK_MAX};
use super::{Candidates, Prospect};
use rand::Rng;
use std::cell::OnceCell;

/// How much more than its share one may carry, unless `balance` says otherwise.
pub const BALANCE: f64 = 1.25;
/// The largest `balance`: beyond it the bound binds nobody.
pub const BALANCE_MAX: f64 = 100.0;

/// A ring and the bound on it.
#[derive(Debug)]
pub struct Bounded {
    ring: Ring,
    balance_thousandths: u64,
}

impl Bounded {
    pub(super) fn new(endpoints: &[Prospect], parts: f64, size_min: u32, balance: f64) -> Self {
        Self {
            ring: Ring::new(endpoints, parts, size_min),
            balance_thousandths: (balance * 1e3).round() as u64,
        }
    }
}

/// What the endpoints that can take a request carry at present, and may carry.
struct Room {
    /// Each may have more than this many thousandths in flight for each part of the weight.
    allowed_thousandths: u128,
    weight: u128,
}

impl Room {
    fn now(candidates: &impl Candidates, balance_thousandths: u64) -> Self {
        let (mut carried, mut weight) = (0u64, 0u64);
        for index in (0..candidates.len()).filter(|&index| candidates.eligible(index)) {
            carried += u64::from(candidates.in_flight(index));
            weight += weight_thousandths(candidates, index);
        }
        let allowed_thousandths = u128::from(balance_thousandths) * u128::from(carried + 1);
        Self { allowed_thousandths, weight: u128::from(weight) * 1_000 }
    }

    /// Whether it is below its capacity: a whole number is below the ceiling of another where it is below that itself.
    fn has(&self, candidates: &impl Candidates, index: usize) -> bool {
        u128::from(candidates.in_flight(index)) * self.weight
            < self.allowed_thousandths * u128::from(weight_thousandths(candidates, index))
    }
}

/// The weight in force: less while it is in slow start, so that its capacity is less too.
fn weight_thousandths(candidates: &impl Candidates, index: usize) -> u64 {
    let whole = u64::from(candidates.weight(index)) * 1_000;
    let factor = candidates.factor(index);
    if factor >= 1.0 { whole } else { ((whole as f64 * f64::from(factor)) as u64).max(1) }
}

#[inline(never)]
pub(super) fn pick(
    keyed: &Keyed<Bounded>,
    candidates: &impl Candidates,
    rng: &mut impl Rng,
) -> Option<usize> {
    // Others may fill what was seen free; every round that fails, another request got through.
    loop {
        // An idle endpoint is below any capacity: only beside others is it worth adding up what all carry.
        let room = OnceCell::new();
        let room = || room.get_or_init(|| Room::now(candidates, keyed.table.balance_thousandths));
        let has_room = |index| candidates.in_flight(index) == 0 || room().has(candidates, index);
        let fits = |index| candidates.eligible(index) && has_room(index);
        let walk = |bounded: &Bounded, key| {
            bounded
                .ring
                .walk(key)
                .take(WALK_MAX)
                .find(|&index| fits(index) && candidates.starts(index, key) && candidates.take(index))
        };
        if let Some(index) = keyed.pick(candidates, rng, walk, fits) {
            return Some(index);
        }
        if room().weight == 0 {
            return None;
        }
    }
}
