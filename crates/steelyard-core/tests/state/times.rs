//! Policies that compare how long endpoints take, and what a failure does to them.

use crate::support::{admit, generator, millis, pool};
use serde_json::json;
use std::sync::Arc;
use steelyard_core::pool::{Outcome, Pick, Pool};
use steelyard_core::time::Nanos;

/// Lets every endpoint answer once, in so many milliseconds.
fn teach(pool: &Arc<Pool>, times_ms: &[u64]) {
    for (member, &ms) in pool.members().iter().zip(times_ms) {
        pool.teach(&member.endpoint, Nanos::from_millis(ms).as_secs_f32(), millis(0));
    }
}

/// How many of `count` requests, none of which ends, go to each endpoint.
fn spread(pool: &Arc<Pool>, count: usize) -> Vec<usize> {
    let mut rng = generator();
    let mut taken = vec![0; pool.members().len()];
    for _ in 0..count {
        match admit(pool, millis(1), &mut rng) {
            Pick::Taken(index) => taken[index] += 1,
            other => panic!("{other:?}"),
        }
    }
    taken
}

#[test]
fn least_time_gives_each_in_proportion_to_its_speed() {
    let pool = pool("least_time", &[1, 1, 1], |_| {});
    teach(&pool, &[10, 20, 40]);
    // Costs are level when (1 + in flight) x time is: 4 : 2 : 1.
    assert_eq!(spread(&pool, 70), [40, 20, 10]);
}

#[test]
fn one_that_was_slow_is_tried_again() {
    let pool = pool("least_time", &[1, 1], |_| {});
    teach(&pool, &[10, 1_000]);
    assert_eq!(spread(&pool, 10), [10, 0]);
    let later = millis(60_000);
    for _ in 0..200 {
        pool.teach(&pool.members()[0].endpoint, 0.01, later);
    }
    let Pick::Taken(index) = admit(&pool, later, &mut generator()) else { panic!("one is free") };
    assert_eq!(index, 1, "ten are in flight at the other one, and the bad time is long ago");
}

#[test]
fn least_load_goes_by_what_the_pool_calls_load() {
    let by_time = pool("least_load", &[1, 1], |pool| pool["load"] = json!("latency"));
    teach(&by_time, &[10, 20]);
    assert_eq!(spread(&by_time, 10), [10, 0], "the time says nothing of requests in flight");

    let by_bytes = pool("least_load", &[1, 1], |pool| pool["load"] = json!("bytes"));
    by_bytes.members()[0].endpoint.count_bytes(1_000_000, millis(0));
    assert_eq!(spread(&by_bytes, 10), [0, 10]);

    let by_requests = pool("least_load", &[3, 1], |_| {});
    assert_eq!(spread(&by_requests, 40), [30, 10]);
}

#[test]
fn p2c_of_two_never_takes_the_dearer_one() {
    let pool = pool("p2c", &[1, 1], |_| {});
    assert_eq!(spread(&pool, 100), [50, 50]);
}

#[test]
fn peak_ewma_keeps_away_from_a_slow_one_until_the_peak_has_faded() {
    let pool = pool("peak_ewma", &[1, 1], |pool| pool["policy"]["decay_ms"] = json!(1_000));
    teach(&pool, &[10, 1_000]);
    let mut rng = generator();
    let mut first = |now| match admit(&pool, now, &mut rng) {
        Pick::Taken(index) => {
            pool.release(&pool.members()[index].endpoint, now);
            index
        }
        other => panic!("{other:?}"),
    };
    assert!((0..50).all(|_| first(millis(1)) == 0));
    // A second's peak is gone after some time constants; then only ties decide.
    assert!((0..50).any(|_| first(millis(20_000)) == 1));
}

#[test]
fn one_that_fails_fast_is_never_chosen_for_its_speed() {
    for policy in ["least_time", "peak_ewma"] {
        let pool = pool(policy, &[1; 2], |_| {});
        teach(&pool, &[100, 100]);
        for _ in 0..50 {
            pool.teach(&pool.members()[0].endpoint, 0.1, millis(0));
        }
        let failing = &pool.members()[1].endpoint;
        for step in 1..20 {
            pool.learn(failing, Outcome::Failure("refused"), Some(Nanos(1_000)), millis(step * 1_000));
        }
        assert!(failing.smoothed_s().unwrap() >= 0.09, "{policy}: {:?}", failing.smoothed_s());
    }
}

#[test]
fn one_that_fails_before_anyone_has_succeeded_is_not_the_fastest() {
    for policy in ["least_time", "peak_ewma"] {
        let pool = pool(policy, &[1; 2], |_| {});
        pool.learn(&pool.members()[1].endpoint, Outcome::Failure("refused"), Some(Nanos(1_000)), millis(0));
        // All idle each time: what was learned decides, and ties.
        let mut rng = generator();
        let goes_elsewhere = (0..50).any(|_| {
            let Pick::Taken(index) = admit(&pool, millis(1), &mut rng) else { panic!("one is free") };
            pool.release(&pool.members()[index].endpoint, millis(1));
            index == 0
        });
        assert!(goes_elsewhere, "{policy}: it would take every request for ever");
    }
}
