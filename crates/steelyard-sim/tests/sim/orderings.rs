//! Which policy is better, at every load, and where two of them change places.

use crate::support::{Scene, scene};

/// From the best to the worst, for equal exponential servers.
const ORDER: [&str; 2] = ["least_request", "random"];
/// The power of two choices where there are many endpoints.
const TWO_CHOICES: &str = "least_request";

fn means(scene: &Scene) -> Vec<f64> {
    scene.report().policies.iter().map(|policy| policy.mean_s.expect("a mean")).collect()
}

#[test]
fn the_order_holds_at_every_load() {
    for count in [2, 10, 30] {
        for utilisation in [0.2, 0.5, 0.8, 0.9] {
            let what = format!("n {count}, rho {utilisation}");
            let mut times = means(&scene(&ORDER, count, utilisation).central().with(
                "/policies",
                serde_json::json!([
                {"label": "central", "policy": {"name": "least_request"}}]),
            ));
            times.extend(means(&scene(&ORDER, count, utilisation)));
            assert!(times.is_sorted(), "{what}: central, {ORDER:?} took {times:?}");
            let turns = means(&scene(&["round_robin", "random"], count, utilisation));
            assert!(turns[0] < turns[1], "{what}: round_robin, random took {turns:?}");
        }
    }
}

#[test]
fn differences_are_paired_and_tell_what_is_real() {
    let report = scene(&["random", "least_request", "round_robin"], 10, 0.8).requests(40_000).report();
    assert_eq!(report.differences.len(), 3);
    let random_less_least = &report.differences[0];
    assert_eq!((random_less_least.a.as_str(), random_less_least.b.as_str()), ("random", "least_request"));
    assert!(random_less_least.significant && random_less_least.mean_s > 1.0, "{random_less_least:?}");
    // The same policy twice is the same to the last bit: it meets the same arrivals and draws the same numbers.
    let twice =
        scene(&["random", "random"], 10, 0.8).with("/policies/1/label", "again").requests(10_000).report();
    assert!(!twice.differences[0].significant && twice.differences[0].mean_s.abs() < 1e-12, "{twice:?}");
}

#[test]
fn round_robin_and_two_choices_change_places_near_half_load() {
    let difference = |utilisation: f64| {
        let report = scene(&["round_robin", TWO_CHOICES], 400, utilisation).requests(80_000).report();
        let difference = &report.differences[0];
        println!("rho {utilisation}: {difference:?}");
        (difference.mean_s, difference.significant)
    };
    let (below, clear) = difference(0.45);
    assert!(below < 0.0 && clear, "below, taking turns is better");
    let (above, clear) = difference(0.55);
    assert!(above > 0.0 && clear, "above, two choices are better");
}

#[test]
fn old_information_makes_a_full_scan_herd() {
    let mean =
        |delay_s: f64| means(&scene(&["least_request"], 10, 0.7).with("/information_delay_s", delay_s))[0];
    let (now, late) = (mean(0.0), mean(5.0));
    let random = means(&scene(&["random"], 10, 0.7))[0];
    assert!(late > 1.5 * random && now < random, "now {now}, late {late}, at random {random}");
}

#[test]
fn many_balancers_know_less() {
    let mean = |balancers: u32| means(&scene(&["least_request"], 10, 0.8).with("/balancers", balancers))[0];
    let times: Vec<f64> = [1, 4, 40].map(mean).to_vec();
    assert!(times.is_sorted(), "{times:?}");
}
