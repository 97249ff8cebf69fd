//! What makes the numbers of a scenario sound.

use crate::events::SERVERS_MAX;
use crate::scenario::{Arrivals, FaultKind, Scenario, Service};
use std::collections::BTreeSet;
use steelyard_core::problem::{PathItem, Problem};

/// Bounds of a scenario's size.
const REQUESTS_MAX: u64 = 1_000_000_000;
const REPLICATIONS_MAX: u32 = 10_000;
const BALANCERS_MAX: u32 = 10_000;
const ENDPOINTS_MAX: usize = 100_000;
const POINTS_MAX: u32 = 100_000;
const KEYS_MAX: u32 = 100_000_000;
/// Keys that all endpoints together keep at the most.
const CACHED_MAX: u64 = 100_000_000;
/// Virtual time is counted in nanoseconds: a century is well within.
const SECONDS_MAX: f64 = 3.2e9;

/// Collects problems.
pub(super) struct Problems(pub Vec<Problem>);

/// A path of keys and indices.
macro_rules! way {
    ($($item:expr),*) => { vec![$(PathItem::from($item)),*] };
}
pub(super) use way;

impl Problems {
    pub fn refuse(&mut self, path: Vec<PathItem>, message: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Problem { path, message: message.into(), hint: Some(hint.into()) });
    }

    /// Refuses what is no number above 0, or more than virtual time can hold.
    fn positive(&mut self, path: Vec<PathItem>, value: f64) {
        if !(value > 0.0 && value <= SECONDS_MAX) {
            self.refuse(path, format!("{value} does not do here"), "write a number above 0");
        }
    }

    fn not_negative(&mut self, path: Vec<PathItem>, value: f64) {
        if !(0.0..=SECONDS_MAX).contains(&value) {
            self.refuse(path, format!("{value} does not do here"), "write 0 or more");
        }
    }

    fn between(&mut self, key: &str, value: u64, low: u64, high: u64) {
        if !(low..=high).contains(&value) {
            self.refuse(way![key], format!("{value} is out of bounds"), format!("write {low} to {high}"));
        }
    }
}

pub(super) fn check(scenario: &Scenario) -> Vec<Problem> {
    let mut problems = Problems(Vec::new());
    check_size(scenario, &mut problems);
    check_cache(scenario, &mut problems);
    check_policies(scenario, &mut problems);
    check_endpoints(scenario, &mut problems);
    check_arrivals(&scenario.arrivals, scenario.requests, &mut problems);
    check_service(&scenario.service, &mut problems);
    check_faults(scenario, &mut problems);
    problems.0
}

fn check_size(scenario: &Scenario, problems: &mut Problems) {
    match (scenario.requests, scenario.duration_s) {
        (Some(_), Some(_)) => problems.refuse(
            way!["duration"],
            "the length of a run is said twice",
            "keep either requests or duration",
        ),
        (None, None) if matches!(scenario.arrivals, Arrivals::Trace { .. }) => {}
        (None, None) => problems.refuse(
            way!["requests"],
            "nothing says how long a run is",
            "write requests = 400_000 or duration = \"3600s\"",
        ),
        (Some(requests), None) => problems.between("requests", requests, 1, REQUESTS_MAX),
        (None, Some(duration_s)) => problems.positive(way!["duration"], duration_s),
    }
    if !(0.0..1.0).contains(&scenario.warmup) {
        problems.refuse(
            way!["warmup"],
            "the warm-up is a share of the run",
            "write a number from 0 to below 1",
        );
    }
    problems.between("replications", scenario.replications.into(), 1, REPLICATIONS_MAX.into());
    problems.between("balancers", scenario.balancers.into(), 1, BALANCERS_MAX.into());
    problems.between("series_buckets", scenario.series_buckets.into(), 0, POINTS_MAX.into());
    problems.between("keys", scenario.keys.into(), 1, KEYS_MAX.into());
    problems.not_negative(way!["information_delay"], scenario.information_delay_s);
    if !(0.0..=100.0).contains(&scenario.key_skew) {
        problems.refuse(
            way!["key_skew"],
            format!("{} does not do here", scenario.key_skew),
            "write 0 to 100",
        );
    }
}

fn check_cache(scenario: &Scenario, problems: &mut Problems) {
    let Some(cache) = scenario.cache else { return };
    problems.positive(way!["cache", "hit_factor"], cache.hit_factor);
    let all = u64::from(cache.entries) * scenario.endpoints.len() as u64;
    if cache.entries == 0 || all > CACHED_MAX {
        let message = format!("{} keys at each endpoint are out of bounds", cache.entries);
        let hint = format!("write 1 or more, {CACHED_MAX} at all endpoints together");
        problems.refuse(way!["cache", "entries"], message, hint);
    }
}

fn check_policies(scenario: &Scenario, problems: &mut Problems) {
    if scenario.policies.is_empty() {
        problems.refuse(
            way!["policies"],
            "there is nothing to compare",
            "write policies = [\"least_request\"]",
        );
    }
    let mut taken = BTreeSet::new();
    for (index, contender) in scenario.policies.iter().enumerate() {
        if !taken.insert(&contender.label) {
            let message = format!("there is another policy labelled {:?}", contender.label);
            problems.refuse(way!["policies", index], message, "give one of them another label");
        }
    }
}

