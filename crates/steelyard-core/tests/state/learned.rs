//! Weights that are learned at run time, under every policy, and loads that endpoints report.

use crate::support::{admit, assert_follows, generator, millis, pool, pool_document, snapshot};
use serde_json::{Value, json};
use std::sync::Arc;
use steelyard_core::policy::{KEYED, NAMES};
use steelyard_core::pool::{Pick, Pool};
use steelyard_core::random::Generator;
use steelyard_core::reported::Heard;
use steelyard_core::seeker::Seeker;
use steelyard_core::time::Nanos;

/// A pool that takes weights from reports at once.
fn reporting(policy: &str, weights: &[u32], change: impl FnOnce(&mut Value)) -> Arc<Pool> {
    pool(policy, weights, |pool| {
        pool["reported"] = json!({"as": "weight", "blackout_ms": 0});
        change(pool);
    })
}

/// The endpoint at this index says that it could serve so many requests a second.
fn report(pool: &Pool, index: usize, capacity: u32, now: Nanos) {
    let value = format!("TEXT rps_fractional={}, cpu_utilization=0.5", capacity / 2);
    let heard = pool.hear(&pool.members()[index].endpoint, [value.as_bytes()].into_iter(), now);
    assert_eq!(heard, Heard::Taken);
}

/// In thousandths.
fn weights(pool: &Pool) -> Vec<Option<u32>> {
    let thousandths = |weight: f32| (weight * 1e3).round() as u32;
    (0..pool.members().len()).map(|index| pool.learned_weight(index).map(thousandths)).collect()
}

