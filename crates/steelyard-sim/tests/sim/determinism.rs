//! One seed, one result.

use crate::support::{Scene, scene};
use serde_json::json;
use std::sync::atomic::AtomicBool;
use steelyard_sim::driver::simulate_on;
use steelyard_sim::run::run;

fn text(scene: &Scene, threads: usize) -> String {
    let plan = scene.plan().expect("the scenario is sound");
    let mut report = simulate_on(&plan, threads, &mut |_, _| true).expect("nobody calls it off");
    report.events_per_second = 0.0;
    serde_json::to_string(&report).expect("a report is JSON")
}

fn eventful() -> Scene {
    scene(&["random", "least_request", "weighted"], 5, 0.7)
        .requests(5_000)
        .with("/balancers", 3)
        .with("/series_buckets", 50)
        .with("/pool/threshold/requests", 3)
        .with("/pool/queue/timeout_ms", 4_000)
        .with("/pool/timeouts/response_ms", 6_000)
        .with("/information_delay_s", 0.2)
        .fault(&json!({"at_s": 100.0, "endpoint": 1, "kind": "hang", "until_s": 200.0}))
        .fault(&json!({"at_s": 150.0, "endpoint": 2, "kind": "stop", "until_s": 300.0}))
        .fault(&json!({"at_s": 400.0, "endpoint": 3, "kind": "fail_fast", "until_s": 500.0}))
        .fault(&json!({"at_s": 50.0, "endpoint": 4, "kind": "add"}))
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let first = text(&eventful(), 1);
    assert_eq!(first, text(&eventful(), 1));
    assert_eq!(first, text(&eventful(), 3));
}

#[test]
fn another_seed_gives_another_result() {
    assert_ne!(text(&eventful(), 1), text(&eventful().with("/seed", 8), 1));
}

#[test]
fn a_simulation_that_is_called_off_has_no_report() {
    let plan = scene(&["random"], 2, 0.5).plan().expect("the scenario is sound");
    assert!(simulate_on(&plan, 1, &mut |done, _| done < 2).is_none());
}

/// Arrivals of which a million take a day to draw, since the profile falls from a peak that others are measured by.
#[test]
fn who_is_called_off_at_the_beginning_draws_nothing_more() {
    let points = json!([[0.0, 1e6], [1.0, 1e6], [1.001, 0.1]]);
    let scene = scene(&["random"], 2, 0.1)
        .requests(1_000_000_000)
        .with("/series_buckets", 20)
        .with("/arrivals", json!({"kind": "profile", "points": points}));
    let plan = scene.plan().expect("it is sound");
    assert!(run(&plan, 0, 0, &AtomicBool::new(true)).is_none());
}
