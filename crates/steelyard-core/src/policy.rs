//! How a pool chooses: a closed set of policies over one view of the endpoints.
//!
//! A policy sees its candidates through [`Candidates`], so that the same code runs over the live atomics of the
//! proxy and over whatever the simulator shows it.

mod least_request;
mod random;
mod rotation;
mod round_robin;
mod weighted;
mod weighted_random;

pub use rotation::{Phase, Rotation};

use crate::random::below;
use rand::Rng;
use weighted::Cycle;
use weighted_random::Alias;

/// The names of the policies.
pub const NAMES: [&str; 5] = ["round_robin", "random", "weighted", "weighted_random", "least_request"];

/// Draws that look for an eligible candidate before a scan does.
const DRAWS_MAX: usize = 8;

/// The endpoints of a pool as a policy sees them. Indices are `0..len()`.
pub trait Candidates {
    /// How many there are.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Unique in the pool for the life of the process.
    fn id(&self, index: usize) -> u32;
    /// The configured weight.
    fn weight(&self, index: usize) -> u32;
    /// Whether it may take a request now.
    fn eligible(&self, index: usize) -> bool;
    /// (1 + requests in flight + phantoms) / weight.
    fn cost(&self, index: usize) -> f32;
    /// The cost, where it may take a request now: both questions in one look.
    fn cost_if_eligible(&self, index: usize) -> Option<f32> {
        self.eligible(index).then(|| self.cost(index))
    }
    /// Takes a slot. It may fail though `eligible` said yes, when another thread was faster.
    fn take(&self, index: usize) -> bool;
    /// A number that grows with every snapshot; it tells [`Rotation`] when the set may have changed.
    fn generation(&self) -> u64;
}

/// One policy with what it has precomputed for one set of weights.
#[derive(Debug)]
pub enum Policy {
    /// Each in turn.
    RoundRobin,
    /// Each with equal probability.
    Random,
    /// In turn, in proportion to weight, smoothly.
    Weighted(Option<Cycle>),
    /// At random in proportion to weight.
    WeightedRandom(Alias),
    /// The fewest requests in flight per weight.
    LeastRequest(Option<Alias>),
}

/// The largest pool that `least_request` scans; above, it compares two.
pub const SCAN_MAX: usize = 64;

impl Policy {
    /// The policy of this name for endpoints of these weights; `None` when there is no such name.
    pub fn build(name: &str, weights: &[u32]) -> Option<Self> {
        let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
        Some(match name {
            "round_robin" if equal => Self::RoundRobin,
            "round_robin" | "weighted" => Self::Weighted(Cycle::new(weights)),
            "random" => Self::Random,
            "weighted_random" => Self::WeightedRandom(Alias::new(weights)),
            "least_request" => Self::LeastRequest((weights.len() > SCAN_MAX).then(|| Alias::new(weights))),
            _ => return None,
        })
    }

    /// Chooses an eligible candidate and takes a slot of it; `None` when a scan found none.
    pub fn pick(
        &self,
        candidates: &impl Candidates,
        rotation: &Rotation,
        rng: &mut impl Rng,
    ) -> Option<usize> {
        match self {
            Self::RoundRobin => round_robin::pick(candidates, rotation, rng),
            Self::Random => random::pick(candidates, rng),
            Self::Weighted(cycle) => weighted::pick(cycle.as_ref(), candidates, rotation, rng),
            Self::WeightedRandom(alias) => weighted_random::pick(alias, candidates, rng),
            Self::LeastRequest(alias) => least_request::pick(alias.as_ref(), candidates, rng),
        }
    }
}

/// Scans for eligible candidates and takes one of them, each with a probability in proportion to its share.
fn scan_and_take(
    candidates: &impl Candidates,
    rng: &mut impl Rng,
    share: impl Fn(usize) -> u32,
) -> Option<usize> {
    // A slot seen free may be gone when it is taken; every round that fails, another request got through.
    loop {
        let mut total = 0usize;
        let mut chosen = None;
        for index in (0..candidates.len()).filter(|&index| candidates.eligible(index)) {
            let weight = share(index) as usize;
            total += weight;
            if weight > 0 && below(rng, total) < weight {
                chosen = Some(index);
            }
        }
        let index = chosen?;
        if candidates.take(index) {
            return Some(index);
        }
    }
}
