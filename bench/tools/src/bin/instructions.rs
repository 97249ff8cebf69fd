//! What an instruction counter runs: `instructions --case NAME --iterations N` does one thing so many times;
//! without a case it lists them. The difference of two runs, divided by the difference of their iterations, is
//! what one iteration takes, free of what starting costs. Times are measured by the criterion benches.

use std::hint::black_box;
use std::io::{self, Write};
use std::sync::Arc;

use rand::SeedableRng;
use serde_json::json;
use steelyard_bench_tools::arguments::Arguments;
use steelyard_core::policy::{KEYED, NAMES, Phase};
use steelyard_core::pool::{Options, Pick, Pool};
use steelyard_core::random::Generator;
use steelyard_core::seeker::Seeker;
use steelyard_core::snapshot::{Resolved, Snapshot, parse};
use steelyard_core::time::Nanos;
use steelyard_proxy::head::{Fields, Method};
use steelyard_proxy::http1::{Limits, request, response};

const SIZES: [usize; 3] = [10, 100, 1_000];
const NOW: Nanos = Nanos::from_millis(1_000);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: loadgen\r\nAccept: */*\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nx-origin: origin-0\r\ndate: Mon, 23 Nov 2026 09:00:00 GMT\r\n\
    content-type: text/plain\r\ncontent-length: 62\r\n\r\n";

fn main() -> io::Result<()> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let Some(case) = arguments.get::<String>("case")? else { return list() };
    let iterations = arguments.need("iterations")?;
    match case.as_str() {
        "parse_request" => parse_request(iterations),
        "parse_response" => parse_response(iterations),
        _ => match case.split('/').collect::<Vec<_>>()[..] {
            ["pick", policy, size] if NAMES.contains(&policy) => {
                pick(policy, size.parse().map_err(io::Error::other)?, iterations);
            }
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no case {case:?}"))),
        },
    }
    Ok(())
}

fn list() -> io::Result<()> {
    let mut output = io::stdout().lock();
    for policy in NAMES {
        for size in SIZES {
            writeln!(output, "pick/{policy}/{size}")?;
        }
    }
    writeln!(output, "parse_request\nparse_response")
}

/// A pick and its release, as a worker does for each request.
fn pick(policy: &str, size: usize, iterations: usize) {
    let pool = pool(policy, size);
    let (mut rng, mut seeker) = (Generator::seed_from_u64(1), Seeker::default());
    for iteration in 0..iterations {
        seeker.key = KEYED.contains(&policy).then(|| (iteration as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        if let Pick::Taken(index) = black_box(pool.admit(NOW, &mut rng, &seeker)) {
            pool.release(&pool.members()[index].endpoint, NOW);
        }
    }
}

fn parse_request(iterations: usize) {
    let (limits, mut fields) = (Limits::default(), Fields::new());
    for _ in 0..iterations {
        let head = request::parse(black_box(REQUEST), &limits, &mut fields);
        assert!(black_box(head).is_ok_and(|head| head.is_some()), "not a request");
    }
}

fn parse_response(iterations: usize) {
    let (limits, mut fields) = (Limits::default(), Fields::new());
    for _ in 0..iterations {
        let head = response::parse(black_box(RESPONSE), Method::Get, &limits, &mut fields);
        assert!(black_box(head).is_ok_and(|head| head.is_some()), "not a response");
    }
}

fn pool(policy: &str, size: usize) -> Arc<Pool> {
    let endpoints: Vec<_> = (0..size)
        .map(|index| {
            let address = format!("10.0.{}.{}:80", index / 250, index % 250 + 1);
            // Round robin of unequal weights is `weighted`; the others get weights to work with.
            let weight = if policy == "round_robin" { 1 } else { index % 3 + 1 };
            json!({"address": address, "weight": weight, "drain": false})
        })
        .collect();
    let key = KEYED.contains(&policy).then_some("address");
    let secret = (policy == "sticky").then_some("00112233445566778899aabbccddeeff");
    let document = json!({
        "workers": null, "drain_timeout_ms": 1, "routes": [],
        "listeners": [{
            "name": "web", "bind": [":0"], "pool": "app", "trusted_proxies": [], "allow_encoded_slash": false,
            "limits": {"connections": null, "header_bytes_max": 65536, "header_count_max": 100,
                       "target_bytes_max": 8192},
            "timeouts": {"request_header_ms": null, "request_body_ms": null, "idle_ms": null},
        }],
        "pools": [{
            "name": "app", "policy": {"name": policy, "key": key, "secret": secret}, "endpoints": endpoints, "fail_open": true,
            "threshold": {"requests": null, "latency_ms": null, "bytes_per_second": null},
            "queue": {"size": 1024, "timeout_ms": null},
            "health": {"path": null, "host": null, "interval_ms": null, "timeout_ms": 1, "rise": 1, "fall": 1,
                       "expect_status": [[200, 399]]},
            "connections": {"idle_timeout_ms": null, "idle_max": 64, "max": null},
            "timeouts": {"connect_ms": null, "response_ms": null, "idle_ms": null, "tunnel_ms": null,
                         "total_ms": null},
            "retry": {"attempts": 2, "on": [], "body_bytes_max": 0, "budget": null},
        }],
    });
    let options = Options { workers: 1, phase: Phase::Zero, seed: 0 };
    // The document above is whole and sound; the benches of the core use the same.
    let document = parse(&document.to_string()).expect("the document has its shape");
    let snapshot = Snapshot::build(&document, None, &Resolved::default(), &options).expect("it is sound");
    let pool = Arc::clone(&snapshot.pools[0]);
    pool.activate(NOW);
    pool
}
