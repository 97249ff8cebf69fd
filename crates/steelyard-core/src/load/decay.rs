//! How what was measured fades: moments as stamps count them, and the exponential.

use crate::time::Nanos;

/// Stamps count tenths of a millisecond in 32 bits: they wrap after five days, past any time constant here.
const STAMP_NANOS: u64 = 100_000;
const TICK_S: f32 = STAMP_NANOS as f32 * 1e-9;
/// How far a stamp may be ahead of `now`, in its ticks: threads read the clock at slightly different moments.
const AHEAD_TICKS_MAX: u32 = 10_000;

/// A moment as estimates note it. Worked out once where many are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(pub(super) u32);

impl Stamp {
    /// The stamp of a moment.
    #[inline]
    pub fn of(moment: Nanos) -> Self {
        Self((moment.0 / STAMP_NANOS) as u32)
    }

    /// Ticks from an earlier stamp to this one; 0 where that is ahead.
    #[inline]
    pub(super) fn ticks_since(self, earlier: Self) -> u32 {
        let ticks = self.0.wrapping_sub(earlier.0);
        if ticks > u32::MAX - AHEAD_TICKS_MAX { 0 } else { ticks }
    }
}

/// A time constant, as what is lost in one tick. Worked out once where many estimates have the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decay(f32);

impl Decay {
    /// Over this time constant, in seconds.
    #[inline]
    pub const fn over(time_constant_s: f32) -> Self {
        Self(TICK_S / time_constant_s)
    }

    /// The share of an old value that is left.
    #[inline]
    pub(super) fn left(self, since: Stamp, now: Stamp) -> f32 {
        match now.ticks_since(since) {
            // Most are looked at within the tick in which they were written.
            0 => 1.0,
            ticks => exp_of_minus(ticks as f32 * self.0),
        }
    }
}

/// Below this the series of the exponential is as exact as a number of 32 bits can be.
const SERIES_MAX: f32 = 1.0 / 32.0;
/// Beyond this nothing is left that a normal number of 32 bits could hold.
const EXPONENT_MAX: f32 = 87.0;
/// Added to a number, it leaves no digits behind the point, and the whole number in the last bits.
const ROUND: f64 = 1.5 * (1u64 << 52) as f64;
/// The coefficients of the series of 2^f: ln(2)^n / n!.
const POWERS: [f64; 9] = [
    1.0,
    std::f64::consts::LN_2,
    0.240_226_506_959_100_7,
    0.055_504_108_664_821_58,
    0.009_618_129_107_628_477,
    0.001_333_355_814_642_844_3,
    0.000_154_035_303_933_816_1,
    0.000_015_252_733_804_059_84,
    0.000_001_321_548_679_014_431,
];

/// `exp(-x)` for `x` >= 0, to one part in 2^23, and 0 above 87, where less than 2e-38 is left.
///
/// Of plain arithmetic, so that it is the same on every machine, which the standard library's need not be in its last bit.
#[inline]
pub(super) fn exp_of_minus(x: f32) -> f32 {
    if x < SERIES_MAX {
        return (1.0 - x) + x * x * ((0.5 - x * (1.0 / 6.0)) + x * x * (1.0 / 24.0));
    }
    if x > EXPONENT_MAX { 0.0 } else { exp_by_powers_of_two(x) }
}

#[inline(never)]
fn exp_by_powers_of_two(x: f32) -> f32 {
    // 2^y, with y split into a whole number and a fraction within a half of 0.
    let y = -f64::from(x) * std::f64::consts::LOG2_E;
    let rounded = y + ROUND;
    let f = y - (rounded - ROUND);
    let [c0, c1, c2, c3, c4, c5, c6, c7, c8] = POWERS;
    let (f2, f4) = (f * f, f * f * (f * f));
    let low = (c0 + c1 * f) + f2 * (c2 + c3 * f);
    let high = (c4 + c5 * f) + f2 * (c6 + c7 * f);
    let fraction = low + f4 * (high + f4 * c8);
    let whole = f64::from_bits(rounded.to_bits().wrapping_add(1_023) << 52);
    (fraction * whole) as f32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_exponential_to_one_part_in_2_to_the_23() {
        let mut worst = 0.0f64;
        let mut look = |x: f32| {
            let (ours, truth) = (f64::from(exp_of_minus(x)), (-f64::from(x)).exp());
            worst = worst.max((ours / truth - 1.0).abs());
        };
        // Every exponent, and within it numbers all over; then evenly over the whole range.
        for bits in (0..EXPONENT_MAX.to_bits()).step_by(997) {
            look(f32::from_bits(bits));
        }
        (0..=1_000_000).for_each(|step| look(step as f32 * (EXPONENT_MAX * 1e-6)));
        look(SERIES_MAX);
        look(f32::from_bits(SERIES_MAX.to_bits() - 1));
        assert!(worst <= 2f64.powi(-23), "{worst:e}");
    }

    #[test]
    fn nothing_is_lost_at_once_and_all_in_the_end() {
        assert_eq!(exp_of_minus(0.0).to_bits(), 1f32.to_bits());
        for x in [EXPONENT_MAX + 0.01, 1e6, f32::MAX, f32::INFINITY] {
            assert_eq!(exp_of_minus(x).to_bits(), 0, "{x}");
        }
        assert!(exp_of_minus(EXPONENT_MAX) > 0.0);
    }

    #[test]
    fn it_only_falls() {
        let mut before = 1.0;
        for step in 0..870_000 {
            let now = exp_of_minus(step as f32 * 1e-4);
            assert!(now <= before, "{step}");
            before = now;
        }
    }

    #[test]
    fn a_stamp_from_the_future_has_lost_nothing() {
        let decay = Decay::over(1.0);
        let [early, late] = [999, 1_000].map(|at| Stamp::of(Nanos::from_millis(at)));
        assert_eq!(decay.left(late, early).to_bits(), 1f32.to_bits());
        assert!(decay.left(early, late) < 1.0);
    }
}
