//! `rendezvous`: of all endpoints, the one that draws the best lot for the key.
//!
//! D. Thaler and C. Ravishankar, "Using name-based mappings to increase hit rates", 1998 (highest random weight). The lot
//! of an endpoint is an exponential random number made of key and name, divided by its weight; the least wins, so that
//! shares are in proportion to weight (J. Resch, "New hashing algorithms for data storage", 2015). There is no table:
//! whoever leaves moves its own keys alone, and spreads them over all others. A pick draws for every endpoint and,
//! most of the time, looks at one.

use super::keyed::Keyed;
use super::{Candidates, Prospect};
use rand::Rng;
use std::f64::consts::LN_2;

/// The square root of a half, as bits.
const SQRT_HALF: u64 = std::f64::consts::FRAC_1_SQRT_2.to_bits();

#[inline(never)]
pub(super) fn pick(keyed: &Keyed<()>, candidates: &impl Candidates, rng: &mut impl Rng) -> Option<usize> {
    keyed.pick(candidates, rng, |(), _| None, |index| candidates.eligible(index))
}

/// Names and weights as lots are drawn from them.
#[derive(Debug)]
pub(super) struct Lots {
    names: Box<[u64]>,
    /// 1 / weight; `None` where all are equal: then the longest number has the best lot, whatever its logarithm.
    inverse_weights: Option<Box<[f64]>>,
}

impl Lots {
    pub(super) fn new(endpoints: &[Prospect]) -> Self {
        let equal = endpoints.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        let inverse = |endpoint: &Prospect| 1.0 / f64::from(endpoint.weight);
        Self {
            names: endpoints.iter().map(|endpoint| endpoint.name).collect(),
            inverse_weights: (!equal).then(|| endpoints.iter().map(inverse).collect()),
        }
    }

    /// Takes the one with the best lot of those that `fit`.
    #[inline(never)]
    pub(super) fn take_first(
        &self,
        key: u64,
        candidates: &impl Candidates,
        fit: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        // Most of the time it is the best of all, and nobody else need be looked at.
        let best = match &self.inverse_weights {
            None => self.best_of_equals(key),
            Some(inverse_weights) => self.best_by_weight(inverse_weights, key),
        };
        if let Some(index) = best.filter(|&index| fit(index) && candidates.take(index)) {
            return Some(index);
        }
        // A slot seen free may be gone when it is taken; every round that fails, another request got through.
        loop {
            let index = self.best_that_fits(key, &fit)?;
            if candidates.take(index) {
                return Some(index);
            }
        }
    }

    fn best_of_equals(&self, key: u64) -> Option<usize> {
        let (mut best, mut chosen) = (0, None);
        for (index, &name) in self.names.iter().enumerate() {
            // None is 0.
            let number = number(key ^ name) + 1;
            if number > best {
                (best, chosen) = (number, Some(index));
            }
        }
        chosen
    }

    /// Compares what the lots are at least, without branches, which no machine could foresee. Where the one of the least
    /// draws less than what the second least may be, which is nearly always, that is it, at the cost of one logarithm.
    fn best_by_weight(&self, inverse_weights: &[f64], key: u64) -> Option<usize> {
        let (mut least, mut second, mut chosen) = (f64::INFINITY, f64::INFINITY, 0);
        for (index, (&name, &inverse_weight)) in self.names.iter().zip(inverse_weights).enumerate() {
            let bound = bound_of_lot(unit(number(key ^ name))) * inverse_weight;
            let more = if bound > least { bound } else { least };
            second = if more < second { more } else { second };
            chosen = if bound < least { index } else { chosen };
            least = if bound < least { bound } else { least };
        }
        let lot = -ln(unit(number(key ^ self.names.get(chosen)?))) * inverse_weights[chosen];
        if lot < second * MARGIN { Some(chosen) } else { self.best_that_fits(key, |_| true) }
    }

    #[inline(never)]
    fn best_that_fits(&self, key: u64, fit: impl Fn(usize) -> bool) -> Option<usize> {
        let (mut best, mut chosen) = (f64::INFINITY, None);
        for (index, &name) in self.names.iter().enumerate().filter(|&(index, _)| fit(index)) {
            let inverse_weight = self.inverse_weights.as_ref().map_or(1.0, |inverse| inverse[index]);
            let unit = unit(number(key ^ name));
            if bound_of_lot(unit) * inverse_weight * MARGIN > best {
                continue;
            }
            let lot = -ln(unit) * inverse_weight;
            if lot < best {
                (best, chosen) = (lot, Some(index));
            }
        }
        chosen
    }
}

/// Our logarithms are off by less than what this leaves out.
const MARGIN: f64 = 1.0 - 1e-7;

/// What -ln(unit) is at least: the first terms of its series.
fn bound_of_lot(unit: f64) -> f64 {
    let rest = 1.0 - unit;
    rest + rest * rest * 0.5
}

/// A random number of [`NUMBER_BITS`] made of a seed: the finish of `MurmurHash3`, which lets every bit of the seed reach
/// every bit of the result.
fn number(seed: u64) -> u64 {
    let mut bits = seed ^ seed >> 33;
    bits = bits.wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^= bits >> 33;
    bits >> (u64::BITS - NUMBER_BITS)
}

const NUMBER_BITS: u32 = 52;

/// The number as one between 0 and 1, and neither.
fn unit(number: u64) -> f64 {
    // As the digits behind the point of one between 1 and 2, which takes less than a conversion.
    f64::from_bits(1f64.to_bits() | number) - (1.0 - f64::EPSILON / 2.0)
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
    fn no_number_is_0_or_1() {
        let last = (1 << NUMBER_BITS) - 1;
        assert!(unit(0) > 0.0 && unit(last) < 1.0 && unit(last) > unit(last - 1));
        assert!((unit(last / 4) - 0.25).abs() < 1e-12);
    }

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

    /// All logarithms of all that fit, as the definition has it.
    fn plainly(endpoints: &[Prospect], key: u64, fit: impl Fn(usize) -> bool) -> Option<usize> {
        let lot = |index: usize| -> f64 {
            let Prospect { name, weight } = endpoints[index];
            -ln(unit(number(key ^ name))) / f64::from(weight)
        };
        (0..endpoints.len()).filter(|&index| fit(index)).min_by(|&a, &b| lot(a).total_cmp(&lot(b)))
    }

    #[test]
    fn what_is_spared_changes_no_choice() {
        let weights: [fn(u32) -> u32; 5] =
            [|_| 1, |_| 7, |index| index % 5 + 1, |index| 1 << (index % 20), |index| index % 2];
        for (weight, count) in
            weights.into_iter().flat_map(|weight| [1, 3, 32, 40].map(|count| (weight, count)))
        {
            let endpoints: Vec<Prospect> = (0..count)
                .map(|index| Prospect { weight: weight(index), name: crate::key::hash(&index.to_le_bytes()) })
                .collect();
            let lots = Lots::new(&endpoints);
            for key in (0..20_000u64).map(|key| crate::key::hash(&key.to_le_bytes())) {
                let takes_part = |index: usize| endpoints[index].weight > 0;
                let best = match &lots.inverse_weights {
                    None => lots.best_of_equals(key),
                    Some(inverse_weights) => lots.best_by_weight(inverse_weights, key),
                };
                let expected = plainly(&endpoints, key, takes_part);
                assert!(best == expected || expected.is_none(), "{key}: {best:?} for {expected:?}");
                let fit = |index: usize| takes_part(index) && (key >> index) & 3 != 0;
                assert_eq!(lots.best_that_fits(key, fit), plainly(&endpoints, key, fit), "{key}");
            }
        }
    }
}
