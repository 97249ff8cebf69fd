//! How fast the simulator is on one core: the power of two choices at 100 endpoints, and the M/M/n model that the peers
//! are given too, as one endpoint with `n` servers or as `n` endpoints behind the pool's queue. Prints JSON.
//!
//! `simulate_speed [--model two_choices|servers|queue|POLICY] [--requests N] [--utilisation R] [--servers N]`

use serde_json::{Value, json};
use std::io;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use steelyard_bench_tools::arguments::Arguments;
use steelyard_sim::plan::Plan;
use steelyard_sim::run::run;
use steelyard_sim::scenario;

fn main() -> io::Result<()> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let model = arguments.get::<String>("model")?.unwrap_or_else(|| "two_choices".to_owned());
    let requests = arguments.get("requests")?.unwrap_or(4_000_000);
    let utilisation: f64 = arguments.get("utilisation")?.unwrap_or(0.9);
    let servers: u32 = arguments.get("servers")?.unwrap_or(100);
    // Above 64 endpoints least_request compares two of them.
    let (policy, threshold, count) = match model.as_str() {
        "two_choices" => ("least_request", json!(null), servers),
        "servers" => ("random", json!(null), 1),
        "queue" => ("random", json!(1), servers),
        policy => (policy, json!(null), servers),
    };
    let endpoints: Vec<_> = (0..count).map(|index| endpoint(index, servers / count)).collect();
    let rate = utilisation * f64::from(servers);
    let scenario = scenario(policy, &threshold, requests, rate, &endpoints);
    let plan = scenario::parse(&scenario.to_string())
        .and_then(Plan::new)
        .map_err(|problems| io::Error::other(format!("{problems:?}")))?;
    let start = Instant::now();
    let Some(tally) = run(&plan, 0, 0, &AtomicBool::new(false)) else { return Ok(()) };
    let seconds = start.elapsed().as_secs_f64();
    let mean_s = tally.batches.iter().map(|batch| batch.sum_s).sum::<f64>() / tally.requests as f64;
    println!(
        "{}",
        json!({"model": model, "events": tally.events, "seconds": seconds, "mean_s": mean_s,
               "events_per_second": tally.events as f64 / seconds})
    );
    Ok(())
}

fn endpoint(index: u32, concurrency: u32) -> Value {
    json!({"name": format!("e-{index}"), "speed": 1.0, "concurrency": concurrency, "weight": 1, "waiting_room": null})
}

fn scenario(policy: &str, threshold: &Value, requests: u64, rate: f64, endpoints: &[Value]) -> Value {
    json!({
        "seed": 7, "requests": requests, "duration_s": null, "warmup": 0.1, "replications": 1, "balancers": 1,
        "information_delay_s": 0.0, "series_buckets": 0,
        "policies": [{"label": policy, "policy": {"name": policy}}],
        "endpoints": endpoints,
        "arrivals": {"kind": "poisson", "rate": rate},
        "service": {"kind": "exponential", "mean_s": 1.0},
        "pool": {
            "fail_open": true,
            "threshold": {"requests": threshold, "latency_ms": null, "bytes_per_second": null},
            "queue": {"size": 1_000_000, "timeout_ms": null},
            "health": {"path": null, "host": null, "interval_ms": 5_000, "timeout_ms": 2_000, "rise": 2, "fall": 3,
                       "expect_status": [[200, 399]]},
            "connections": {"idle_timeout_ms": null, "idle_max": 64, "max": null},
            "timeouts": {"connect_ms": 2_000, "response_ms": null, "idle_ms": null, "tunnel_ms": null,
                         "total_ms": null},
            "retry": {"attempts": 2, "on": ["connect", "reset-before-response"], "body_bytes_max": 0,
                      "budget": 0.2},
        },
    })
}
