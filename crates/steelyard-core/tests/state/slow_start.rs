//! Slow start: who is in it, and what share it gives under each policy.

use crate::support::{
    Stand, admit, assert_follows, counts, generator, millis, policy, pool_document, snapshot,
};
use serde_json::{Value, json};
use std::sync::Arc;
use steelyard_core::key::hash;
use steelyard_core::policy::{Candidates, KEYED, NAMES};
use steelyard_core::pool::{Outcome, Pick, Pool};
use steelyard_core::seeker::Seeker;
use steelyard_core::snapshot::Snapshot;
use steelyard_core::time::Nanos;

/// Half of a window that began at `millis(0)`.
const HALF_MS: u64 = 15_000;

fn document(policy: &str, endpoints: usize) -> Value {
    let mut document = pool_document(policy, &vec![1; endpoints]);
    document["slow_start"] = json!({"window_ms": 30_000, "aggression": 1.0, "min_weight": 0.1});
    document
}

/// A pool of `endpoints` whose last one joined the others at `millis(0)`.
fn joined(policy: &str, endpoints: usize) -> (Snapshot, Arc<Pool>) {
    let before = snapshot(&document(policy, endpoints - 1), None);
    let after = snapshot(&document(policy, endpoints), Some(&before));
    let pool = Arc::clone(&after.pools[0]);
    (before, pool)
}

fn factors(pool: &Pool, at_ms: u64) -> Vec<f32> {
    // To three figures: a third has no more of them that are exact.
    let rounded = |factor: f32| (factor * 1_000.0).round() / 1_000.0;
    pool.members().iter().map(|member| rounded(pool.start_factor(&member.endpoint, millis(at_ms)))).collect()
}

/// How often each member is picked in `picks` requests that come one after the other.
fn one_by_one(pool: &Arc<Pool>, at_ms: u64, picks: usize) -> Vec<u64> {
    let mut rng = generator();
    let mut counts = vec![0; pool.members().len()];
    for _ in 0..picks {
        let Pick::Taken(index) = admit(pool, millis(at_ms), &mut rng) else { panic!("one is eligible") };
        counts[index] += 1;
        let endpoint = &pool.members()[index].endpoint;
        pool.learn(endpoint, Outcome::Success, Some(Nanos::from_millis(10)), millis(at_ms));
        pool.release(endpoint, millis(at_ms));
    }
    counts
}

#[test]
fn a_pool_that_begins_is_not_in_slow_start() {
    let begun = snapshot(&document("random", 3), None);
    assert_eq!(factors(&begun.pools[0], 1), [1.0; 3]);
    // Not even where its first probes find all healthy.
    let mut probed = document("random", 2);
    probed["health"]["interval_ms"] = 1_000.into();
    let pool = Arc::clone(&snapshot(&probed, None).pools[0]);
    for member in pool.members() {
        pool.record_probe(&member.endpoint, true, "200".into(), millis(1));
    }
    assert_eq!(factors(&pool, 2), [1.0; 2]);
}

#[test]
fn one_that_joins_is_until_the_window_is_over() {
    let (_before, pool) = joined("random", 3);
    assert_eq!(factors(&pool, 0), [1.0, 1.0, 0.1]);
    assert_eq!(factors(&pool, HALF_MS), [1.0, 1.0, 0.5]);
    assert_eq!(factors(&pool, 30_000), [1.0; 3]);
}

#[test]
fn a_reload_goes_on_where_it_was() {
    let (_before, pool) = joined("random", 3);
    let first = snapshot(&document("random", 2), None);
    let second = snapshot(&document("random", 3), Some(&first));
    let third = snapshot(&document("least_request", 3), Some(&second));
    assert_eq!(factors(&third.pools[0], HALF_MS), factors(&pool, HALF_MS));
}

#[test]
fn one_that_joins_and_is_probed_begins_with_its_first_good_probe() {
    let probed = |endpoints| {
        let mut document = document("random", endpoints);
        document["health"]["interval_ms"] = 1_000.into();
        document
    };
    let before = snapshot(&probed(1), None);
    let pool = Arc::clone(&snapshot(&probed(2), Some(&before)).pools[0]);
    for member in pool.members() {
        pool.record_probe(&member.endpoint, true, "200".into(), millis(20_000));
    }
    assert_eq!(factors(&pool, 35_000), [1.0, 0.5]);
}

