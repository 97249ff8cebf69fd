//! Randomness as the core uses it: a value-stable generator handed in, and one way to draw below a bound.

use rand::Rng;
pub use rand_xoshiro::Xoshiro256PlusPlus as Generator;

/// An integer in `0..bound`, from the high half of one draw (multiply and shift; the bias is below 2^-32 x bound).
///
/// `bound` must not be 0.
pub fn below(rng: &mut impl Rng, bound: usize) -> usize {
    debug_assert!(bound > 0 && u32::try_from(bound).is_ok(), "a draw needs a bound of 1 to 2^32");
    let high = rng.next_u64() >> 32;
    ((high * bound as u64) >> 32) as usize
}

/// A number in `0.0..1.0` that follows from a hash and has nothing to do with its order (`SplitMix64`'s finaliser).
pub fn mix(hash: u64) -> f32 {
    let mixed = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ mixed >> 31) >> 40) as f32 * (1.0 / (1u32 << 24) as f32)
}

/// A number in `0.0..1.0` with 24 bits.
pub fn unit(rng: &mut impl Rng) -> f32 {
    (rng.next_u64() >> 40) as f32 * (1.0 / (1u32 << 24) as f32)
}
