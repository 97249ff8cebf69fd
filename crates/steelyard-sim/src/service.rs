//! What requests take.

use crate::scenario::Service;
use crate::streams::{exponential, fill_exponential, normal, uniform};
use rand::Rng;
use steelyard_core::random::below;

/// A distribution with everything worked out that can be beforehand.
#[derive(Debug, Clone)]
pub(crate) enum Sampler {
    /// Always this.
    Constant(f64),
    /// Of this mean.
    Exponential(f64),
    /// By the mean and the spread of the logarithm.
    Lognormal { mu: f64, sigma: f64 },
    /// The probability of the first phase, and the means of both.
    Hyperexponential { first: f64, means: [f64; 2] },
    /// The smallest value, the share of the whole tail that lies below the bound, and -1 / alpha.
    Pareto { least: f64, kept: f64, power: f64 },
    /// One of these.
    Trace(Vec<f64>),
}

impl Sampler {
    /// The sampler of a service that has passed its check.
    pub fn new(service: &Service) -> Self {
        match *service {
            Service::Constant { mean_s } => Self::Constant(mean_s),
            Service::Exponential { mean_s } => Self::Exponential(mean_s),
            Service::Lognormal { mean_s, c2 } => {
                let variance = (1.0 + c2).ln();
                Self::Lognormal { mu: mean_s.ln() - variance / 2.0, sigma: variance.sqrt() }
            }
            Service::Hyperexponential { mean_s, c2 } => {
                let first = f64::midpoint(1.0, ((c2 - 1.0) / (c2 + 1.0)).sqrt());
                Self::Hyperexponential {
                    first,
                    means: [mean_s / (2.0 * first), mean_s / (2.0 * (1.0 - first))],
                }
            }
            Service::Pareto { mean_s, alpha, bound_s } => {
                let least = pareto_least(mean_s, alpha, bound_s);
                Self::Pareto { least, kept: 1.0 - (least / bound_s).powf(alpha), power: -1.0 / alpha }
            }
            Service::Trace { ref samples_s } => Self::Trace(samples_s.clone()),
        }
    }

    /// Service times at speed 1, in seconds.
    pub fn fill(&self, rng: &mut impl Rng, times_s: &mut [f64]) {
        if let Self::Exponential(mean) = self {
            fill_exponential(rng, times_s);
            for time_s in times_s {
                *time_s *= mean;
            }
        } else {
            for time_s in times_s {
                *time_s = self.draw(rng);
            }
        }
    }

    /// One service time at speed 1, in seconds.
    fn draw(&self, rng: &mut impl Rng) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Exponential(mean) => exponential(rng) * mean,
            Self::Lognormal { mu, sigma } => (mu + sigma * normal(rng)).exp(),
            Self::Hyperexponential { first, means } => {
                let phase = usize::from(uniform(rng) >= *first);
                exponential(rng) * means[phase]
            }
            Self::Pareto { least, kept, power } => least * (1.0 - uniform(rng) * kept).powf(*power),
            Self::Trace(samples) => samples[below(rng, samples.len())],
        }
    }
}

/// The mean of a service.
pub fn mean_s(service: &Service) -> f64 {
    match service {
        Service::Constant { mean_s }
        | Service::Exponential { mean_s }
        | Service::Lognormal { mean_s, .. }
        | Service::Hyperexponential { mean_s, .. }
        | Service::Pareto { mean_s, .. } => *mean_s,
        Service::Trace { samples_s } => samples_s.iter().sum::<f64>() / samples_s.len().max(1) as f64,
    }
}

/// The mean of a bounded Pareto distribution.
fn pareto_mean(least: f64, alpha: f64, bound: f64) -> f64 {
    let ratio = least / bound;
    if (alpha - 1.0).abs() < 1e-9 {
        return least * -ratio.ln() / (1.0 - ratio);
    }
    let kept = 1.0 - ratio.powf(alpha);
    least / kept * alpha / (alpha - 1.0) * (1.0 - ratio.powf(alpha - 1.0))
}

/// The smallest value that gives this mean: the mean grows with it, from 0 to the bound.
fn pareto_least(mean: f64, alpha: f64, bound: f64) -> f64 {
    let (mut low, mut high) = (0.0, mean);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if pareto_mean(middle, alpha, bound) < mean {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{Stream, generator};

    const BATCH_COUNT: usize = 100;
    const BATCH_DRAWS: usize = 100_000;
    /// One in two million goes beyond so many standard errors by chance.
    const ERRORS_MAX: f64 = 5.0;

    /// The first four moments of what is drawn from two exponential distributions.
    fn moments(first: f64, means: [f64; 2]) -> [f64; 4] {
        [1, 2, 3, 4].map(|order| {
            let factorial = f64::from((1..=order).product::<i32>());
            factorial * (first * means[0].powi(order) + (1.0 - first) * means[1].powi(order))
        })
    }

    #[test]
    fn a_hyperexponential_time_has_the_mean_and_the_spread_that_are_given() {
        for (number, c2) in [1.0, 1.5, 2.0, 4.0, 10.0, 30.0, 100.0].into_iter().enumerate() {
            let sampler = Sampler::new(&Service::Hyperexponential { mean_s: 0.02, c2 });
            let Sampler::Hyperexponential { first, means } = sampler else { unreachable!("it is one") };
            let [m1, m2, m3, m4] = moments(first, means);
            assert!((m1 / 0.02 - 1.0).abs() < 1e-12, "{c2}: the mean is {m1}");
            assert!((m2 / (m1 * m1) - 1.0 - c2).abs() < 1e-9 * c2, "{c2}: the moments are {m1} and {m2}");
            let halves = first * means[0] - (1.0 - first) * means[1];
            assert!(halves.abs() < 1e-15, "{c2}: each sort is half of the work, but for {halves}");

            let seed = 11 + number as u64;
            let (mut rng, mut times_s) = (generator(seed, 0, Stream::Service, 0), vec![0.0; BATCH_DRAWS]);
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..BATCH_COUNT {
                sampler.fill(&mut rng, &mut times_s);
                sum += times_s.iter().sum::<f64>();
                squares += times_s.iter().map(|time| time * time).sum::<f64>();
            }
            let count = (BATCH_COUNT * BATCH_DRAWS) as f64;
            let (mean, square) = (sum / count, squares / count);
            let error = ((m2 - m1 * m1) / count).sqrt();
            assert!((mean - m1).abs() < ERRORS_MAX * error, "{c2}, seed {seed}: mean {mean}, error {error}");
            // The squared coefficient of variation is a function of both sums, whose errors go together.
            let (by_square, by_mean) = (1.0 / (m1 * m1), -2.0 * m2 / (m1 * m1 * m1));
            let variance = by_square * by_square * (m4 - m2 * m2)
                + 2.0 * by_square * by_mean * (m3 - m1 * m2)
                + by_mean * by_mean * (m2 - m1 * m1);
            let (spread, error) = (square / (mean * mean) - 1.0, (variance / count).sqrt());
            assert!((spread - c2).abs() < ERRORS_MAX * error, "{c2}, seed {seed}: {spread}, error {error}");
        }
    }
}