/// How often each is picked, one request after the other.
fn shares(pool: &Arc<Pool>, count: u64, now: Nanos, rng: &mut Generator) -> Vec<u64> {
    let mut counts = vec![0; pool.members().len()];
    for key in 0..count {
        let seeker = Seeker::of(Some(key.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let Pick::Taken(index) = pool.admit(now, rng, &seeker) else { panic!("nobody is full") };
        counts[index] += 1;
        pool.release(&pool.members()[index].endpoint, now);
    }
    counts
}

// join_idle_queue heeds them only where nobody is idle.
#[test]
fn every_policy_that_heeds_weights_heeds_learned_ones() {
    for policy in NAMES.into_iter().filter(|policy| !["random", "join_idle_queue"].contains(policy)) {
        let pool = reporting(policy, &[1, 1, 1], |_| {});
        let mut rng = generator();
        for (index, capacity) in [600, 200, 200].into_iter().enumerate() {
            report(&pool, index, capacity, millis(0));
        }
        pool.tick(millis(1_000));
        assert_eq!(weights(&pool), [Some(1_800), Some(600), Some(600)], "{policy}");
        let counts = shares(&pool, 3_000, millis(1_000), &mut rng);
        // Of two that have answered nothing, peak_ewma takes either: there the weights only decide who is drawn.
        let largest = if policy == "peak_ewma" { 1_200 } else { 1_500 };
        assert!(counts[0] > largest && counts[1].max(counts[2]) < 1_000, "{policy}: {counts:?}");
        // Those that compare send whatever comes alone to the largest; with turns and chance, shares are exact.
        if KEYED.contains(&policy) || policy.contains("weighted") || policy == "round_robin" {
            assert!(counts[1] > 400 && counts[2] > 400, "{policy}: {counts:?}");
        }
        if policy == "weighted_random" {
            assert_follows(&counts, &[1.8, 0.6, 0.6]);
        }
    }
}

#[test]
fn turns_are_shared_to_the_request() {
    let pool = reporting("weighted", &[1, 1], |_| {});
    report(&pool, 0, 300, millis(0));
    report(&pool, 1, 100, millis(0));
    pool.tick(millis(1_000));
    assert_eq!(shares(&pool, 400, millis(1_000), &mut generator()), [300, 100]);
}

#[test]
fn large_pools_are_drawn_by_learned_weights() {
    for policy in ["least_request", "least_time", "sticky", "join_idle_queue", "weighted"] {
        let pool = reporting(policy, &[1; 250], |_| {});
        for index in 0..250 {
            report(&pool, index, if index < 25 { 1_800 } else { 200 }, millis(0));
        }
        pool.tick(millis(1_000));
        let mut rng = generator();
        let mut large = 0;
        for _ in 0..2_000 {
            // None is given back, so that the idle ones run out.
            let Pick::Taken(index) = admit(&pool, millis(1_000), &mut rng) else { panic!("nobody is full") };
            large += usize::from(index < 25);
        }
        // A tenth of the endpoints with half of all weight.
        assert!((800..1_200).contains(&large), "{policy}: {large}");
    }
}

#[test]
fn levels_have_tables_of_their_own() {
    let pool = reporting("weighted", &[1, 1, 1, 1], |pool| {
        pool["endpoints"][2]["priority"] = json!(1);
        pool["endpoints"][3]["priority"] = json!(1);
    });
    for (index, capacity) in [300, 100, 50, 50].into_iter().enumerate() {
        report(&pool, index, capacity, millis(0));
    }
    pool.tick(millis(1_000));
    assert_eq!(shares(&pool, 400, millis(1_000), &mut generator()), [300, 100, 0, 0]);
}

#[test]
fn a_configured_weight_of_0_stays_0_and_one_report_is_not_enough() {
    let pool = reporting("weighted_random", &[3, 1, 0], |_| {});
    report(&pool, 2, 900, millis(0));
    report(&pool, 0, 100, millis(0));
    pool.tick(millis(1_000));
    assert_eq!(weights(&pool), [None; 3]);
    assert_follows(&shares(&pool, 4_000, millis(1_000), &mut generator()), &[3.0, 1.0, 0.0]);
    report(&pool, 1, 300, millis(1_000));
    pool.tick(millis(2_000));
    assert_eq!(weights(&pool), [Some(1_000), Some(3_000), Some(0)]);
    assert_follows(&shares(&pool, 4_000, millis(2_000), &mut generator()), &[1.0, 3.0, 0.0]);
}

#[test]
fn reports_that_expire_give_the_configured_weights_back() {
    for policy in ["weighted", "weighted_random"] {
        let pool = reporting(policy, &[3, 1], |_| {});
        report(&pool, 0, 100, millis(0));
        report(&pool, 1, 100, millis(0));
        pool.tick(millis(1_000));
        assert_eq!(weights(&pool), [Some(2_000), Some(2_000)]);
        pool.tick(millis(181_000));
        assert_eq!(weights(&pool), [None, None]);
        assert_follows(&shares(&pool, 4_000, millis(181_000), &mut generator()), &[3.0, 1.0]);
    }
}

#[test]
fn it_is_looked_at_once_a_second() {
    let pool = reporting("weighted", &[1, 1], |_| {});
    let capacities = |first, second, now| {
        report(&pool, 0, first, now);
        report(&pool, 1, second, now);
        pool.tick(now);
        weights(&pool)[0]
    };
    assert_eq!(capacities(300, 100, millis(0)), Some(1_500));
    assert_eq!(capacities(100, 300, millis(950)), Some(1_500));
    assert_eq!(capacities(100, 300, millis(1_000)), Some(500));
}

#[test]
fn who_reports_far_off_the_mean_is_not_believed_beyond_ten_times_it() {
    let pool = reporting("weighted", &[1; 40], |_| {});
    for index in 0..40 {
        report(&pool, index, if index == 0 { 4_000 } else { 100 }, millis(0));
    }
    pool.tick(millis(0));
    let (first, second) = (pool.learned_weight(0).unwrap(), pool.learned_weight(1).unwrap());
    // The mean is 197.5.
    assert!((first / second - 19.75).abs() < 0.01, "{first} and {second}");
}

#[test]
fn slow_start_multiplies() {
    let mut document = pool_document("weighted", &[1, 1]);
    document["reported"] = json!({"as": "weight", "blackout_ms": 0});
    document["slow_start"] = json!({"window_ms": 10_000, "aggression": 1.0, "min_weight": 0.1});
    let before = snapshot(&document, None);
    document["endpoints"]
        .as_array_mut()
        .unwrap()
        .push(json!({"address": "10.0.0.9:80", "weight": 1, "drain": false}));
    let after = snapshot(&document, Some(&before));
    let pool = &after.pools[0];
    for (index, capacity) in [100, 100, 400].into_iter().enumerate() {
        report(pool, index, capacity, millis(5_000));
    }
    pool.tick(millis(5_000));
    let counts = shares(pool, 8_000, millis(5_000), &mut generator());
    // Half of four parts, beside one each.
    assert_follows(&counts, &[1.0, 1.0, 2.0]);
}

#[test]
fn what_was_learned_survives_a_reload_until_nothing_is_learned_any_more() {
    let mut document = pool_document("weighted", &[1, 1]);
    document["reported"] = json!({"as": "weight", "blackout_ms": 0});
    let first = snapshot(&document, None);
    report(&first.pools[0], 0, 300, millis(0));
    report(&first.pools[0], 1, 100, millis(0));
    first.pools[0].tick(millis(0));
    let second = snapshot(&document, Some(&first));
    assert_eq!(weights(&second.pools[0]), [Some(1_500), Some(500)]);
    assert_eq!(shares(&second.pools[0], 400, millis(0), &mut generator()), [300, 100]);
    document["reported"] = Value::Null;
    let third = snapshot(&document, Some(&second));
    assert_eq!(shares(&third.pools[0], 400, millis(0), &mut generator()), [200, 200]);
    document["reported"] = json!({"as": "weight", "blackout_ms": 0});
    let fourth = snapshot(&document, Some(&third));
    assert_eq!(weights(&fourth.pools[0]), [None, None], "it begins with what is reported from here on");
}

#[test]
fn keys_stay_where_they_are_while_weights_change_little() {
    for policy in KEYED {
        let pool = reporting(policy, &[1, 1, 1], |_| {});
        let mut rng = generator();
        let mut owners = |capacities: [u32; 3], now: Nanos| -> Vec<Pick> {
            for (index, capacity) in capacities.into_iter().enumerate() {
                report(&pool, index, capacity, now);
            }
            pool.tick(now);
            let mut owner = |key: u64| {
                let pick =
                    pool.admit(now, &mut rng, &Seeker::of(Some(key.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
                let Pick::Taken(index) = pick else { panic!("nobody is full") };
                pool.release(&pool.members()[index].endpoint, now);
                pick
            };
            (0..2_000).map(&mut owner).collect()
        };
        let first = owners([200, 200, 200], millis(0));
        assert_eq!(owners([212, 190, 204], millis(1_000)), first, "{policy}");
        let later = owners([400, 200, 200], millis(2_000));
        let moved = first.iter().zip(&later).filter(|(before, after)| before != after).count();
        // The first has grown from a third to a half: a sixth of the keys, and no more than chance and maglev add.
        assert!((200..700).contains(&moved), "{policy}: {moved}");
    }
}

fn interpreted(weights: &[u32]) -> Arc<Pool> {
    pool("interpreted", weights, |pool| {
        pool["policy"]["score"] = json!({"label": "m:score", "address": 0, "of_two": false});
    })
}

#[test]
fn weights_that_are_handed_over_are_taken_in_turn() {
    let pool = interpreted(&[1, 1, 1]);
    assert_eq!(shares(&pool, 300, millis(0), &mut generator()), [100, 100, 100], "nothing was said yet");
    let said = |address: &str| match address {
        "10.0.0.1:80" => Some(1.0),
        "10.0.0.2:80" => Some(0.5),
        _ => None,
    };
    pool.take_weights(said);
    pool.tick(millis(0));
    // The third counts as the mean of those two.
    assert_eq!(shares(&pool, 900, millis(0), &mut generator()), [400, 200, 300]);
}

#[test]
fn facts_are_those_of_a_compiled_score_but_for_the_weight() {
    let pool = interpreted(&[3, 1]);
    admit(&pool, millis(0), &mut generator());
    pool.learn(
        &pool.members()[0].endpoint,
        steelyard_core::pool::Outcome::Failure("broke"),
        Some(Nanos::from_millis(20)),
        millis(500),
    );
    pool.take_weights(|_| Some(1.0));
    pool.tick(millis(0));
    let facts = pool.facts(millis(1_400));
    assert_eq!(facts.iter().map(|facts| facts.in_flight as u32).sum::<u32>(), 1);
    assert_eq!([0, 1].map(|index| facts[index].error_rate as u32), [1, 0]);
    // Where nobody has succeeded yet, a quick failure counts as what a request is guessed to take.
    assert!((facts[0].latency - 0.1).abs() < 1e-6);
    assert_eq!(
        (facts[0].weight, facts[1].weight),
        (3.0, 1.0),
        "what it said itself does not come back to it"
    );
    assert_eq!(facts[0].age as u32, 1);
    // What nobody has confirmed for more than a second fades, with a time constant of ten.
    let later = pool.facts(millis(2_000));
    assert!((later[0].error_rate - (-0.15f64).exp()).abs() < 1e-3);
    assert_eq!(later[0].age as u32, 2);
}

#[test]
fn other_pools_take_no_weights_from_anybody() {
    let pool = pool("weighted", &[1, 1], |_| {});
    pool.take_weights(|address| Some(if address == "10.0.0.1:80" { 9.0 } else { 1.0 }));
    pool.tick(millis(0));
    assert_eq!(weights(&pool), [None, None]);
}

fn by_reported_load(weights: &[u32]) -> Arc<Pool> {
    pool("least_load", weights, |pool| {
        pool["load"] = json!("reported");
        pool["reported"] = json!({"as": "load", "metric": "named_metrics.queue"});
    })
}

fn hear(pool: &Pool, index: usize, utilisation: f32, now: Nanos) {
    let value = format!("TEXT named_metrics.queue={utilisation}");
    assert_eq!(pool.hear(&pool.members()[index].endpoint, [value.as_bytes()].into_iter(), now), Heard::Taken);
}

#[test]
fn the_least_utilised_is_taken_until_it_has_more_than_it_reported_with() {
    let pool = by_reported_load(&[1, 1]);
    hear(&pool, 0, 0.2, millis(0));
    hear(&pool, 1, 0.9, millis(0));
    let mut rng = generator();
    let mut taken = || match admit(&pool, millis(0), &mut rng) {
        Pick::Taken(index) => index,
        other => panic!("{other:?}"),
    };
    // 0.2, 0.4, 0.6, 0.8 and then 1.0 beside 0.9.
    assert_eq!([0; 6].map(|_| taken()), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn without_any_report_it_is_least_request() {
    let pool = by_reported_load(&[3, 1]);
    let mut rng = generator();
    let mut counts = [0; 2];
    for _ in 0..40 {
        let Pick::Taken(index) = admit(&pool, millis(0), &mut rng) else { panic!("nobody is full") };
        counts[index] += 1;
    }
    assert_eq!(counts, [30, 10]);
}

#[test]
fn one_that_does_not_report_counts_as_the_mean() {
    let pool = by_reported_load(&[1, 1, 1]);
    hear(&pool, 0, 0.2, millis(0));
    hear(&pool, 1, 0.9, millis(0));
    pool.tick(millis(0));
    let mut rng = generator();
    let mut first = Vec::new();
    for _ in 0..5 {
        let Pick::Taken(index) = admit(&pool, millis(0), &mut rng) else { panic!("nobody is full") };
        first.push(index);
    }
    // 0.2, 0.4, then the third's 0.55, 0.6 and 0.8.
    assert_eq!(first, [0, 0, 2, 0, 0]);
}
