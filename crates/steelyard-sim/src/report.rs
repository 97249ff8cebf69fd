//! What a simulation found, as it is told to people.

use crate::histogram::Histogram;
use crate::plan::Plan;
use crate::series::Series;
use crate::statistics::{Estimate, holm};
use crate::tally::{Batch, Tally};
use serde::Serialize;

/// Points of a distribution in its body, by equal shares.
const BODY: usize = 150;
/// Points of its tail, to a share of one in 100,000.
const TAIL: usize = 50;
const TAIL_DECADES: f64 = 3.0;

/// An estimate and its interval.
type Interval = Option<[f64; 2]>;

/// Everything that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The seed that gives this result again.
    pub seed: u64,
    /// Arrivals and completions per second of one core; the only value that differs between two runs.
    pub events_per_second: f64,
    /// What is doubtful about the scenario.
    pub warnings: Vec<String>,
    /// In the order of the scenario.
    pub policies: Vec<PolicyReport>,
    /// Every pair of policies, on the same arrivals and service times.
    pub differences: Vec<Difference>,
}

/// What one policy did. Times are those of good answers, from arrival to end; `null` where there was none.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it, and the manual")]
pub struct PolicyReport {
    pub name: String,
    /// Requests that ended, over all replications, without the warm-up.
    pub requests: u64,
    pub mean_s: Option<f64>,
    pub mean_ci_s: Interval,
    pub p50_s: Option<f64>,
    pub p50_ci_s: Interval,
    pub p90_s: Option<f64>,
    pub p90_ci_s: Interval,
    pub p99_s: Option<f64>,
    pub p99_ci_s: Interval,
    pub p999_s: Option<f64>,
    pub p999_ci_s: Interval,
    /// The share of all servers' time in which they worked.
    pub utilisation: f64,
    pub utilisation_by_endpoint: Vec<f64>,
    /// Requests without a good answer.
    pub errors: u64,
    pub retries: u64,
    /// Over all requests, those that did not wait included.
    pub queue_wait_mean_s: f64,
    /// The share of attempts that went to each endpoint.
    pub share: Vec<f64>,
    /// Times and the share of answers that took no longer.
    pub distribution: Vec<(f64, f64)>,
    /// Of the first replication.
    pub series: Option<Series>,
}

/// How two policies differ in their mean times: `a` less `b`, paired.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The one.
    pub a: String,
    /// The other.
    pub b: String,
    /// The mean of the differences.
    pub mean_s: f64,
    /// Its own 95 % interval.
    pub ci_s: Interval,
    /// Whether it is real, taken together with all other pairs (Holm).
    pub significant: bool,
}

/// Puts the report together; `tallies` by policy and replication.
pub(crate) fn report(plan: &Plan, tallies: Vec<Vec<Tally>>, seconds: f64) -> Report {
    let events: u64 = tallies.iter().flatten().map(|tally| tally.events).sum();
    let differences = differences(plan, &tallies);
    let policies =
        plan.labels.iter().zip(tallies).map(|(label, tallies)| result(plan, label, tallies)).collect();
    Report {
        seed: plan.seed,
        events_per_second: events as f64 / seconds.max(1e-9),
        warnings: plan.warnings.clone(),
        policies,
        differences,
    }
}

fn result(plan: &Plan, name: &str, mut tallies: Vec<Tally>) -> PolicyReport {
    let series = tallies.first_mut().and_then(|tally| tally.series.take());
    let sum = |value: fn(&Tally) -> u64| tallies.iter().map(value).sum::<u64>();
    let (requests, errors, retries) =
        (sum(|tally| tally.requests), sum(|tally| tally.errors), sum(|tally| tally.retries));
    let waited_s: f64 = tallies.iter().map(|tally| tally.queue_wait_s).sum();
    let (utilisation, utilisation_by_endpoint) = utilisation(plan, &tallies);
    let mean = estimate(&tallies, Batch::mean_s);
    let quantile = |share: f64| estimate(&tallies, |batch| batch.times.quantile(share));
    let (p50, p90, p99, p999) = (quantile(0.5), quantile(0.9), quantile(0.99), quantile(0.999));
    PolicyReport {
        name: name.to_owned(),
        requests,
        mean_s: mean.map(|mean| mean.mean),
        mean_ci_s: mean.and_then(|mean| mean.interval()),
        p50_s: p50.map(|p50| p50.mean),
        p50_ci_s: p50.and_then(|p50| p50.interval()),
        p90_s: p90.map(|p90| p90.mean),
        p90_ci_s: p90.and_then(|p90| p90.interval()),
        p99_s: p99.map(|p99| p99.mean),
        p99_ci_s: p99.and_then(|p99| p99.interval()),
        p999_s: p999.map(|p999| p999.mean),
        p999_ci_s: p999.and_then(|p999| p999.interval()),
        utilisation,
        utilisation_by_endpoint,
        errors,
        retries,
        queue_wait_mean_s: if requests == 0 { 0.0 } else { waited_s / requests as f64 },
        share: shares(&tallies),
        distribution: distribution(&tallies),
        series,
    }
}

