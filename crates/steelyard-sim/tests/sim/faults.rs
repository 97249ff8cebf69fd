//! What goes wrong, and that the core copes with it here as it does in the proxy.

use crate::support::{Scene, scene};
use serde_json::json;

fn short(policy: &str) -> Scene {
    scene(&[policy], 5, 0.4).requests(20_000).with("/replications", 2).with("/warmup", 0.0)
}

#[test]
fn a_server_that_stops_costs_no_request_where_resets_are_repeated() {
    for policy in ["least_request", "random", "round_robin"] {
        let scene =
            short(policy).fault(&json!({"at_s": 1_000.0, "endpoint": 2, "kind": "stop", "until_s": 2_000.0}));
        let found = scene.run();
        assert_eq!(found.errors, 0, "{policy}");
        assert!(found.retries > 0, "{policy}");
        // 20,000 requests at 2 a second are 10,000 seconds, of which it is away for 1,000.
        assert!(found.share[2] < found.share[1], "{policy}: {:?}", found.share);
    }
}

#[test]
fn probes_and_ejection_keep_requests_from_a_stopped_server() {
    let stopped = json!({"at_s": 0.0, "endpoint": 0, "kind": "stop"});
    let found = short("random").fault(&stopped).run();
    assert_eq!(found.errors, 0);
    // The first probe finds it, before any request has.
    assert_eq!((found.retries, found.share[0]), (0, 0.0));
    let unprobed = short("random").fault(&stopped).with("/pool/health/interval_ms", json!(null)).run();
    assert_eq!(unprobed.errors, 0);
    // Three failures eject it for 5 s, then 10, 20, 40, 60 and so on: a handful of tries each time.
    assert!((3..2_000).contains(&unprobed.retries), "{}", unprobed.retries);
}

#[test]
fn a_server_that_fails_fast_is_no_black_hole() {
    let found = short("least_request").fault(&json!({"at_s": 0.0, "endpoint": 0, "kind": "fail_fast"})).run();
    assert!(found.share[0] < 0.2, "its share is below that of a good one: {:?}", found.share);
    assert!(found.errors > 0 && found.errors as f64 <= 0.2 * found.requests as f64, "{}", found.errors);
}

#[test]
fn errors_are_repeated_where_the_pool_says_so_and_within_the_budget() {
    let fails = |index: usize| json!({"at_s": 0.0, "endpoint": index, "kind": "fail_fast"});
    let repeated = short("round_robin").fault(&fails(0)).with("/pool/retry/on", json!(["5xx"])).run();
    assert_eq!(repeated.errors, 0, "one of five fails, and the budget is a fifth and ten a second");
    // All of them fail at 1,000 requests a second: retries stay within a fifth, ten a second beside.
    let mut all = short("random").with("/pool/retry/on", json!(["5xx"])).with("/pool/retry/attempts", 5);
    all = all.with("/arrivals/rate", 1_000.0).with("/service/mean_s", 0.001);
    for index in 0..5 {
        all = all.fault(&fails(index));
    }
    let found = all.run();
    assert_eq!(found.errors, found.requests);
    let seconds = found.requests as f64 / 1_000.0;
    let bound = 0.2 * found.requests as f64 + 10.0 * seconds + 2.0 * 10.0;
    assert!(found.retries as f64 <= bound, "{} retries, at most {bound}", found.retries);
    assert!(found.retries as f64 > 0.15 * found.requests as f64, "{}", found.retries);
}

#[test]
fn what_hangs_times_out_and_goes_on_later() {
    let hangs = json!({"at_s": 100.0, "endpoint": 1, "kind": "hang", "until_s": 400.0});
    let found = short("round_robin").fault(&hangs).with("/pool/timeouts/response_ms", 20_000).run();
    assert!((1..200).contains(&found.errors), "{}", found.errors);
    let repeated = short("round_robin")
        .fault(&hangs)
        .with("/pool/timeouts/response_ms", 20_000)
        .with("/pool/retry/on", json!(["timeout"]))
        .run();
    assert!(repeated.errors < found.errors && repeated.retries > 0, "{} errors", repeated.errors);
    // Without a timeout its requests are answered once it goes on; where it never does, they are lost.
    let patient = short("round_robin").fault(&hangs).run();
    assert_eq!(patient.errors, 0);
    let never = json!({"at_s": 100.0, "endpoint": 1, "kind": "hang"});
    assert!(short("round_robin").fault(&never).run().errors > 0);
}

