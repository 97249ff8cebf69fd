//! Random numbers: an independent stream for each thing that is drawn, so that policies meet the same world.
//!
//! The streams of arrivals, service times, keys and splits depend on seed and replication alone. Every policy is
//! therefore tried on the same requests, and differences between policies are paired.

use rand::{Rng, SeedableRng};
use steelyard_core::random::Generator;

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// When requests come.
    Arrivals,
    /// What each of them takes.
    Service,
    /// What they are hashed by.
    Keys,
    /// Which balancer they come to.
    Split,
    /// What a balancer draws when it picks.
    Picks,
    /// What the shared state of a balancer's pool draws.
    Shared,
    /// When probes are sent.
    Probes,
}

/// The seed of one stream; `index` tells balancers apart.
pub fn seed(seed: u64, replication: u32, stream: Stream, index: u32) -> u64 {
    let place = u64::from(replication) << 40 | u64::from(index) << 8 | stream as u64;
    mix(mix(seed).wrapping_add(place))
}

/// The generator of one stream.
pub fn generator(seed: u64, replication: u32, stream: Stream, index: u32) -> Generator {
    Generator::seed_from_u64(self::seed(seed, replication, stream, index))
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood, 2014).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number above 0 and below 1.
pub fn uniform(rng: &mut impl Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64)
}

/// Exponential with mean 1.
pub fn exponential(rng: &mut impl Rng) -> f64 {
    -uniform(rng).ln()
}

/// Standard normal (Box and Muller, one of the pair).
pub fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (2.0 * exponential(rng)).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}
