//! Deterministic subsetting: of many endpoints the few that one of many balancers talks to.
//!
//! Rocksteadier (P. Ward, P. Wankadia, K. Guliani, "Reinventing Backend Subsetting at Google", ACM Queue 20(5), 2022).
//! Balancers and endpoints are laid out in lots of ten. The balancers of one lot shuffle each lot of endpoints alike and
//! each takes another one of it, so that together they reach all ten evenly; which lots they go to follows from where their
//! lot stands on a ring, where each newcomer halves the widest gap. So an endpoint or a balancer that joins at the end
//! changes little of what the others do.

use crate::random::{Generator, below};
use rand::SeedableRng;

/// The size of a lot.
const LOT: usize = 10;

/// The places of the endpoints that instance number `instance` talks to, in ascending order: `size` of `count`, or all of
/// them where there are no more.
pub fn subset(count: usize, size: usize, instance: u32) -> Vec<usize> {
    if count <= size {
        return (0..count).collect();
    }
    let own_lot = instance / LOT as u32;
    let position = rank(instance as usize % LOT);
    let lots = shuffled_lots(count.div_ceil(LOT), own_lot);
    let order = clockwise(lots.len(), own_lot);
    let mut chosen = Vec::with_capacity(size);
    // Once around, each lot has given the one at our position; on the next round it gives its neighbour.
    for round in 0..LOT {
        for &lot in &order {
            let endpoint = lot * LOT + lots[lot][(position + round) % LOT];
            // Beyond the end is the padding of the last lot.
            if endpoint < count {
                chosen.push(endpoint);
            }
            if chosen.len() == size {
                chosen.sort_unstable();
                return chosen;
            }
        }
    }
    unreachable!("ten rounds visit every endpoint, and there are more than `size`")
}

/// Each lot in the order in which the balancers of `own_lot` see it. What joins at the end shuffles nothing before it.
fn shuffled_lots(lots: usize, own_lot: u32) -> Vec<[usize; LOT]> {
    let mut rng = Generator::seed_from_u64(u64::from(own_lot));
    (0..lots)
        .map(|_| {
            let mut order: [usize; LOT] = std::array::from_fn(|place| place);
            for last in (1..LOT).rev() {
                order.swap(last, below(&mut rng, last + 1));
            }
            order
        })
        .collect()
}

/// The lots of endpoints as they stand clockwise from where the lot of balancers stands on the same ring.
fn clockwise(lots: usize, own_lot: u32) -> Vec<usize> {
    let here = on_ring(own_lot);
    let mut order: Vec<usize> = (0..lots).collect();
    order.sort_by_key(|&lot| on_ring(lot as u32).wrapping_sub(here));
    order
}

/// The binary van der Corput sequence: each number halves one of the widest gaps that those before it have left.
fn on_ring(number: u32) -> u32 {
    number.reverse_bits()
}

/// The place in a lot of the balancer with this number in it: few of them stand far apart, too.
fn rank(number: usize) -> usize {
    (0..LOT).filter(|&other| on_ring(other as u32) < on_ring(number as u32)).count()
}
