//! Weights that are learned while a pool runs, in the place of the configured ones.
//!
//! What was learned of an endpoint is one number in its state, which outlives snapshots; only its proportion to those of
//! the others in the pool means something. At most once a second the control thread makes a [`Table`] of the numbers and
//! of what the policy works out beforehand, and swaps it in whole: within one pick all weights are of one table.
//!
//! A weight that is not known is the mean of those that are; where fewer than two are known the configured weights hold.
//! A configured weight of 0 stays 0. The mean of learned weights is that of the configured ones, so that nothing that
//! counts weights (the points of a ring) changes its size when the first report comes.

use crate::document;
use crate::policy::{KEYED, Policy, Prospect};
use crate::sync::{AtomicU32, Ordering};

/// No weight counts as less than this share of the largest: what is chosen now and then can show that it is well again.
pub const SHARE_MIN: f32 = 0.01;
/// Where requests go by a key, a weight that differs from the one in force by no more than this share of it changes
/// nothing: each change moves keys.
pub const KEYED_CHANGE_MIN: f32 = 0.1;
/// Weights are whole numbers of so many parts in all, up to [`FEW`] endpoints.
const PARTS_FEW: f64 = 16_384.0;
/// The same of more endpoints: as many as a cycle of `weighted` can have, less one for each that is rounded up.
const PARTS_MANY: f64 = 60_000.0;
/// Up to so many endpoints a cycle is worked out by the scheme whose cost grows with their number.
const FEW: usize = 256;
/// Bounds of what is noted, far beyond any use: sums over any pool stay numbers.
const LEAST: f32 = 1e-12;
const MOST: f32 = 1e12;

/// What was learned of one endpoint; 0 = nothing.
#[derive(Debug, Default)]
pub struct Learned {
    weight: AtomicU32,
    /// The weight that keys go by.
    settled: AtomicU32,
}

impl Learned {
    /// Notes a weight; what is no number above 0 is none.
    pub fn set(&self, weight: Option<f32>) {
        let sound = weight.filter(|&weight| weight > 0.0).map_or(0.0, |weight| weight.clamp(LEAST, MOST));
        self.weight.store(sound.to_bits(), Ordering::Relaxed);
    }

    /// Forgets everything.
    pub fn forget(&self) {
        self.set(None);
        self.settled.store(0, Ordering::Relaxed);
    }

    /// The weight that was noted last.
    pub fn get(&self) -> Option<f32> {
        known(&self.weight)
    }
}

fn known(weight: &AtomicU32) -> Option<f32> {
    Some(f32::from_bits(weight.load(Ordering::Relaxed))).filter(|&weight| weight > 0.0)
}

/// One endpoint of a pool, for its table.
#[derive(Debug, Clone, Copy)]
pub struct Share<'e> {
    /// 0 takes no requests.
    pub configured: u32,
    /// What was learned of it.
    pub learned: &'e Learned,
    /// Its name, for policies that hash.
    pub name: u64,
    /// Its level.
    pub level: usize,
}

/// The weight of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weight {
    /// On the scale of the configured weights.
    pub weight: f32,
    /// 1 / the weight.
    pub inverse: f32,
    /// In parts, for tables.
    pub parts: u32,
}

/// The learned weights of a pool and what its policy has worked out for them.
#[derive(Debug)]
pub struct Table {
    weights: Box<[Weight]>,
    policies: Box<[Policy]>,
    is_learned: bool,
}

/// What a look at the learned weights comes to.
#[derive(Debug)]
pub enum Renewal {
    /// What is in force is still right.
    Nothing,
    /// A new table.
    New(Table),
}

