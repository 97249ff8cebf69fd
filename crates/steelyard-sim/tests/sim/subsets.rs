//! Balancers that talk to a part of the endpoints each.

use crate::support::{Scene, scene};
use serde_json::{Value, json};
use steelyard_core::subset::subset;

const ENDPOINTS: usize = 20;
const SIZE: u32 = 5;

fn subsets(balancers: u32, instance: u32, instances: u32) -> Scene {
    let mut scene = scene(&["random"], ENDPOINTS, 0.2).with("/balancers", balancers).with("/replications", 1);
    let size = SIZE;
    let subset = json!({"size": size, "instance": instance, "instances": instances});
    scene.0["pool"]["subset"] = subset;
    scene
}

fn reached(scene: &Scene) -> Vec<usize> {
    let shares = scene.run().share;
    (0..ENDPOINTS).filter(|&index| shares[index] > 0.0).collect()
}

#[test]
fn one_talks_to_its_own_part_alone() {
    for instance in [0, 2] {
        let own = subset(ENDPOINTS, SIZE as usize, instance);
        assert_eq!(reached(&subsets(1, instance, 4)), own, "instance {instance}");
    }
}

#[test]
fn several_are_instances_one_after_the_other() {
    let mut both = [subset(ENDPOINTS, SIZE as usize, 1), subset(ENDPOINTS, SIZE as usize, 2)].concat();
    both.sort_unstable();
    both.dedup();
    assert_eq!(reached(&subsets(2, 1, 3)), both);
    assert_eq!(reached(&subsets(8, 0, 8)).len(), ENDPOINTS, "together they reach all");
}

#[test]
fn an_endpoint_that_joins_keeps_its_number() {
    let late = json!({"at_s": 10.0, "endpoint": 3, "kind": "add"});
    let with_all = subset(ENDPOINTS, SIZE as usize, 0);
    let found = reached(&subsets(1, 0, 1).fault(&late));
    assert!(with_all.iter().all(|index| found.contains(index)), "{found:?} and not {with_all:?}");
}

#[test]
fn instances_that_are_not_there_are_refused() {
    let problems = subsets(3, 2, 4).plan().expect_err("there is no fifth");
    assert_eq!(serde_json::to_string(&problems[0].path).unwrap(), r#"["pool","subset","instances"]"#);
    assert!(problems[0].message.contains("instances 2 to 4"), "{problems:?}");
}

#[test]
fn endpoints_that_nobody_talks_to_carry_nothing() {
    let over = subsets(1, 0, 1).with("/arrivals/rate", Value::from(0.5 * ENDPOINTS as f64));
    let problems = over.plan().expect_err("five endpoints do not carry what ten would");
    assert!(problems[0].message.contains("can serve 5"), "{problems:?}");
    let warnings = subsets(1, 0, 1).plan().unwrap().warnings;
    assert_eq!(warnings, ["15 endpoints are in the subset of no balancer and get nothing"]);
}
