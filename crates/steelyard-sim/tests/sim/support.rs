//! The small language of these tests.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};
use steelyard_core::policy::KEYED;
use steelyard_core::problem::Problem;
use steelyard_sim::driver::simulate_on;
use steelyard_sim::plan::Plan;
use steelyard_sim::report::{PolicyReport, Report};
use steelyard_sim::scenario;
use steelyard_sim::statistics::{CONFIDENCE, student_quantile};

/// Every draw follows from it; `STEELYARD_SEED` tries others.
pub fn seed() -> u64 {
    let seed = std::env::var("STEELYARD_SEED").map_or(7, |seed| seed.parse().expect("the seed is a number"));
    println!("STEELYARD_SEED={seed}");
    seed
}

/// A scenario under construction.
#[derive(Debug, Clone)]
pub struct Scene(pub Value);

/// Poisson arrivals at `count` endpoints with one server each, exponential service with mean 1, at this utilisation.
pub fn scene(policies: &[&str], count: usize, utilisation: f64) -> Scene {
    let endpoints: Vec<_> = (0..count).map(|index| endpoint(index, 1.0)).collect();
    let policies: Vec<_> =
        policies.iter().map(|name| json!({"label": name, "policy": policy(name)})).collect();
    Scene(json!({
        "seed": seed(), "requests": 40_000, "duration_s": null, "warmup": 0.1, "replications": SAMPLES, "balancers": 1,
        "information_delay_s": 0.0, "series_buckets": 0, "policies": policies, "endpoints": endpoints,
        "arrivals": {"kind": "poisson", "rate": utilisation * count as f64},
        "service": {"kind": "exponential", "mean_s": 1.0},
        "pool": {
            "fail_open": true,
            "threshold": {"requests": null, "latency_ms": null, "bytes_per_second": null},
            "queue": {"size": 1_000_000, "timeout_ms": null},
            "health": {"path": null, "host": null, "interval_ms": 5_000, "timeout_ms": 2_000, "rise": 2, "fall": 3,
                       "expect_status": [[200, 399]]},
            "connections": {"idle_timeout_ms": null, "idle_max": 64, "max": null},
            "timeouts": {"connect_ms": 2_000, "response_ms": null, "idle_ms": null, "tunnel_ms": null,
                         "total_ms": null},
            "retry": {"attempts": 2, "on": ["connect", "reset-before-response"], "body_bytes_max": 0, "budget": 0.2},
        },
    }))
}

/// A policy with what it cannot do without.
fn policy(name: &str) -> Value {
    match name {
        "sticky" => json!({"name": name, "secret": "00".repeat(32)}),
        _ if KEYED.contains(&name) => json!({"name": name, "key": "address"}),
        _ => json!({"name": name}),
    }
}

pub fn endpoint(index: usize, speed: f64) -> Value {
    json!({"name": format!("e-{index}"), "speed": speed, "concurrency": 1, "weight": 1, "waiting_room": null,
           "zone": "", "priority": 0})
}

impl Scene {
    /// With one value changed; the pointer is JSON's.
    pub fn with(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        *self.0.pointer_mut(pointer).unwrap_or_else(|| panic!("there is no {pointer}")) = value.into();
        self
    }

    pub fn requests(self, requests: u64) -> Self {
        self.with("/requests", requests)
    }

    /// Each endpoint takes one request at a time and the others wait in the pool's queue: M/M/n.
    pub fn central(self) -> Self {
        self.with("/pool/threshold/requests", 1)
    }

    pub fn fault(mut self, fault: &Value) -> Self {
        let faults = self.0.as_object_mut().expect("a scene").entry("faults").or_insert_with(|| json!([]));
        faults.as_array_mut().expect("a list").push(fault.clone());
        self
    }

    pub fn plan(&self) -> Result<Plan, Vec<Problem>> {
        scenario::parse(&self.0.to_string()).and_then(Plan::new)
    }

    pub fn report(&self) -> Report {
        let plan = self.plan().expect("the scenario is sound");
        simulate_on(&plan, 1, &mut |_, _| true).expect("nobody calls it off")
    }

    /// What its only policy did.
    pub fn run(&self) -> PolicyReport {
        self.report().policies.remove(0)
    }
}

/// How many intervals these tests compare with the truth: they are held to hold all together for 95 in 100 seeds.
/// (C. E. Bonferroni: each may fail for its part of the 5 in 100.)
const FAMILY: u32 = 62;
/// Those compared so far in this process.
static COMPARED: AtomicU32 = AtomicU32::new(0);
/// The samples of an interval: a mean of each replication.
const SAMPLES: u32 = 20;

/// How much wider an interval is that holds together with the whole family.
fn together() -> f64 {
    let quantile = |failing: f64| student_quantile(1.0 - failing / 2.0, f64::from(SAMPLES - 1));
    let failing = 1.0 - CONFIDENCE;
    quantile(failing / f64::from(FAMILY)) / quantile(failing)
}

/// Asserts that a run's own interval is narrower than 2 % to each side, and that one of the same standard error that
/// holds together with all others of the family holds the truth.
pub fn assert_holds(what: &str, truth: f64, value: Option<f64>, interval: Option<[f64; 2]>) {
    let compared = COMPARED.fetch_add(1, Ordering::Relaxed) + 1;
    assert!(compared <= FAMILY, "more intervals are compared than FAMILY says");
    let (value, [low, high]) = (value.expect("a value"), interval.expect("an interval"));
    let allowed = together() * (high - low) / 2.0;
    println!("{what}: {truth:.5} expected, {value:.5} found, {low:.5} to {high:.5}, +-{allowed:.5} with all");
    assert!(
        (high - low) / 2.0 < 0.02 * value,
        "{what}: the interval {low} to {high} is too wide to say anything"
    );
    assert!((truth - value).abs() <= allowed, "{what}: {truth} is not within {allowed} of {value}");
}

pub fn assert_mean(what: &str, truth: f64, found: &PolicyReport) {
    assert_holds(what, truth, found.mean_s, found.mean_ci_s);
}