#[test]
fn a_slow_server_gets_less_of_a_policy_that_looks() {
    let slow = json!({"at_s": 0.0, "endpoint": 0, "kind": "slow", "factor": 10.0});
    let found = short("least_request").fault(&slow).run();
    assert!(found.share[0] < 0.1, "{:?}", found.share);
    let over = short("round_robin").fault(&slow).run();
    assert!(
        over.mean_s > found.mean_s.map(|mean_s| 5.0 * mean_s),
        "{:?} and {:?}",
        over.mean_s,
        found.mean_s
    );
}

#[test]
fn an_endpoint_that_is_added_gets_nothing_before_and_its_share_after() {
    let added = json!({"at_s": 5_000.0, "endpoint": 3, "kind": "add"});
    let found = short("round_robin").fault(&added).with("/series_buckets", 100).run();
    assert_eq!(found.errors, 0);
    // Of about 10,000 seconds it is there for half, with a fifth of the requests.
    assert!((found.share[3] - 0.1).abs() < 0.02, "{:?}", found.share);
    let series = found.series.expect("a series");
    let before: f64 = series.in_flight[..45].iter().map(|point| point[3]).sum();
    assert_eq!(before.to_bits(), 0);
    assert!(series.in_flight[55..95].iter().map(|point| point[3]).sum::<f64>() > 5.0);
}

#[test]
fn a_full_waiting_room_is_an_error_and_a_full_queue_too() {
    let mut rooms = short("random").with("/arrivals/rate", 20.0);
    for index in 0..5 {
        rooms = rooms.with(&format!("/endpoints/{index}/waiting_room"), 2);
    }
    let plan = rooms.plan().expect("the rooms bound it");
    assert!(plan.warnings.iter().any(|warning| warning.contains("overload")), "{:?}", plan.warnings);
    let found = rooms.run();
    // Four times what they can serve: three of four are turned away.
    assert!((found.errors as f64 / found.requests as f64 - 0.75).abs() < 0.03, "{}", found.errors);
    assert!(found.utilisation > 0.9, "{}", found.utilisation);
    let queue = short("random").with("/arrivals/rate", 20.0).central().with("/pool/queue/size", 10).run();
    assert!((queue.errors as f64 / queue.requests as f64 - 0.75).abs() < 0.03, "{}", queue.errors);
    assert!(queue.queue_wait_mean_s * queue.requests as f64 / (queue.requests - queue.errors) as f64 <= 2.5);
}

#[test]
fn whoever_waits_too_long_is_told_so() {
    let found =
        short("random").with("/arrivals/rate", 20.0).central().with("/pool/queue/timeout_ms", 1_500).run();
    assert!((found.errors as f64 / found.requests as f64 - 0.75).abs() < 0.03, "{}", found.errors);
    assert!(found.queue_wait_mean_s <= 1.5 + 1e-9, "{}", found.queue_wait_mean_s);
}

#[test]
fn the_queue_is_first_come_first_served() {
    // Constant service at one endpoint: in order, so that nobody's time is shorter than that of who came before.
    let found = scene(&["random"], 1, 0.8)
        .central()
        .with("/service", json!({"kind": "constant", "mean_s": 1.0}))
        .with(
            "/arrivals",
            json!({"kind": "trace", "times_s": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]}),
        )
        .with("/requests", 10)
        .with("/warmup", 0.0)
        .run();
    // The k-th waits for k others: 1.0, 1.9, 2.8 ... 9.1 seconds, whose mean is 5.05.
    assert!((found.mean_s.expect("a mean") - 5.05).abs() < 1e-6, "{:?}", found.mean_s);
    assert!((found.p50_s.expect("a median") / 4.6 - 1.0).abs() < 0.01, "{:?}", found.p50_s);
}

#[test]
fn the_whole_request_has_its_limit() {
    // One endpoint: it is used all the same while it is ejected.
    let found = scene(&["random"], 1, 0.4).with("/warmup", 0.0).with("/pool/timeouts/total_ms", 2_000).run();
    // M/M/1 at 0.4: exp(-0.6 x 2) take longer, and are cut off.
    let late = found.errors as f64 / found.requests as f64;
    assert!((late - (-1.2f64).exp()).abs() < 0.03, "{late}");
    assert!(found.p999_s.expect("a quantile") <= 2.01);
}

#[test]
fn without_ejection_a_policy_is_left_to_itself() {
    let fault = json!({"at_s": 0.0, "endpoint": 0, "kind": "fail_fast"});
    let mut scene = scene(&["random"], 5, 0.5).fault(&fault).with("/pool/health/interval_ms", json!(null));
    let share = |scene: &Scene| scene.run().share[0];
    assert!(share(&scene) < 0.1, "three failures in a row put it out");
    scene.0["ejection"] = json!(false);
    assert!((share(&scene) - 0.2).abs() < 0.01, "chance alone gives it a fifth: {}", share(&scene));
}