#[test]
fn one_that_recovers_by_probe_or_from_its_ejection_is_in_it_again() {
    let mut probed = document("random", 3);
    probed["health"]["interval_ms"] = 1_000.into();
    probed["health"]["fall"] = 1.into();
    probed["health"]["rise"] = 1.into();
    let pool = Arc::clone(&snapshot(&probed, None).pools[0]);
    for (at, good) in [(1, true), (2, false), (1_000, true)] {
        pool.record_probe(&pool.members()[0].endpoint, good, String::new(), millis(at));
        pool.record_probe(&pool.members()[1].endpoint, true, String::new(), millis(at));
        pool.record_probe(&pool.members()[2].endpoint, true, String::new(), millis(at));
    }
    for _ in 0..3 {
        pool.learn(&pool.members()[1].endpoint, Outcome::Failure("reset"), None, millis(1_000));
    }
    pool.tick(millis(6_000));
    assert_eq!(factors(&pool, 16_000), [0.5, 0.333, 1.0]);
}

#[test]
fn the_end_of_a_drain_is_no_start_unless_it_recovered_meanwhile() {
    for (answers, expected) in [(&[true, true][..], 1.0), (&[true, false, true][..], 0.1)] {
        let with_drain = |drain: bool| {
            let mut document = document("random", 2);
            document["endpoints"][0]["drain"] = drain.into();
            document["health"]["interval_ms"] = 1_000.into();
            document["health"]["fall"] = 1.into();
            document["health"]["rise"] = 1.into();
            document
        };
        let draining = snapshot(&with_drain(true), None);
        for &good in answers {
            let pool = &draining.pools[0];
            pool.record_probe(&pool.members()[0].endpoint, good, String::new(), millis(0));
        }
        let back = snapshot(&with_drain(false), Some(&draining));
        let factor = factors(&back.pools[0], 0)[0];
        assert!((factor - expected).abs() < 0.001, "{factor} after {answers:?}");
    }
}

#[test]
fn half_way_those_that_draw_or_take_turns_give_half_a_share() {
    for name in ["random", "weighted_random", "round_robin", "weighted"] {
        let (_before, pool) = joined(name, 4);
        assert_follows(&one_by_one(&pool, HALF_MS, 100_000), &[1.0, 1.0, 1.0, 0.5]);
        assert_follows(&one_by_one(&pool, 30_000, 100_000), &[1.0; 4]);
    }
}

#[test]
fn round_robin_is_exact_among_the_others() {
    let (_before, pool) = joined("round_robin", 4);
    let counts = one_by_one(&pool, HALF_MS, 1_000);
    let others = &counts[..3];
    assert!(others.iter().max().unwrap() - others.iter().min().unwrap() <= 1, "{counts:?}");
}

#[test]
fn weights_count_in_proportion() {
    let weights = [3, 2, 4, 1];
    let mut stand = Stand::new(&weights);
    stand.factors[2] = 0.25;
    for name in ["weighted", "weighted_random"] {
        let counts = counts(&stand, &policy(name, &weights), &mut generator(), 200_000);
        assert_follows(&counts, &[3.0, 2.0, 1.0, 1.0]);
    }
}

#[test]
fn those_that_compare_let_it_carry_half_as_much() {
    for name in ["least_request", "least_load", "p2c", "least_time"] {
        let (_before, pool) = joined(name, 4);
        let mut rng = generator();
        for _ in 0..700 {
            assert!(matches!(admit(&pool, millis(HALF_MS), &mut rng), Pick::Taken(_)));
        }
        let carried: Vec<u32> = pool.members().iter().map(|member| member.endpoint.in_flight()).collect();
        // 700 = 200 + 200 + 200 + 100.
        assert!((85..=115).contains(&carried[3]), "{name}: {carried:?}");
    }
}

#[test]
fn one_that_is_idle_among_the_idle_gets_something() {
    for name in NAMES {
        let (_before, pool) = joined(name, 4);
        let counts = one_by_one(&pool, HALF_MS, 20_000);
        let share = counts[3] as f64 / 20_000.0;
        assert!((0.03..0.22).contains(&share), "{name}: {counts:?}");
    }
}

#[test]
fn one_that_is_alone_takes_everything() {
    for name in NAMES {
        let (_before, pool) = joined(name, 2);
        for _ in 0..3 {
            pool.learn(&pool.members()[0].endpoint, Outcome::Failure("reset"), None, millis(1));
        }
        assert_eq!(one_by_one(&pool, 2, 300), [0, 300], "{name}");
    }
}

/// The endpoint that each key goes to.
fn homes(pool: &Arc<Pool>, at_ms: u64) -> Vec<usize> {
    let mut rng = generator();
    (0..4_000u64)
        .map(|key| {
            let seeker = Seeker::of(Some(hash(&key.to_le_bytes())));
            let Pick::Taken(index) = pool.admit(millis(at_ms), &mut rng, &seeker) else {
                panic!("one is eligible")
            };
            pool.release(&pool.members()[index].endpoint, millis(at_ms));
            index
        })
        .collect()
}

