//! Which policy is better, at every load, and where two of them change places.

use crate::support::{Scene, scene};
use steelyard_sim::clock::{ORIGIN, seconds};
use steelyard_sim::run::choices;

/// From the best to the worst, for equal exponential servers.
const ORDER: [&str; 3] = ["least_request", "p2c", "random"];

fn means(scene: &Scene) -> Vec<f64> {
    scene.report().policies.iter().map(|policy| policy.mean_s.expect("a mean")).collect()
}

#[test]
fn the_order_holds_at_every_load() {
    for count in [2, 10, 30] {
        for utilisation in [0.2, 0.5, 0.8, 0.9] {
            let what = format!("n {count}, rho {utilisation}");
            let mut times = means(&scene(&["least_request"], count, utilisation).central());
            times.extend(means(&scene(&ORDER, count, utilisation)));
            if count == 2 {
                // Two of two are all of them: the same policy, which draws other numbers.
                assert!((times[2] / times[1] - 1.0).abs() < 0.03, "{what}: {ORDER:?} took {times:?}");
                times.remove(2);
            }
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
        let report = scene(&["round_robin", "p2c"], 400, utilisation).requests(80_000).report();
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
fn the_older_the_information_the_more_a_full_scan_herds_and_two_choices_suffer_less() {
    let mean = |policy: &str, delay_s: f64| {
        means(&scene(&[policy], 10, 0.7).with("/information_delay_s", delay_s).requests(20_000))[0]
    };
    let random = mean("random", 5.0);
    let delays = [0.0, 0.5, 2.0, 5.0];
    let full: Vec<f64> = delays.map(|delay_s| mean("least_request", delay_s)).to_vec();
    let two: Vec<f64> = delays.map(|delay_s| mean("p2c", delay_s)).to_vec();
    println!("random {random}, full scan {full:?}, two choices {two:?}");
    assert!(full.is_sorted() && two.is_sorted(), "{full:?}, {two:?}");
    assert!(full[0] < two[0] && full[0] < random, "what is new is worth looking at");
    assert!(full[3] > 1.5 * random, "everyone goes to whoever looked best");
    assert!(full[3] > 1.5 * two[3] && full[2] > two[2], "of two, nobody is everyone's favourite");
}

/// One endpoint is ten times slower, which shows in loads and times; a delay longer than the run hides both.
#[test]
fn what_is_older_than_the_delay_is_known_and_nothing_else() {
    for (policy, load) in [
        ("least_request", "requests"),
        ("p2c", "requests"),
        ("least_load", "latency"),
        ("least_time", "requests"),
        ("peak_ewma", "requests"),
        ("prequal", "requests"),
    ] {
        let choices = |speed: f64, delay_s: f64| {
            let mut scene = scene(&[policy], 4, 0.5).requests(2_000).with("/information_delay_s", delay_s);
            scene.0["pool"]["load"] = load.into();
            let plan = scene.with("/endpoints/0/speed", speed).plan().expect("the scenario is sound");
            choices(&plan, 0, 0)
        };
        assert_eq!(choices(1.0, 1e6), choices(0.1, 1e6), "{policy}: nobody can know");
        assert_ne!(choices(1.0, 0.0), choices(0.1, 0.0), "{policy}: it shows at once");
        let (alike, slower) = (choices(1.0, 50.0), choices(0.1, 50.0));
        let same = alike.iter().zip(&slower).take_while(|(a, b)| a == b).count();
        let first_s = seconds(slower[same].0.since(ORIGIN));
        // An endpoint is asked anew only after it has answered, so that what `prequal` knows may be three delays old.
        let latest_s = if policy == "prequal" { 200.0 } else { 100.0 };
        assert!((50.0..latest_s).contains(&first_s), "{policy}: first known after {first_s} s");
    }
}

/// An endpoint that fails fast gains nothing from failures that are not known yet, and is put out at once all the same.
#[test]
fn failures_are_compared_late_and_eject_at_once() {
    let scene = |delay_s: f64| {
        scene(&["least_request"], 10, 0.5)
            .with("/information_delay_s", delay_s)
            .fault(&serde_json::json!({"at_s": 100.0, "endpoint": 3, "kind": "fail_fast"}))
            .requests(10_000)
    };
    let errors = |delay_s: f64| scene(delay_s).run().errors;
    let (now, late) = (errors(0.0), errors(1.0));
    println!("{now} errors, {late} with old information");
    assert!(late < 2 * now, "three in a row put it out, whatever is known: {now}, {late}");
}

#[test]
fn many_balancers_know_less() {
    let mean = |balancers: u32| means(&scene(&["least_request"], 10, 0.8).with("/balancers", balancers))[0];
    let times: Vec<f64> = [1, 4, 40].map(mean).to_vec();
    assert!(times.is_sorted(), "{times:?}");
}
