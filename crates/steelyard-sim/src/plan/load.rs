//! Whether the endpoints can carry the load, and what a simulation of it will not show.

use super::check::{Problems, way};
use crate::arrivals::{lasting_rate, peak_rate};
use crate::scenario::{Arrivals, Endpoint, Scenario};
use crate::service::mean_s;
use std::collections::BTreeMap;
use steelyard_core::document::{Document, Pool, Subset};
use steelyard_core::problem::{PathItem, Problem};
use steelyard_core::subset::subset;

/// Policies whose shares do not follow the load.
const BLIND: [&str; 4] = ["random", "round_robin", "weighted", "weighted_random"];

/// What is refused, and what is doubtful.
pub(super) fn check(scenario: &Scenario, documents: &[Document]) -> (Vec<Problem>, Vec<String>) {
    let mut problems = Problems(Vec::new());
    let mut warnings = Vec::new();
    if let Some(subset) = &documents[0].pools[0].subset {
        check_instances(scenario, subset, &mut problems);
        if !problems.0.is_empty() {
            return (problems.0, warnings);
        }
    }
    check_capacity(scenario, &documents[0].pools[0], &mut problems, &mut warnings);
    // Where all of them get too much, that has been said.
    if problems.0.is_empty() && warnings.is_empty() {
        for (contender, document) in scenario.policies.iter().zip(documents) {
            warnings.extend(overloaded_endpoint(scenario, &contender.label, &document.pools[0]));
        }
    }
    warnings.extend(not_simulated(&documents[0].pools[0]));
    (problems.0, warnings)
}

/// The balancers are instances one after the other.
fn check_instances(scenario: &Scenario, subset: &Subset, problems: &mut Problems) {
    let after = subset.instance.saturating_add(scenario.balancers);
    if after > subset.instances {
        let message = format!("the balancers are instances {} to {}", subset.instance, after - 1);
        let hint = format!("of {} there are none beyond {}", subset.instances, subset.instances - 1);
        problems.refuse(way!["pool", "subset", "instances"], message, hint);
    }
}

/// Whether any balancer talks to an endpoint, for each of them: in order, as those of each priority are divided.
fn is_reached(scenario: &Scenario, pool: &Pool) -> Vec<bool> {
    let Some(config) = &pool.subset else { return vec![true; scenario.endpoints.len()] };
    let mut reached = vec![false; scenario.endpoints.len()];
    let mut by_priority: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, endpoint) in scenario.endpoints.iter().enumerate() {
        by_priority.entry(endpoint.priority).or_default().push(index);
    }
    for places in by_priority.values() {
        let mut left = places.len();
        for balancer in 0..scenario.balancers {
            for place in subset(places.len(), config.size as usize, config.instance + balancer) {
                left -= usize::from(!std::mem::replace(&mut reached[places[place]], true));
            }
            if left == 0 {
                break;
            }
        }
    }
    reached
}

fn capacity(endpoint: &Endpoint, mean_s: f64) -> f64 {
    endpoint.speed * f64::from(endpoint.concurrency) / mean_s
}

fn check_capacity(scenario: &Scenario, pool: &Pool, problems: &mut Problems, warnings: &mut Vec<String>) {
    let mean_s = mean_s(&scenario.service);
    let reached = is_reached(scenario, pool);
    let unreached = reached.iter().filter(|reached| !**reached).count();
    if unreached > 0 {
        warnings.push(format!("{unreached} endpoints are in the subset of no balancer and get nothing"));
    }
    let usable =
        scenario.endpoints.iter().zip(reached).filter(|(endpoint, reached)| *reached && endpoint.weight > 0);
    let capacity: f64 = usable.map(|(endpoint, _)| capacity(endpoint, mean_s)).sum();
    let (lasting, peak) = (lasting_rate(&scenario.arrivals), peak_rate(&scenario.arrivals));
    // A trace ends by itself, and so does a profile that is cut off: what piles up is what would pile up.
    let ends = match scenario.arrivals {
        Arrivals::Trace { .. } => true,
        Arrivals::Profile { .. } => scenario.duration_s.is_some(),
        _ => false,
    };
    if lasting >= capacity && !ends && !is_bounded(scenario, pool) {
        let message = format!(
            "{lasting} requests a second come and the endpoints can serve {capacity}: the queues grow for ever"
        );
        let hint = "lower the rate, add endpoints, or bound the queues: waiting_room at every endpoint, or a \
                    threshold on requests with a queue";
        problems.refuse(place(&scenario.arrivals), message, hint);
    } else if lasting >= capacity {
        warnings.push(format!(
            "overload: {lasting} requests a second come and the endpoints can serve {capacity}; \
             what is over is refused or waits"
        ));
    } else if peak >= capacity && !matches!(scenario.arrivals, Arrivals::OnOff { .. }) {
        warnings.push(format!(
            "at times {peak} requests a second come and the endpoints can serve {capacity}; queues grow then"
        ));
    }
}

/// Where the rate stands that a kind of arrivals ends with.
fn place(arrivals: &Arrivals) -> Vec<PathItem> {
    match arrivals {
        Arrivals::Poisson { .. } | Arrivals::Deterministic { .. } => way!["arrivals", "rate"],
        Arrivals::OnOff { .. } => way!["arrivals", "rate_on"],
        Arrivals::Profile { points } => way!["arrivals", "points", points.len().saturating_sub(1)],
        Arrivals::Trace { .. } => way!["arrivals", "times"],
    }
}

/// Whether no more than a bounded number of requests can be under way.
fn is_bounded(scenario: &Scenario, pool: &Pool) -> bool {
    let rooms = scenario.endpoints.iter().all(|endpoint| endpoint.waiting_room.is_some());
    // A queue is bounded by its size, and one that is off lets none wait.
    rooms || pool.threshold.requests.is_some()
}

/// A policy that does not look at loads may give one endpoint more than it can carry.
fn overloaded_endpoint(scenario: &Scenario, label: &str, pool: &Pool) -> Option<String> {
    if !BLIND.contains(&pool.policy.name.as_str())
        || is_bounded(scenario, pool)
        || !scenario.faults.is_empty()
    {
        return None;
    }
    let share = |endpoint: &Endpoint| match pool.policy.name.as_str() {
        "random" => f64::from(u8::from(endpoint.weight > 0)),
        _ => f64::from(endpoint.weight),
    };
    let whole: f64 = scenario.endpoints.iter().map(share).sum();
    let (rate, mean_s) = (lasting_rate(&scenario.arrivals), mean_s(&scenario.service));
    let over = |endpoint: &&Endpoint| {
        share(endpoint) > 0.0 && rate * share(endpoint) / whole >= capacity(endpoint, mean_s)
    };
    let endpoint = scenario.endpoints.iter().find(over)?;
    Some(format!(
        "{label} gives {} more than it can serve, however long the run: its queue grows for ever",
        endpoint.name
    ))
}

/// What a pool may say that has no effect here.
fn not_simulated(pool: &Pool) -> Vec<String> {
    let mut warnings = Vec::new();
    if pool.threshold.bytes_per_second.is_some() {
        warnings.push("requests have no bytes here: threshold.bytes_per_second has no effect".to_owned());
    }
    if pool.connections.max.is_some() {
        warnings.push("connections are not simulated: connections.max has no effect".to_owned());
    }
    warnings
}
