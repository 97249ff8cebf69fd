//! Times picks by a score through a real pool, from within the interpreter that has compiled the score.
//!
//! The same pool, the same requests and the same code around them serve a score compiled from Python, the same score in
//! Rust and the engine's own policy that computes it; only the address, or the name, differs. Each pick is what a worker
//! does for a request: `Pool::admit` with the slot taken, and its release.

use rand::SeedableRng;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::hint::black_box;
use std::sync::Arc;
use steelyard_core::policy::Phase;
use steelyard_core::pool::{Options, Outcome, Pick, Pool};
use steelyard_core::random::Generator;
use steelyard_core::seeker::Seeker;
use steelyard_core::snapshot::{Resolved, Snapshot, parse};
use steelyard_core::time::Nanos;

const NOW: Nanos = Nanos::from_millis(10_000);

/// What is timed; the numbers are those of `harness/scores.py`.
const SCORE_OF_ALL: u32 = 0;
const SCORE_OF_TWO: u32 = 1;
const LEAST_REQUEST: u32 = 2;
const POWER_OF_TWO: u32 = 3;
const LEAST_TIME: u32 = 4;

/// What a score may read, in the order of its arguments.
const FACTS: [&str; 7] =
    ["in_flight", "latency", "error_rate", "weight", "bytes_per_second", "age", "zone_match"];

/// Nanoseconds of processor time that one pick takes, over `picks` of them at `endpoints` endpoints. `address` is that of
/// the score, for the policies that have one, and `reads` has a bit for each fact that it reads. Negative where there is no
/// such policy.
#[unsafe(no_mangle)]
pub extern "C" fn steelyard_pick_ns(
    policy: u32,
    address: usize,
    reads: u32,
    endpoints: usize,
    picks: u64,
) -> f64 {
    let facts = (0..).zip(FACTS).filter(|(bit, _)| reads >> bit & 1 == 1).map(|(_, fact)| fact);
    let facts: Vec<_> = facts.collect();
    let score = |of_two| {
        json!({"name": "scored",
               "score": {"label": "m:f", "address": address, "of_two": of_two, "reads": facts}})
    };
    let policy = match policy {
        SCORE_OF_ALL => score(false),
        SCORE_OF_TWO => score(true),
        LEAST_REQUEST => json!({"name": "least_request"}),
        POWER_OF_TWO => json!({"name": "p2c"}),
        LEAST_TIME => json!({"name": "least_time"}),
        _ => return -1.0,
    };
    let pool = pool(&policy, endpoints);
    let (mut rng, seeker) = (Generator::seed_from_u64(1), Seeker::default());
    let begin = spent_ns();
    for _ in 0..picks {
        if let Pick::Taken(index) = black_box(pool.admit(NOW, &mut rng, &seeker)) {
            pool.release(&pool.members()[index].endpoint, NOW);
        }
    }
    (spent_ns() - begin) / picks as f64
}

/// Of this thread, so that what else runs on the machine counts as little as it can.
fn spent_ns() -> f64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec as f64 * 1e9 + spent.tv_nsec as f64
}

/// (1 + requests in flight) / weight, as `least_request` and `p2c` compute it.
#[unsafe(no_mangle)]
pub extern "C" fn steelyard_in_flight(q: f64, _: f64, _: f64, weight: f64, _: f64, _: f64, _: f64) -> f64 {
    (q + 1.0) / weight
}

/// (1 + requests in flight) x response time / weight, as `least_time` computes it.
#[unsafe(no_mangle)]
pub extern "C" fn steelyard_time(q: f64, latency: f64, _: f64, weight: f64, _: f64, _: f64, _: f64) -> f64 {
    (q + 1.0) * latency.max(1e-3) / weight
}

/// Endpoints that have carried traffic: each has a response time and a byte rate of its own.
fn pool(policy: &Value, size: usize) -> Arc<Pool> {
    let document = parse(&document(policy, size).to_string()).expect("the document has its shape");
    let options = Options { workers: 1, phase: Phase::Zero, seed: 0 };
    let snapshot = Snapshot::build(&document, None, &Resolved::default(), &options).expect("it is sound");
    let pool = Arc::clone(&snapshot.pools[0]);
    pool.activate(Nanos::from_millis(1));
    for (index, member) in (0u64..).zip(pool.members()) {
        let lasted = Nanos::from_millis(10 + index);
        pool.learn(&member.endpoint, Outcome::Success, Some(lasted), Nanos::from_millis(9_000));
        member.endpoint.count_bytes(100_000, Nanos::from_millis(9_000));
    }
    pool
}

fn document(policy: &Value, size: usize) -> Value {
    let endpoints: Vec<_> = (0..size)
        .map(|index| json!({"address": format!("10.0.0.{}:80", index + 1), "weight": index % 3 + 1, "drain": false}))
        .collect();
    json!({
        "workers": null, "drain_timeout_ms": 1, "routes": [],
        "listeners": [{
            "name": "web", "bind": [":0"], "pool": "app", "trusted_proxies": [], "allow_encoded_slash": false,
            "limits": {"connections": null, "header_bytes_max": 65536, "header_count_max": 100,
                       "target_bytes_max": 8192},
            "timeouts": {"request_header_ms": null, "request_body_ms": null, "idle_ms": null},
        }],
        "pools": [{
            "name": "app", "policy": policy, "endpoints": endpoints, "fail_open": true,
            "threshold": {"requests": null, "latency_ms": null, "bytes_per_second": null},
            "queue": {"size": 1024, "timeout_ms": null},
            "health": {"path": null, "host": null, "interval_ms": null, "timeout_ms": 1, "rise": 1, "fall": 1,
                       "expect_status": [[200, 399]]},
            "connections": {"idle_timeout_ms": null, "idle_max": 64, "max": null},
            "timeouts": {"connect_ms": null, "response_ms": null, "idle_ms": null, "tunnel_ms": null,
                         "total_ms": null},
            "retry": {"attempts": 2, "on": [], "body_bytes_max": 0, "budget": null},
        }],
    })
}
