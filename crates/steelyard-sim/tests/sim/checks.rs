//! What is refused, and where it says it stands.

use crate::support::{Scene, scene};
use serde_json::{Value, json};
use steelyard_core::problem::Problem;
use steelyard_sim::plan::check;

fn problems(scene: &Scene) -> Vec<Problem> {
    scene.plan().err().unwrap_or_default()
}

fn only(scene: &Scene) -> (String, String) {
    let problems = problems(scene);
    assert_eq!(problems.len(), 1, "{problems:?}");
    (serde_json::to_string(&problems[0].path).unwrap(), problems[0].to_string())
}

#[test]
fn a_sound_scenario_has_no_problem() {
    assert_eq!(check(&scene(&["random"], 2, 0.5).0.to_string()), []);
}

#[test]
fn load_without_bound_is_refused_and_with_one_warned_about() {
    let over = scene(&["random"], 4, 1.0);
    let (path, said) = only(&over);
    assert_eq!(path, r#"["arrivals","rate"]"#);
    assert!(said.contains("4 requests a second") && said.contains("hint:"), "{said}");
    let bounded =
        over.central().with("/pool/queue/size", 10).plan().expect("a threshold and a queue bound it");
    assert_eq!(bounded.warnings.len(), 1, "{:?}", bounded.warnings);
}

#[test]
fn an_endpoint_that_gets_too_much_is_warned_about() {
    let plan = scene(&["random", "least_request"], 4, 0.6).with("/endpoints/1/speed", 0.5).plan().unwrap();
    assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
    assert!(plan.warnings[0].starts_with("random gives e-1 more"), "{:?}", plan.warnings);
}

#[test]
fn each_mistake_is_told_where_it_stands() {
    let base = || scene(&["random"], 2, 0.5);
    let cases: [(Scene, &str); 15] = [
        (base().with("/policies/0/policy/name", "rando"), r#"["policies",0]"#),
        (base().with("/policies/0/policy", json!({"nam": "random"})), r#"["policies",0]"#),
        (base().with("/endpoints/1/speed", 0.0), r#"["endpoints",1,"speed"]"#),
        (base().with("/endpoints/1/concurrency", 0), r#"["endpoints",1,"concurrency"]"#),
        (base().with("/endpoints/1/weight", 70_000), r#"["endpoints",1,"weight"]"#),
        (base().with("/requests", json!(null)), r#"["requests"]"#),
        (base().with("/duration_s", 5.0), r#"["duration"]"#),
        (base().with("/warmup", 1.0), r#"["warmup"]"#),
        (
            base().with("/arrivals", json!({"kind": "profile", "points": [[0.0, 1.0], [9.0, 0.0]]})),
            r#"["requests"]"#,
        ),
        (base().with("/pool/threshold/requests", 0), r#"["pool","threshold","requests"]"#),
        (base().with("/pool/retry/attempts", 0), r#"["pool","retry","attempts"]"#),
        (
            base().with("/service", json!({"kind": "hyperexponential", "mean_s": 1.0, "c2": 0.5})),
            r#"["service","c2"]"#,
        ),
        (
            base().with("/service", json!({"kind": "trace", "samples_s": [1.0, -1.0]})),
            r#"["service","samples",1]"#,
        ),
        (
            base().with("/arrivals", json!({"kind": "trace", "times_s": [1.0, 0.5]})),
            r#"["arrivals","times",1]"#,
        ),
        (base().fault(&json!({"at_s": 1.0, "endpoint": 2, "kind": "stop"})), r#"["faults",0,"endpoint"]"#),
    ];
    for (scene, expected) in cases {
        let (path, said) = only(&scene);
        assert_eq!(path, expected, "{said}");
    }
}

#[test]
fn words_that_nobody_knows_are_refused() {
    for pointer in ["", "/pool", "/arrivals", "/service", "/endpoints/0"] {
        let mut scene = scene(&["random"], 2, 0.5);
        scene
            .0
            .pointer_mut(pointer)
            .and_then(Value::as_object_mut)
            .unwrap()
            .insert("colour".into(), json!(1));
        let problems = problems(&scene);
        assert_eq!(problems.len(), 1, "{pointer}: {problems:?}");
        assert!(problems[0].message.contains("colour"), "{pointer}: {problems:?}");
    }
    assert_eq!(check("{").len(), 1);
}

#[test]
fn a_mistake_of_the_pool_is_told_once_for_all_policies() {
    only(&scene(&["random", "round_robin"], 2, 0.5).with("/pool/retry/attempts", 0));
}