/// Of a value that each batch has: the batches of all replications are its samples.
fn estimate(tallies: &[Tally], value: impl Fn(&Batch) -> Option<f64>) -> Option<Estimate> {
    let samples: Vec<f64> = tallies.iter().flat_map(|tally| &tally.batches).filter_map(value).collect();
    Estimate::of(&samples)
}

fn utilisation(plan: &Plan, tallies: &[Tally]) -> (f64, Vec<f64>) {
    let window_s: f64 = tallies.iter().map(|tally| tally.window_s).sum();
    let share = |busy_s: f64, servers: f64| if window_s > 0.0 { busy_s / (window_s * servers) } else { 0.0 };
    let busy = |index: usize| tallies.iter().map(|tally| tally.busy_s[index]).sum::<f64>();
    let servers = |index: usize| f64::from(plan.endpoints[index].concurrency);
    let count = plan.endpoints.len();
    let whole = share((0..count).map(busy).sum(), (0..count).map(servers).sum());
    (whole, (0..count).map(|index| share(busy(index), servers(index))).collect())
}

fn shares(tallies: &[Tally]) -> Vec<f64> {
    let count = tallies.first().map_or(0, |tally| tally.attempts.len());
    let at = |index: usize| tallies.iter().map(|tally| tally.attempts[index]).sum::<u64>() as f64;
    let whole: f64 = (0..count).map(at).sum();
    (0..count).map(|index| if whole > 0.0 { at(index) / whole } else { 0.0 }).collect()
}

fn distribution(tallies: &[Tally]) -> Vec<(f64, f64)> {
    let mut whole = Histogram::default();
    tallies.iter().flat_map(|tally| &tally.batches).for_each(|batch| whole.add(&batch.times));
    let body = (0..BODY).map(|point| point as f64 / BODY as f64 * 0.99);
    let tail = (0..=TAIL).map(|point| 1.0 - 0.01 * 10f64.powf(-TAIL_DECADES * point as f64 / TAIL as f64));
    let mut points: Vec<(f64, f64)> =
        body.chain(tail).filter_map(|share| Some((whole.quantile(share)?, share))).collect();
    // Of several shares at one time, the largest is true.
    points.reverse();
    points.dedup_by(|next, kept| next.0 >= kept.0);
    points.reverse();
    points
}

fn differences(plan: &Plan, tallies: &[Vec<Tally>]) -> Vec<Difference> {
    let mut found = Vec::new();
    for a in 0..tallies.len() {
        for b in a + 1..tallies.len() {
            let batches = |policy: usize| tallies[policy].iter().flat_map(|tally| &tally.batches);
            let pairs = batches(a).zip(batches(b));
            let samples: Vec<f64> = pairs.filter_map(|(a, b)| Some(a.mean_s()? - b.mean_s()?)).collect();
            if let Some(estimate) = Estimate::of(&samples) {
                found.push((a, b, estimate));
            }
        }
    }
    let significant = holm(&found.iter().map(|(.., estimate)| estimate.p).collect::<Vec<_>>());
    let tell = |((a, b, estimate), significant): ((usize, usize, Estimate), bool)| Difference {
        a: plan.labels[a].clone(),
        b: plan.labels[b].clone(),
        mean_s: estimate.mean,
        ci_s: estimate.interval(),
        significant,
    };
    found.into_iter().zip(significant).map(tell).collect()
}
