//! What requests are hashed by: keys whose popularity follows Zipf's law.

use crate::streams::uniform;
use steelyard_core::key::hash;
use steelyard_core::random::{Generator, below};

/// What a request is for: an object, or the user that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    /// Its number; the lower, the more popular.
    pub rank: u32,
    /// As a pool hashes it.
    pub hash: u64,
}

/// Draws keys.
#[derive(Debug, Clone)]
pub(crate) enum Keys {
    /// All of so many alike.
    Uniform(usize),
    /// By the cumulative share of each.
    Zipf(Vec<f64>),
}

impl Keys {
    pub fn new(count: u32, skew: f64) -> Self {
        if skew <= 0.0 {
            return Self::Uniform(count as usize);
        }
        let mut sum = 0.0;
        let mut shares: Vec<f64> = (1..=count)
            .map(|rank| {
                sum += f64::from(rank).powf(-skew);
                sum
            })
            .collect();
        for share in &mut shares {
            *share /= sum;
        }
        Self::Zipf(shares)
    }

    /// The key of one request.
    pub fn draw(&self, rng: &mut Generator) -> Key {
        let rank = match self {
            Self::Uniform(count) => below(rng, *count),
            Self::Zipf(shares) => {
                let point = uniform(rng);
                shares.partition_point(|share| *share < point).min(shares.len() - 1)
            }
        };
        Key { rank: rank as u32, hash: hash(&(rank as u64).to_le_bytes()) }
    }
}
