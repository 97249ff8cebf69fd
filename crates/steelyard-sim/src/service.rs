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
