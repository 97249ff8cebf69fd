//! What a handful of independent samples says: intervals, and which differences are real.

use std::f64::consts::PI;

/// How sure an interval is.
pub const CONFIDENCE: f64 = 0.95;

/// A mean and how far it may be from the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The mean of the samples.
    pub mean: f64,
    /// Half of the interval; infinite with fewer than two samples.
    pub half_width: f64,
    /// The probability of a mean as far from zero if the truth were zero.
    pub p: f64,
}

impl Estimate {
    /// Of independent samples, by Student's t; `None` without any.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let count = samples.len();
        if count == 0 {
            return None;
        }
        let mean = samples.iter().sum::<f64>() / count as f64;
        if count == 1 {
            return Some(Self { mean, half_width: f64::INFINITY, p: 1.0 });
        }
        let freedom = (count - 1) as f64;
        let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / freedom;
        let error = (variance / count as f64).sqrt();
        let p = match (error > 0.0, mean == 0.0) {
            (true, _) => 2.0 * (1.0 - student_cdf((mean / error).abs(), freedom)),
            (false, true) => 1.0,
            (false, false) => 0.0,
        };
        Some(Self { mean, half_width: student_quantile(f64::midpoint(1.0, CONFIDENCE), freedom) * error, p })
    }

    /// The interval, where there is one.
    pub fn interval(&self) -> Option<[f64; 2]> {
        self.half_width.is_finite().then_some([self.mean - self.half_width, self.mean + self.half_width])
    }
}

/// Which of several hypotheses may be rejected together (S. Holm, 1979), by their probabilities.
pub fn holm(probabilities: &[f64]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let mut rejected = vec![false; probabilities.len()];
    for (rank, index) in order.into_iter().enumerate() {
        if probabilities[index] > (1.0 - CONFIDENCE) / (probabilities.len() - rank) as f64 {
            break;
        }
        rejected[index] = true;
    }
    rejected
}

/// The distribution function of Student's t, for t >= 0.
fn student_cdf(t: f64, freedom: f64) -> f64 {
    1.0 - 0.5 * incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t))
}

/// The value that Student's t does not exceed with this probability of a half or more.
pub fn student_quantile(share: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while student_cdf(high, freedom) < share && high < 1e6 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if student_cdf(middle, freedom) < share { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// The regularised incomplete beta function, by Lentz's continued fraction.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(a, b, x) / a
    } else {
        1.0 - front * beta_fraction(b, a, 1.0 - x) / b
    }
}

#[expect(clippy::many_single_char_names, reason = "the letters of the formula")]
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..500 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = fraction;
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            fraction *= c * d;
        }
        if (fraction / before - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

/// Lanczos' approximation, for x > 0.
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        return (PI / (PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let sum =
        (1u32..).zip(TERMS).fold(0.999_999_999_999_809_9, |sum, (k, term)| sum + term / (x + f64::from(k)));
    let t = x + 7.5;
    0.5 * (2.0 * PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_student_are_those_of_the_tables() {
        for (freedom, expected) in
            [(1.0, 12.706_205), (2.0, 4.302_653), (7.0, 2.364_624), (19.0, 2.093_024), (1e5, 1.959_987)]
        {
            let found = student_quantile(0.975, freedom);
            assert!((found - expected).abs() < 1e-5, "{freedom}: {found}");
        }
    }

    #[test]
    fn an_estimate_has_its_interval_and_probability() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert!((estimate.mean - 2.5).abs() < 1e-12);
        // t(3, 0.975) = 3.182446; standard error = 0.645497.
        assert!((estimate.half_width - 2.054_26).abs() < 1e-4, "{estimate:?}");
        assert!((estimate.p - 0.030_466).abs() < 1e-5, "{estimate:?}");
        assert_eq!(Estimate::of(&[]), None);
        assert_eq!(Estimate::of(&[1.0]).unwrap().interval(), None);
    }

    #[test]
    fn holm_stops_at_the_first_that_is_not_clear() {
        assert_eq!(holm(&[0.01, 0.04, 0.03, 0.005]), [true, false, false, true]);
        assert_eq!(holm(&[]), Vec::<bool>::new());
    }
}