#[test]
fn under_policies_that_go_by_a_key_its_keys_move_once_and_no_others() {
    for name in KEYED {
        let (before, pool) = joined(name, 4);
        let mut last = homes(&before.pools[0], 0);
        let whole = homes(&pool, 30_000);
        for at_ms in [0, 6_000, HALF_MS, 24_000, 30_000] {
            let now = homes(&pool, at_ms);
            let moved = last.iter().zip(&now).filter(|(last, now)| last != now).count();
            let strays = last.iter().zip(&now).filter(|(last, now)| last != now && **now != 3).count();
            // Where the table itself changes with who is in the pool, some others move, but only as it does.
            if name == "maglev" && at_ms == 0 {
                assert!(strays < moved, "{strays} of {moved}");
            } else {
                assert_eq!(strays, 0, "{name} at {at_ms} ms");
            }
            last = now;
            if at_ms == HALF_MS {
                let share = last.iter().filter(|home| **home == 3).count() as f64
                    / whole.iter().filter(|home| **home == 3).count() as f64;
                assert!((0.43..0.57).contains(&share), "{name}: {share}");
            }
        }
    }
}

#[test]
fn it_carries_half_as_much_below_the_bound_of_bounded_hash() {
    let (_before, pool) = joined("bounded_hash", 4);
    let mut rng = generator();
    // One busy key that is at home there: only the bound decides.
    let key =
        homes(&pool, HALF_MS).iter().position(|home| *home == 3).expect("some key is at home there") as u64;
    for _ in 0..700 {
        let seeker = Seeker::of(Some(hash(&key.to_le_bytes())));
        assert!(matches!(pool.admit(millis(HALF_MS), &mut rng, &seeker), Pick::Taken(_)));
    }
    // 1.25 x 700 x 0.5 / 3.5.
    assert_eq!(pool.members()[3].endpoint.in_flight(), 125);
}

extern "C" fn indifferent(_: f64, _: f64, _: f64, _: f64, _: f64, _: f64, _: f64) -> f64 {
    0.0
}

extern "C" fn per_weight(q: f64, _: f64, _: f64, weight: f64, _: f64, _: f64, _: f64) -> f64 {
    (1.0 + q) / weight
}

extern "C" fn oldest(_: f64, _: f64, _: f64, _: f64, _: f64, age: f64, _: f64) -> f64 {
    -age
}

type Function = extern "C" fn(f64, f64, f64, f64, f64, f64, f64) -> f64;

fn scored(function: Function, endpoints: usize) -> Arc<Pool> {
    let document = |endpoints| {
        let mut document = document("scored", endpoints);
        document["policy"]["score"] =
            json!({"label": "m:score", "address": function as usize, "of_two": false});
        document
    };
    let before = snapshot(&document(endpoints - 1), None);
    Arc::clone(&snapshot(&document(endpoints), Some(&before)).pools[0])
}

#[test]
fn a_compiled_score_counts_it_out_and_sees_its_weight() {
    let counts = one_by_one(&scored(indifferent, 4), HALF_MS, 20_000);
    let share = counts[3] as f64 / 20_000.0;
    assert!((0.10..0.16).contains(&share), "half of a quarter: {counts:?}");
    let pool = scored(per_weight, 4);
    let mut rng = generator();
    for _ in 0..700 {
        assert!(matches!(admit(&pool, millis(HALF_MS), &mut rng), Pick::Taken(_)));
    }
    let carried = pool.members()[3].endpoint.in_flight();
    assert!((85..=115).contains(&carried), "{carried}");
}

#[test]
fn a_compiled_score_sees_how_long_ago_it_joined_or_came_back() {
    let pool = scored(oldest, 2);
    // Both began at the same moment here; the first then fails and comes back.
    for _ in 0..3 {
        pool.learn(&pool.members()[0].endpoint, Outcome::Failure("reset"), None, millis(0));
    }
    pool.tick(millis(60_000));
    assert_eq!(one_by_one(&pool, 120_000, 50), [0, 50]);
}

#[test]
fn a_key_moves_to_it_once_and_stays() {
    let mut stand = Stand::new(&[1, 1]);
    let mut moved = 0;
    for key in 0..2_000u64 {
        let mut goes = false;
        for percent in (10u8..=100).step_by(10) {
            stand.factors[1] = f32::from(percent) / 100.0;
            let starts = stand.starts(1, key);
            assert!(starts || !goes, "a key that has moved stays");
            moved += u32::from(starts && percent == 50);
            goes = starts;
        }
        assert!(goes && stand.starts(0, key));
    }
    assert!((900..1_100).contains(&moved), "half of the keys have moved half-way: {moved}");
}