fn check_endpoints(scenario: &Scenario, problems: &mut Problems) {
    let count = scenario.endpoints.len();
    if !(1..=ENDPOINTS_MAX).contains(&count) {
        let hint = format!("there can be 1 to {ENDPOINTS_MAX}");
        problems.refuse(way!["endpoints"], format!("{count} endpoints do not do"), hint);
    }
    for (index, endpoint) in scenario.endpoints.iter().enumerate() {
        problems.positive(way!["endpoints", index, "speed"], endpoint.speed);
        if endpoint.concurrency == 0 {
            let hint = "write how many requests it serves at once";
            problems.refuse(way!["endpoints", index, "concurrency"], "0 requests at once are none", hint);
        }
    }
    let servers: u64 = scenario.endpoints.iter().map(|endpoint| u64::from(endpoint.concurrency)).sum();
    if servers >= SERVERS_MAX {
        let message = format!("all endpoints together serve {servers} requests at once");
        problems.refuse(way!["endpoints"], message, format!("the most is {}", SERVERS_MAX - 1));
    }
}

fn check_arrivals(arrivals: &Arrivals, requests: Option<u64>, problems: &mut Problems) {
    let at = |key: &str| way!["arrivals", key];
    match arrivals {
        Arrivals::Poisson { rate } | Arrivals::Deterministic { rate } => problems.positive(at("rate"), *rate),
        Arrivals::OnOff { rate_on, rate_off, on_s, off_s } => {
            problems.positive(at("rate_on"), *rate_on);
            problems.not_negative(at("rate_off"), *rate_off);
            problems.positive(at("on"), *on_s);
            problems.positive(at("off"), *off_s);
        }
        Arrivals::Profile { points } => {
            for (index, &(time_s, rate)) in points.iter().enumerate() {
                problems.not_negative(way!["arrivals", "points", index, 0], time_s);
                problems.not_negative(way!["arrivals", "points", index, 1], rate);
                if index > 0 && time_s <= points[index - 1].0 {
                    let message = "the points of a profile come in the order of their times";
                    problems.refuse(way!["arrivals", "points", index, 0], message, "sort them");
                }
            }
            if points.last().is_some_and(|&(_, rate)| rate <= 0.0) && requests.is_some() {
                let message = "the profile ends at 0, so that no given number of requests need ever come";
                problems.refuse(way!["requests"], message, "write how long a run is: duration = \"3600s\"");
            }
            if !points.iter().any(|&(_, rate)| rate > 0.0) {
                problems.refuse(at("points"), "no request ever comes", "write points = [[0, 5], [60, 20]]");
            }
        }
        Arrivals::Trace { times_s } => {
            check_trace(times_s, "times", problems);
            if let Some(index) = times_s.windows(2).position(|pair| pair[1] < pair[0]) {
                let message = "the times of a trace come in their order";
                problems.refuse(way!["arrivals", "times", index + 1], message, "sort them");
            }
        }
    }
}

fn check_trace(values: &[f64], key: &str, problems: &mut Problems) {
    let table = if key == "times" { "arrivals" } else { "service" };
    if values.is_empty() {
        problems.refuse(way![table, key], "the trace is empty", "name a trace with at least one line");
    }
    if let Some(index) = values.iter().position(|value| !(0.0..=SECONDS_MAX).contains(value)) {
        problems.not_negative(way![table, key, index], values[index]);
    }
}

fn check_service(service: &Service, problems: &mut Problems) {
    let at = |key: &str| way!["service", key];
    match *service {
        Service::Constant { mean_s } | Service::Exponential { mean_s } => {
            problems.positive(at("mean"), mean_s);
        }
        Service::Lognormal { mean_s, c2 } => {
            problems.positive(at("mean"), mean_s);
            problems.not_negative(at("c2"), c2);
        }
        Service::Hyperexponential { mean_s, c2 } => {
            problems.positive(at("mean"), mean_s);
            if !(1.0..=1e6).contains(&c2) {
                let message = format!("a hyperexponential service cannot have c2 = {c2}");
                problems.refuse(at("c2"), message, "write 1 or more, or kind = \"lognormal\"");
            }
        }
        Service::Pareto { mean_s, alpha, bound_s } => {
            problems.positive(at("mean"), mean_s);
            problems.positive(at("alpha"), alpha);
            problems.positive(at("bound"), bound_s);
            if bound_s <= mean_s {
                problems.refuse(at("bound"), "the bound is not above the mean", "write a larger bound");
            }
        }
        Service::Trace { ref samples_s } => check_trace(samples_s, "samples", problems),
    }
}

fn check_faults(scenario: &Scenario, problems: &mut Problems) {
    for (index, fault) in scenario.faults.iter().enumerate() {
        let at = |key: &str| way!["faults", index, key];
        problems.not_negative(at("at"), fault.at_s);
        if fault.endpoint >= scenario.endpoints.len() {
            let message = format!("there is no endpoint {}", fault.endpoint);
            let hint = format!("they are counted from 0 to {}", scenario.endpoints.len().saturating_sub(1));
            problems.refuse(at("endpoint"), message, hint);
        }
        if let Some(until_s) = fault.until_s {
            if until_s > fault.at_s {
                problems.positive(at("until"), until_s);
            } else {
                problems.refuse(at("until"), "it ends before it begins", "write a later time");
            }
        }
        match (fault.kind, fault.factor) {
            (FaultKind::Slow, Some(factor)) => problems.positive(at("factor"), factor),
            (FaultKind::Slow, None) => {
                problems.refuse(at("factor"), "how slow it becomes is missing", "write factor = 10.0");
            }
            (_, Some(_)) => {
                problems.refuse(at("factor"), "only what is slow has a factor", "leave it out");
            }
            (_, None) => {}
        }
    }
    let joins = |index| {
        scenario.faults.iter().any(|fault| {
            fault.kind == FaultKind::Add
                && fault.endpoint == index
                && (fault.at_s > 0.0 || fault.until_s.is_some())
        })
    };
    let count = scenario.endpoints.len();
    if count > 0 && (0..count).all(joins) {
        let hint = "leave one that is there from the beginning to the end";
        problems.refuse(way!["faults"], "every endpoint is added later or leaves", hint);
    }
}
