//! Keys: what endpoints keep of them, and the policies that send one key to one endpoint.

use crate::support::{Scene, scene};
use serde_json::json;

/// Four endpoints, each of which keeps a good quarter of 400 keys; a request whose key is there costs half.
fn cached(policy: &str) -> Scene {
    let mut scene = scene(&[policy], 4, 0.6).requests(20_000);
    scene.0["keys"] = json!(400);
    scene.0["cache"] = json!({"entries": 130, "hit_factor": 0.5});
    scene
}

#[test]
fn where_keys_go_anywhere_as_many_are_found_as_are_kept() {
    let found = cached("random").run();
    // Keys that are all alike are there with a probability of 130 in 400.
    let truth = 0.6 * (1.0 - 0.5 * 130.0 / 400.0);
    assert!((found.utilisation - truth).abs() < 0.01 * truth, "{} for {truth}", found.utilisation);
}

#[test]
fn where_a_key_goes_to_one_endpoint_nearly_all_are_found() {
    for policy in ["sticky", "rendezvous", "maglev"] {
        let found = cached(policy).run();
        assert!((0.29..0.33).contains(&found.utilisation), "{policy}: {}", found.utilisation);
    }
}

#[test]
fn sessions_stay_where_they_began_and_move_only_when_their_endpoint_is_gone() {
    let shares = |faults: &[serde_json::Value]| {
        let scene = faults.iter().fold(cached("sticky"), Scene::fault);
        scene.with("/warmup", 0.5).run().share
    };
    let joined = shares(&[json!({"at_s": 2_000.0, "endpoint": 3, "kind": "add"})]);
    assert!(joined[3] < 0.02, "all users have their servers: {joined:?}");
    let stopped = shares(&[json!({"at_s": 1_000.0, "endpoint": 3, "kind": "stop", "until_s": 3_000.0})]);
    assert!(stopped[3] < 0.02, "whoever had to leave does not come back: {stopped:?}");
}

#[test]
fn what_is_wrong_with_a_cache_is_told() {
    for (cache, expected) in [
        (json!({"entries": 0, "hit_factor": 0.5}), "0 keys at each endpoint are out of bounds"),
        (
            json!({"entries": 50_000_000, "hit_factor": 0.5}),
            "50000000 keys at each endpoint are out of bounds",
        ),
        (json!({"entries": 5, "hit_factor": 0.0}), "0 does not do here"),
    ] {
        let mut scene = cached("random");
        scene.0["cache"] = cache;
        let problems = scene.plan().expect_err("it is refused");
        assert_eq!(problems[0].message, expected);
    }
}
