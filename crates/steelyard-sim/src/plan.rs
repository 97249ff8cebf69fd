//! A scenario that has been checked, with everything worked out that can be beforehand.

mod check;
pub(crate) mod compose;
mod load;

use crate::clock::span;
use crate::keys::Keys;
use crate::scenario::{Arrivals, Cache, Endpoint, Fault, Scenario, parse};
use crate::service::Sampler;
use steelyard_core::document::{self, Document, RetryOn};
use steelyard_core::problem::Problem;
use steelyard_core::time::Nanos;

/// A checked scenario.
#[derive(Debug)]
pub struct Plan {
    /// Where every stream begins.
    pub seed: u64,
    /// Arrivals per replication.
    pub requests: Option<u64>,
    /// Virtual time of arrivals per replication.
    pub duration: Option<Nanos>,
    /// The share of the beginning that is thrown away.
    pub warmup: f64,
    /// Independent runs.
    pub replications: u32,
    /// Decision makers.
    pub balancers: u32,
    /// How old the loads are that policies compare.
    pub information_delay: Nanos,
    /// Whether failures in a row eject an endpoint.
    pub ejection: bool,
    /// What the policies under comparison are called.
    pub labels: Vec<String>,
    /// The configuration of a balancer, for each policy.
    pub documents: Vec<Document>,
    /// The servers.
    pub endpoints: Vec<Endpoint>,
    /// When requests come.
    pub arrivals: Arrivals,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// What is doubtful about the scenario.
    pub warnings: Vec<String>,
    pub(crate) series_points: usize,
    /// By policy, whether requests need keys.
    pub(crate) keyed: Vec<bool>,
    pub(crate) keys: Keys,
    pub(crate) cache: Option<Cache>,
    pub(crate) sampler: Sampler,
    pub(crate) retry: Retry,
    pub(crate) times: Times,
}

/// When a request is tried again, as the pool says.
#[expect(clippy::struct_excessive_bools, reason = "each kind of failure is repeated or not")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retry {
    pub attempts: u32,
    pub connect: bool,
    pub reset: bool,
    pub server_error: bool,
    pub timeout: bool,
}

/// How long things may take, as the pool says; `None` = for ever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub response: Option<Nanos>,
    pub queue: Option<Nanos>,
    pub total: Option<Nanos>,
    pub probe_interval: Option<Nanos>,
    pub probe_timeout: Nanos,
    /// Whether an endpoint that is over a threshold may return though nothing happens.
    pub loads_return_in_time: bool,
}

impl Plan {
    /// Checks a scenario and prepares it, or says all that is wrong with it.
    pub fn new(scenario: Scenario) -> Result<Self, Vec<Problem>> {
        let mut problems = check::check(&scenario);
        let documents = compose::documents(&scenario, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let (overload, warnings) = load::check(&scenario, &documents);
        if !overload.is_empty() {
            return Err(overload);
        }
        let pool = &documents[0].pools[0];
        let cached = scenario.cache.is_some();
        Ok(Self {
            seed: scenario.seed,
            requests: requests(&scenario),
            duration: scenario.duration_s.map(span),
            warmup: scenario.warmup,
            replications: scenario.replications,
            balancers: scenario.balancers,
            information_delay: span(scenario.information_delay_s),
            ejection: scenario.ejection,
            series_points: scenario.series_buckets as usize,
            labels: scenario.policies.into_iter().map(|contender| contender.label).collect(),
            keyed: documents
                .iter()
                .map(|document| cached || goes_by_keys(&document.pools[0].policy))
                .collect(),
            cache: scenario.cache,
            keys: Keys::new(scenario.keys, scenario.key_skew),
            sampler: Sampler::new(&scenario.service),
            retry: Retry::of(pool),
            times: Times::of(pool),
            endpoints: scenario.endpoints,
            arrivals: scenario.arrivals,
            faults: scenario.faults,
            documents,
            warnings,
        })
    }
}

/// Whether a policy hashes keys, or knows by its sessions who comes again.
fn goes_by_keys(policy: &document::Policy) -> bool {
    policy.key.is_some() || policy.secret.is_some()
}

/// How many requests come: no more than a trace has.
fn requests(scenario: &Scenario) -> Option<u64> {
    match &scenario.arrivals {
        Arrivals::Trace { times_s } if scenario.duration_s.is_none() => {
            let all = times_s.len() as u64;
            Some(scenario.requests.map_or(all, |requests| requests.min(all)))
        }
        _ => scenario.requests,
    }
}

impl Retry {
    fn of(pool: &document::Pool) -> Self {
        let on = |fault| pool.retry.on.contains(&fault);
        Self {
            attempts: pool.retry.attempts,
            connect: on(RetryOn::Connect),
            reset: on(RetryOn::ResetBeforeResponse),
            server_error: on(RetryOn::ServerError),
            timeout: on(RetryOn::Timeout),
        }
    }
}

impl Times {
    fn of(pool: &document::Pool) -> Self {
        let span = |ms: Option<u64>| ms.map(Nanos::from_millis);
        Self {
            response: span(pool.timeouts.response_ms),
            queue: span(pool.queue.timeout_ms),
            total: span(pool.timeouts.total_ms),
            probe_interval: span(pool.health.interval_ms),
            probe_timeout: Nanos::from_millis(pool.health.timeout_ms),
            loads_return_in_time: pool.threshold.latency_ms.is_some(),
        }
    }
}

/// Every problem of a scenario in JSON, that of its shape included; none when it can be run.
pub fn check(json: &str) -> Vec<Problem> {
    parse(json).and_then(Plan::new).err().unwrap_or_default()
}
