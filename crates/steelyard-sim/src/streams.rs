//! Random numbers: an independent stream for each thing that is drawn, so that policies meet the same world.
//!
//! The streams of arrivals, service times, keys and splits depend on seed and replication alone. Every policy is
//! therefore tried on the same requests, and differences between policies are paired.

use rand::{Rng, SeedableRng};
use std::sync::LazyLock;
use steelyard_core::random::Generator;

/// Layers of the ziggurat.
const LAYER_COUNT: usize = 256;
/// Where its last layer ends, for this number of layers.
const LAST: f64 = 7.697_117_470_131_05;

/// The ziggurat of the exponential distribution: layers of one area, the widest first, each with its right edge and the
/// density there (G. Marsaglia and W. W. Tsang, "The ziggurat method for generating random variables", 2000). A draw
/// takes one random number and no logarithm, but for one in a hundred.
struct Layers {
    right: [f64; LAYER_COUNT + 1],
    density: [f64; LAYER_COUNT + 1],
}

static LAYERS: LazyLock<Layers> = LazyLock::new(|| {
    let area = (LAST + 1.0) * (-LAST).exp();
    let mut right = [0.0; LAYER_COUNT + 1];
    (right[0], right[1]) = (area / (-LAST).exp(), LAST);
    for layer in 2..LAYER_COUNT {
        let before: f64 = right[layer - 1];
        right[layer] = -(area / before + (-before).exp()).ln();
    }
    Layers { right, density: right.map(|x| (-x).exp()) }
});

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
    LAYERS.draw(rng)
}

/// The same for all of these.
pub fn fill_exponential(rng: &mut impl Rng, values: &mut [f64]) {
    let layers = &*LAYERS;
    for value in values {
        *value = layers.draw(rng);
    }
}

impl Layers {
    #[inline]
    fn draw(&self, rng: &mut impl Rng) -> f64 {
        let bits = rng.next_u64();
        let layer = (bits & (LAYER_COUNT as u64 - 1)) as usize;
        // Fewer than 2^53, which is what a processor converts at once.
        let x = ((bits >> 11) as i64 as f64 + 0.5) * (1.0 / (1u64 << 53) as f64) * self.right[layer];
        if x < self.right[layer + 1] { x } else { self.beyond(layer, x, rng) }
    }

    /// Where a draw has not landed within its layer: one in a hundred.
    #[cold]
    #[inline(never)]
    fn beyond(&self, layer: usize, x: f64, rng: &mut impl Rng) -> f64 {
        if layer == 0 {
            // What lies beyond the last layer is exponential again.
            return LAST - uniform(rng).ln();
        }
        let (low, high) = (self.density[layer], self.density[layer + 1]);
        if low + (high - low) * uniform(rng) < (-x).exp() { x } else { self.draw(rng) }
    }
}

/// Standard normal (Box and Muller, one of the pair).
pub fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (2.0 * exponential(rng)).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ziggurat_is_exponential_in_body_and_tail() {
        let mut rng = generator(7, 0, Stream::Service, 0);
        let count = 2_000_000;
        let draws: Vec<f64> = (0..count).map(|_| exponential(&mut rng)).collect();
        let share =
            |beyond: f64| draws.iter().filter(|draw| **draw > beyond).count() as f64 / f64::from(count);
        for beyond in [0.001_f64, 0.01, 0.1, 0.5, 1.0, 2.0, 4.0, 7.0, 8.0, 10.0] {
            let truth = (-beyond).exp();
            let error = (truth * (1.0 - truth) / f64::from(count)).sqrt();
            assert!((share(beyond) - truth).abs() < 4.0 * error, "{beyond}: {} for {truth}", share(beyond));
        }
        let mean = draws.iter().sum::<f64>() / f64::from(count);
        let square = draws.iter().map(|draw| draw * draw).sum::<f64>() / f64::from(count);
        assert!((mean - 1.0).abs() < 0.003 && (square - 2.0).abs() < 0.02, "{mean}, {square}");
    }

    #[test]
    fn streams_differ_and_come_again() {
        let first = |stream, index| generator(7, 1, stream, index).next_u64();
        assert_eq!(first(Stream::Picks, 3), first(Stream::Picks, 3));
        assert_ne!(first(Stream::Picks, 3), first(Stream::Picks, 4));
        assert_ne!(first(Stream::Picks, 3), first(Stream::Service, 3));
    }
}
