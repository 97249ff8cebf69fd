//! `rendezvous`: of all endpoints, the one that draws the best lot for the key.
//!
//! D. Thaler and C. Ravishankar, "Using name-based mappings to increase hit rates", 1998 (highest random weight). The lot
//! of an endpoint is an exponential random number made of key and name, divided by its weight; the least wins, so that
//! shares are in proportion to weight (J. Resch, "New hashing algorithms for data storage", 2015). There is no table:
//! whoever leaves moves its own keys alone, and spreads them over all others. A pick looks at every endpoint.

use super::Candidates;
use super::keyed::Keyed;
use rand::Rng;
use std::f64::consts::LN_2;

/// The square root of a half, as bits.
const SQRT_HALF: u64 = std::f64::consts::FRAC_1_SQRT_2.to_bits();

pub(super) fn pick(keyed: &Keyed<()>, candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    keyed.pick(candidates, rng, |(), _| None, |index| candidates.eligible(index))
}

/// Takes the one with the best lot of those that `fit`.
pub(super) fn take_first(
    names: &[u64],
    key: u64,
    candidates: &impl Candidates,
    fit: impl Fn(usize) -> bool,
) -> Option<usize> {
    // A slot seen free may be gone when it is taken; every round that fails, another request got through.
    loop {
        let mut best = f64::INFINITY;
        let mut chosen = None;
        for (index, &name) in names.iter().enumerate() {
            if fit(index) {
                let lot = exponential(key ^ name) / f64::from(candidates.weight(index));
                if lot < best {
                    (best, chosen) = (lot, Some(index));
                }
            }
        }
        let index = chosen?;
        if candidates.take(index) {
            return Some(index);
        }
    }
}

/// An exponential random number of mean 1 made of a seed.
fn exponential(seed: u64) -> f64 {
    // The finish of MurmurHash3, which lets every bit of the seed reach every bit of the result.
    let mut bits = seed ^ seed >> 33;
    bits = bits.wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^= bits >> 33;
    // Neither 0 nor 1.
    let unit = ((bits >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64);
    -ln(unit)
}

/// The natural logarithm of a positive number, to eight places. Of plain arithmetic, so that every machine chooses alike;
/// the standard library's may differ in its last bits from one system to another.
fn ln(x: f64) -> f64 {
    // x = m 2^e, with m around 1.
    let exponent = (x.to_bits().wrapping_sub(SQRT_HALF) as i64) >> 52;
    let m = f64::from_bits(x.to_bits().wrapping_sub((exponent as u64) << 52));
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = 1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * (1.0 / 7.0 + square / 9.0)));
    2.0 * s * series + exponent as f64 * LN_2
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_right_to_eight_places_of_its_own_size() {
        let mut x = 1e-16;
        while x < 1.0 {
            for x in [x, 1.0 - x] {
                let (ours, truth) = (ln(x), x.ln());
                assert!((ours - truth).abs() <= 1e-8 * truth.abs(), "{x}: {ours} for {truth}");
            }
            x *= 1.003;
        }
    }
}
