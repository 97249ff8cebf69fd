//! A compiled score: the lowest is taken, and what is no number is the worst.

use crate::support::{admit, generator, millis, pool, pool_document, snapshot};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use steelyard_core::pool::{Outcome, Pick, Pool};
use steelyard_core::time::Nanos;

type Function = extern "C" fn(f64, f64, f64, f64, f64, f64, f64) -> f64;

extern "C" fn in_flight(q: f64, _: f64, _: f64, weight: f64, _: f64, _: f64, _: f64) -> f64 {
    (1.0 + q) / weight
}

static LATENCY_MS: AtomicU64 = AtomicU64::new(u64::MAX);

extern "C" fn latency_noted(_: f64, latency: f64, _: f64, _: f64, _: f64, _: f64, _: f64) -> f64 {
    LATENCY_MS.store((latency * 1e3).round() as u64, Ordering::Relaxed);
    0.0
}

extern "C" fn idle_is_no_number(q: f64, _: f64, _: f64, _: f64, _: f64, _: f64, _: f64) -> f64 {
    if q == 0.0 { f64::NAN } else { q }
}

static ZONE_MATCH: AtomicU64 = AtomicU64::new(u64::MAX);

extern "C" fn noted(_: f64, _: f64, _: f64, _: f64, _: f64, _: f64, zone_match: f64) -> f64 {
    ZONE_MATCH.store(zone_match as u64, Ordering::Relaxed);
    0.0
}

extern "C" fn error_rate(_: f64, _: f64, rate: f64, _: f64, _: f64, _: f64, _: f64) -> f64 {
    rate
}

fn scored(function: Function, weights: &[u32]) -> Arc<Pool> {
    let score = json!({"label": "m:score", "address": function as usize, "of_two": false});
    pool("scored", weights, |pool: &mut Value| pool["policy"]["score"] = score)
}

#[test]
fn what_a_score_does_not_read_is_not_worked_out() {
    for (reads, expected_ms) in
        [(json!(["in_flight", "age"]), 0), (json!(["latency"]), 20), (json!(null), 20)]
    {
        let score = json!({"label": "m:score", "address": seen_by_reads as Function as usize, "of_two": false,
                           "reads": reads});
        let pool = pool("scored", &[1], |pool: &mut Value| pool["policy"]["score"] = score);
        pool.learn(&pool.members()[0].endpoint, Outcome::Success, Some(Nanos::from_millis(20)), millis(0));
        taken(&pool, 1);
        assert_eq!(READ_MS.load(Ordering::Relaxed), expected_ms, "{reads}");
    }
}

static READ_MS: AtomicU64 = AtomicU64::new(u64::MAX);

extern "C" fn seen_by_reads(_: f64, latency: f64, _: f64, _: f64, _: f64, _: f64, _: f64) -> f64 {
    READ_MS.store((latency * 1e3).round() as u64, Ordering::Relaxed);
    0.0
}

fn taken(pool: &Pool, count: usize) -> Vec<usize> {
    let mut rng = generator();
    let mut taken = vec![0; pool.members().len()];
    for _ in 0..count {
        let Pick::Taken(index) = admit(pool, millis(1), &mut rng) else { panic!("one is free") };
        taken[index] += 1;
    }
    taken
}

#[test]
fn the_lowest_score_is_taken() {
    assert_eq!(taken(&scored(in_flight, &[3, 1]), 40), [30, 10]);
}

#[test]
fn what_is_no_number_is_taken_only_where_nothing_is_better() {
    let pool = scored(idle_is_no_number, &[1, 1]);
    let counts = taken(&pool, 10);
    assert_eq!(counts.iter().sum::<usize>(), 10, "the first had to be taken all the same");
    assert!(counts.contains(&10), "the idle one stays the worst: {counts:?}");
}

#[test]
fn failures_show_as_a_rate() {
    let pool = scored(error_rate, &[1, 1]);
    for (index, outcome) in [(0, Outcome::Failure("broke")), (1, Outcome::Success)] {
        pool.learn(&pool.members()[index].endpoint, outcome, Some(Nanos::from_millis(1)), millis(0));
    }
    assert_eq!(taken(&pool, 10), [0, 10]);
}

#[test]
fn the_rate_of_failures_fades_where_nobody_asks_any_more() {
    let pool = scored(error_rate, &[1, 1]);
    for (index, outcome) in [(0, Outcome::Failure("broke")), (1, Outcome::Success)] {
        pool.learn(&pool.members()[index].endpoint, outcome, Some(Nanos::from_millis(1)), millis(0));
    }
    // A last failure of the other, so that there is something to be better than.
    pool.learn(&pool.members()[1].endpoint, Outcome::Failure("broke"), Some(Nanos(1)), millis(50_000));
    let pick = admit(&pool, millis(50_001), &mut generator());
    assert_eq!(pick, Pick::Taken(0), "it has had time to recover");
}

#[test]
fn a_failure_counts_as_a_request_in_flight_until_it_has_faded() {
    let pool = scored(in_flight, &[1, 1]);
    pool.learn(&pool.members()[0].endpoint, Outcome::Failure("broke"), Some(Nanos(1)), millis(1));
    assert_eq!(taken(&pool, 1), [0, 1], "who fails at once is not idle");
    let mut rng = generator();
    let picks = |rng: &mut _| {
        (0..2)
            .filter_map(|_| match admit(&pool, millis(60_000), rng) {
                Pick::Taken(index) => Some(index),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(picks(&mut rng)[0], 0, "the other still carries one");
}

#[test]
fn a_bad_time_fades_where_nobody_asks_any_more() {
    // Of weight 0, so that only the first is looked at.
    let pool = scored(latency_noted, &[1, 0]);
    let answered = |index: usize, lasted_ms, at_ms| {
        let lasted = Some(Nanos::from_millis(lasted_ms));
        pool.learn(&pool.members()[index].endpoint, Outcome::Success, lasted, millis(at_ms));
    };
    answered(0, 5_000, 0);
    (1..=100).for_each(|second| answered(1, 100, second * 1_000));
    let seen_ms = |at_ms| {
        admit(&pool, millis(at_ms), &mut generator());
        LATENCY_MS.load(Ordering::Relaxed)
    };
    assert_eq!(seen_ms(1_000), 5_000, "it was slow a moment ago");
    assert_eq!(seen_ms(100_000), 100, "nobody knows better than that it may be as fast as the pool");
}

#[test]
fn it_is_said_who_stands_in_the_own_zone() {
    for (own_zone, zone, expected) in [
        (None, None, 0),
        (None, Some("a"), 0),
        (Some("a"), None, 0),
        (Some("a"), Some("b"), 0),
        (Some("a"), Some("a"), 1),
    ] {
        let mut document = pool_document("scored", &[1]);
        document["policy"]["score"] =
            json!({"label": "m:score", "address": noted as Function as usize, "of_two": false});
        document["own_zone"] = json!(own_zone);
        document["endpoints"][0]["zone"] = json!(zone);
        taken(&snapshot(&document, None).pools[0], 1);
        assert_eq!(ZONE_MATCH.load(Ordering::Relaxed), expected, "{zone:?} seen from {own_zone:?}");
    }
}
