//! The document that describes a simulation: shape only. Python has read the TOML, expanded groups of endpoints and
//! turned durations into seconds. What it means is checked in [`crate::plan`].

use serde::Deserialize;
use serde_json::{Map, Value};
use steelyard_core::problem::Problem;

/// A whole scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Where every stream of random numbers begins.
    pub seed: u64,
    /// Arrivals per replication; this or `duration_s`, or neither for a whole trace.
    pub requests: Option<u64>,
    /// Virtual seconds of arrivals per replication.
    pub duration_s: Option<f64>,
    /// The share of the beginning that is thrown away.
    pub warmup: f64,
    /// Independent runs, each with random numbers of its own.
    pub replications: u32,
    /// Independent decision makers that split the arrivals.
    pub balancers: u32,
    /// How old the loads are that policies compare.
    pub information_delay_s: f64,
    /// Points of the series over time.
    pub series_buckets: u32,
    /// What is compared.
    pub policies: Vec<Contender>,
    /// One entry each.
    pub endpoints: Vec<Endpoint>,
    /// When requests come.
    pub arrivals: Arrivals,
    /// What they take.
    pub service: Service,
    /// Distinct keys of requests, for policies that hash.
    #[serde(default = "keys")]
    pub keys: u32,
    /// The exponent of Zipf's law that the keys follow; 0 = all alike.
    #[serde(default)]
    pub key_skew: f64,
    /// What endpoints keep of the keys that they have served.
    #[serde(default)]
    pub cache: Option<Cache>,
    /// A pool as in a configuration's document, without `name`, `endpoints` and `policy`. Of a `subset` the `instance` is
    /// that of the first balancer; the others are numbered on from there.
    pub pool: Map<String, Value>,
    /// Whether failures in a row eject an endpoint, as a pool always has it; without, the policy is left to itself.
    #[serde(default = "ejection")]
    pub ejection: bool,
    /// Where the balancers stand, as in a configuration's document.
    #[serde(default)]
    pub zone: Option<String>,
    /// What goes wrong, and when.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

fn keys() -> u32 {
    10_000
}

fn ejection() -> bool {
    true
}

/// One policy under comparison.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contender {
    /// Unique; what the result calls it.
    pub label: String,
    /// As in a pool's document.
    pub policy: Value,
}

/// One server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// What warnings call it.
    pub name: String,
    /// Divides the service time.
    pub speed: f64,
    /// Requests served at once, first come first served.
    pub concurrency: u32,
    /// As in a pool.
    pub weight: u32,
    /// Requests that may wait at the server; a full one answers 503 at once. `None` = any number.
    pub waiting_room: Option<u32>,
    /// As in a pool; empty = none.
    #[serde(default)]
    pub zone: String,
    /// As in a pool.
    #[serde(default)]
    pub priority: u32,
}

/// What each endpoint keeps.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Keys; the least recently used goes.
    pub entries: u32,
    /// What a request takes whose key is there, beside one whose key is not.
    pub hit_factor: f64,
}

/// When requests come; rates are per second.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Arrivals {
    /// Independently of each other.
    Poisson { rate: f64 },
    /// Evenly spaced.
    Deterministic { rate: f64 },
    /// Poisson at two rates in turn, each for an exponential time of this mean.
    OnOff { rate_on: f64, rate_off: f64, on_s: f64, off_s: f64 },
    /// Poisson at a rate that runs linearly between (second, rate) points and stays at the last.
    Profile { points: Vec<(f64, f64)> },
    /// At these times.
    Trace { times_s: Vec<f64> },
}

/// What a request takes at speed 1.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Service {
    /// Always the same.
    Constant { mean_s: f64 },
    /// Memoryless.
    Exponential { mean_s: f64 },
    /// By mean and squared coefficient of variation.
    Lognormal { mean_s: f64, c2: f64 },
    /// Two phases with balanced means.
    Hyperexponential { mean_s: f64, c2: f64 },
    /// A power tail cut off at the bound; the scale follows from the mean.
    Pareto { mean_s: f64, alpha: f64, bound_s: f64 },
    /// Drawn again from what was measured.
    Trace { samples_s: Vec<f64> },
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it begins.
    pub at_s: f64,
    /// The index of the endpoint.
    pub endpoint: usize,
    /// What it is.
    pub kind: FaultKind,
    /// How many times slower; for `slow` alone.
    #[serde(default)]
    pub factor: Option<f64>,
    /// When it ends; `None` = never.
    #[serde(default)]
    pub until_s: Option<f64>,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It takes `factor` times as long, also over what it is at.
    Slow,
    /// It answers whatever comes with an error, after a millisecond.
    FailFast,
    /// It stands still and answers nothing; later it goes on where it stood.
    Hang,
    /// It refuses connections, and what it had is lost.
    Stop,
    /// It is not there before.
    Add,
}

/// Reads a scenario in JSON.
pub fn parse(json: &str) -> Result<Scenario, Vec<Problem>> {
    serde_json::from_str(json).map_err(|error| {
        let message = format!("the scenario does not have the shape that the simulator expects: {error}");
        vec![Problem { path: Vec::new(), message, hint: None }]
    })
}
