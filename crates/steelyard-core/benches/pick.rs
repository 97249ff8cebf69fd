//! One pick of every policy from a real pool, at 10, 100 and 1,000 endpoints: alone, after a failure (its phantom
//! has to be reckoned with), and while another thread takes and gives slots of the same endpoints: without a pause, and
//! about a million times a second.
//!
//! What is measured is what a worker does for a request: `Pool::admit` with the slot taken, and its release. For
//! `prequal` the control thread meanwhile asks everybody that requests want asked, and takes in the answers: beside the
//! picks between two looks at the clock, of which each pick carries its part, and in `probed` within what is measured.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use serde_json::json;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use steelyard_core::policy::{KEYED, NAMES, Phase};
use steelyard_core::pool::{Options, Outcome, Pick, Pool};
use steelyard_core::random::Generator;
use steelyard_core::report::Report;
use steelyard_core::seeker::Seeker;
use steelyard_core::snapshot::{Resolved, Snapshot, parse};
use steelyard_core::time::Nanos;

const SIZES: [usize; 3] = [10, 100, 1_000];
const NOW: Nanos = Nanos::from_millis(1_000);

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
    // Here no time passes in which probes would be allowed.
    let probes = (policy == "prequal").then_some(u32::MAX);
    let settings = json!({"name": policy, "key": key, "secret": secret, "probe_rate_max": probes});
    let document = json!({
        "workers": null, "drain_timeout_ms": 1, "routes": [],
        "listeners": [{
            "name": "web", "bind": [":0"], "pool": "app", "trusted_proxies": [], "allow_encoded_slash": false,
            "limits": {"connections": null, "header_bytes_max": 65536, "header_count_max": 100,
                       "target_bytes_max": 8192},
            "timeouts": {"request_header_ms": null, "request_body_ms": null, "idle_ms": null},
        }],
        "pools": [{
            "name": "app", "policy": settings, "endpoints": endpoints, "fail_open": true,
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
    let document = parse(&document.to_string()).expect("the document has its shape");
    let options = Options { workers: 1, phase: Phase::Zero, seed: 0 };
    let snapshot = Snapshot::build(&document, None, &Resolved::default(), &options).expect("it is sound");
    let pool = Arc::clone(&snapshot.pools[0]);
    pool.activate(NOW);
    pool
}

fn pick_and_release(pool: &Arc<Pool>, rng: &mut Generator, seeker: &mut Seeker) {
    // Another key each time, at the cost of one multiplication: a single one would stay in the cache.
    seeker.key = seeker.key.map(|key| key.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    if let Pick::Taken(index) = black_box(pool.admit(NOW, rng, seeker)) {
        pool.release(&pool.members()[index].endpoint, NOW);
    }
}

/// What the control thread does meanwhile.
fn answer_probes(pool: &Arc<Pool>) {
    if pool.calls_for_probes() {
        for member in pool.probes_wanted() {
            pool.take_report(&member.endpoint, Some(Report { in_flight: 1, latency_s: 0.001 }), NOW);
        }
    }
}

/// Picks between two turns of the control thread, which answers what they asked for.
const PICKS_BETWEEN_ANSWERS: u64 = 8;

/// The time of so many picks, without that of the control thread.
#[expect(clippy::disallowed_types, reason = "the bench is what drives the core")]
fn time_picks(picks: u64, mut pick: impl FnMut(), mut answer: impl FnMut()) -> Duration {
    let (mut spent, mut left) = (Duration::ZERO, picks);
    while left > 0 {
        let count = left.min(PICKS_BETWEEN_ANSWERS);
        let begin = std::time::Instant::now();
        (0..count).for_each(|_| pick());
        spent += begin.elapsed();
        answer();
        left -= count;
    }
    spent
}

fn measure(criterion: &mut Criterion, group: &str, prepare: impl Fn(&Arc<Pool>), pause_spins: Option<u32>) {
    let mut group = criterion.benchmark_group(group);
    for policy in NAMES {
        for size in SIZES {
            let pool = pool(policy, size);
            prepare(&pool);
            let stop = Arc::new(AtomicBool::new(false));
            let writer =
                pause_spins.map(|spins| write_in_flight(Arc::clone(&pool), Arc::clone(&stop), spins));
            let mut rng = Generator::seed_from_u64(1);
            let mut seeker = Seeker::of(KEYED.contains(&policy).then_some(1));
            group.bench_function(BenchmarkId::new(policy, size), |bencher| {
                let mut pick = || pick_and_release(&pool, &mut rng, &mut seeker);
                if policy == "prequal" {
                    bencher.iter_custom(|picks| time_picks(picks, &mut pick, || answer_probes(&pool)));
                } else {
                    bencher.iter(pick);
                }
            });
            stop.store(true, Ordering::Relaxed);
            if let Some(writer) = writer {
                writer.join().expect("the writer ends");
            }
        }
    }
    group.finish();
}

/// A pick of `prequal` together with what the control thread does for it, on one thread.
fn measure_probed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("probed");
    for size in SIZES {
        let pool = pool("prequal", size);
        let (mut rng, mut seeker) = (Generator::seed_from_u64(1), Seeker::default());
        group.bench_function(BenchmarkId::new("prequal", size), |bencher| {
            bencher.iter(|| {
                answer_probes(&pool);
                pick_and_release(&pool, &mut rng, &mut seeker);
            });
        });
    }
    group.finish();
}

/// How long the other worker pauses between two requests, in turns of a spin loop: not at all, which no worker can do
/// that also carries the requests, and about a microsecond, ten times as often as one could.
const PAUSE_SPINS: [(&str, u32); 2] = [("contended", 0), ("beside_a_worker", 40)];

/// Another worker that takes and gives slots of every endpoint in turn.
#[expect(clippy::disallowed_methods, reason = "the bench is what drives the core")]
fn write_in_flight(pool: Arc<Pool>, stop: Arc<AtomicBool>, pause_spins: u32) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let threshold = *pool.threshold();
        for member in pool.members().iter().cycle() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if member.endpoint.take(&threshold, NOW) {
                pool.release(&member.endpoint, NOW);
            }
            for _ in 0..pause_spins {
                std::hint::spin_loop();
            }
        }
    })
}

fn picks(criterion: &mut Criterion) {
    measure(criterion, "alone", |_| {}, None);
    measure_probed(criterion);
    let failed = |pool: &Arc<Pool>| {
        for member in pool.members() {
            pool.learn(&member.endpoint, Outcome::Failure("reset"), None, NOW);
        }
    };
    measure(criterion, "after_failures", failed, None);
    for (group, spins) in PAUSE_SPINS {
        measure(criterion, group, |_| {}, Some(spins));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1))
        .without_plots();
    targets = picks
}
criterion_main!(benches);