impl Renewal {
    /// Looks at what has been learned of these endpoints of so many levels; `current` is the table in force, and without
    /// one the configured weights are.
    pub fn of(
        config: &document::Policy,
        shares: &[Share<'_>],
        levels: usize,
        current: Option<&Table>,
    ) -> Self {
        let learned = learned(shares, KEYED.contains(&config.name.as_str()));
        let is_learned = learned.is_some();
        let weights = match (learned, current) {
            (Some(weights), _) => weights,
            // In parts of the same size as before, which turns that are half taken are counted in.
            (None, Some(_)) => shares.iter().map(|share| share.configured as f32).collect(),
            (None, None) => return Self::Nothing,
        };
        let (weights, parts) = in_parts(&weights);
        if current.is_some_and(|current| *current.weights == *weights && current.is_learned == is_learned) {
            return Self::Nothing;
        }
        let policies = policies(config, shares, levels, &weights, parts);
        policies.map_or(Self::Nothing, |policies| {
            Self::New(Table { weights: weights.into(), policies, is_learned })
        })
    }
}

impl Table {
    /// Whether these are learned weights: the configured ones hold again where too little is known.
    pub fn is_learned(&self) -> bool {
        self.is_learned
    }

    /// Notes the weights in force, against which the next are compared where keys go by them.
    pub fn settle(&self, shares: &[Share<'_>]) {
        for (share, weight) in shares.iter().zip(&self.weights) {
            share.learned.settled.store(weight.weight.to_bits(), Ordering::Relaxed);
        }
    }

    /// The weight of the endpoint at this index.
    pub fn weight(&self, index: usize) -> &Weight {
        &self.weights[index]
    }

    /// The policy of this level.
    pub(crate) fn policy(&self, level: usize) -> &Policy {
        &self.policies[level]
    }
}

/// What the policy works out for each level.
fn policies(
    config: &document::Policy,
    shares: &[Share<'_>],
    levels: usize,
    weights: &[Weight],
    parts: f64,
) -> Option<Box<[Policy]>> {
    (0..levels)
        .map(|level| {
            let prospects: Vec<Prospect> = shares
                .iter()
                .zip(weights)
                .map(|(share, weight)| Prospect {
                    weight: if share.level == level { weight.parts } else { 0 },
                    name: share.name,
                })
                .collect();
            let policy = Policy::build_of_parts(config, &prospects, parts)?;
            Some(if levels > 1 { policy.among_others() } else { policy })
        })
        .collect()
}

/// The learned weights of these endpoints; `None` where too little is known.
fn learned(shares: &[Share<'_>], keyed: bool) -> Option<Vec<f32>> {
    let takes = |share: &&Share<'_>| share.configured > 0;
    let known: Vec<f32> = shares.iter().filter(takes).filter_map(|share| share.learned.get()).collect();
    if known.len() < 2 {
        return None;
    }
    let mean = mean(&known);
    let least = known.iter().copied().fold(0.0, f32::max) * SHARE_MIN;
    let bounded = |share: &Share<'_>| match share.configured {
        0 => 0.0,
        _ => share.learned.get().unwrap_or(mean).max(least),
    };
    let weights: Vec<f32> = shares.iter().map(bounded).collect();
    let configured: f32 = shares.iter().map(|share| share.configured as f32).sum();
    let scale = configured / weights.iter().sum::<f32>();
    let settle = |(share, weight): (&Share<'_>, f32)| match self::known(&share.learned.settled) {
        Some(settled) if keyed && (weight * scale - settled).abs() <= settled * KEYED_CHANGE_MIN => settled,
        _ => weight * scale,
    };
    Some(shares.iter().zip(weights).map(settle).collect())
}

/// Weights in whole parts, and how many of these make a weight of 1. None that is above 0 becomes 0.
fn in_parts(weights: &[f32]) -> (Vec<Weight>, f64) {
    let all = if weights.len() <= FEW { PARTS_FEW } else { PARTS_MANY };
    let parts = all / f64::from(weights.iter().sum::<f32>().max(f32::MIN_POSITIVE));
    let weight = |&weight: &f32| Weight {
        weight,
        inverse: 1.0 / weight,
        parts: if weight > 0.0 { ((f64::from(weight) * parts).round() as u32).max(1) } else { 0 },
    };
    (weights.iter().map(weight).collect(), parts)
}

/// The mean; 0 of nothing.
pub(crate) fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len().max(1) as f32
}

#[cfg(all(test, not(loom)))]
mod tests;
