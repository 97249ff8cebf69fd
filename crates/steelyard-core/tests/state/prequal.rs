//! `prequal`: what endpoints report decides, and asking them stays within its bounds.

use crate::support::{admit, assert_follows, generator, millis, pool};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use steelyard_core::policy::reuse;
use steelyard_core::pool::{Outcome, Pick, Pool};
use steelyard_core::random::Generator;
use steelyard_core::report::Report;
use steelyard_core::time::Nanos;

fn prequal(endpoints: usize, settings: &Value) -> Arc<Pool> {
    pool("prequal", &vec![1; endpoints], |pool| {
        for (name, value) in settings.as_object().unwrap() {
            pool["policy"][name] = value.clone();
        }
    })
}

/// One that has hardly any probe to send, so that none of the few replies at hand is removed.
fn quiet(endpoints: usize) -> Arc<Pool> {
    prequal(endpoints, &json!({"probe_rate_max": 1}))
}

fn report(pool: &Pool, index: usize, in_flight: u32, latency_ms: f32, now: Nanos) {
    let report = Report { in_flight, latency_s: latency_ms / 1e3 };
    pool.take_report(&pool.members()[index].endpoint, Some(report), now);
}

fn take(pool: &Arc<Pool>, now: Nanos, rng: &mut Generator) -> usize {
    match admit(pool, now, rng) {
        Pick::Taken(index) => index,
        other => panic!("{other:?}"),
    }
}

/// One request by itself.
fn pass(pool: &Arc<Pool>, now: Nanos, rng: &mut Generator) -> usize {
    let index = take(pool, now, rng);
    pool.release(&pool.members()[index].endpoint, now);
    index
}

/// The ids of those that are wanted to be asked; nobody asks them.
fn wanted(pool: &Pool) -> Vec<u32> {
    let calls = pool.calls_for_probes();
    let wanted: Vec<u32> = pool.probes_wanted().iter().map(|member| member.endpoint.id()).collect();
    assert_eq!(calls, !wanted.is_empty(), "a call is made when there is something to ask, and taken once");
    assert!(!pool.calls_for_probes());
    wanted
}

#[test]
fn the_reuse_follows_the_formula_and_has_a_bound_where_that_has_none() {
    let defaults = |endpoints| (reuse(endpoints, 3.0, 1.0) * 1e3).round() / 1e3;
    assert_eq!([100, 1_000].map(defaults).map(|uses| (uses * 1e3) as u32), [1_316, 1_025]);
    for endpoints in 1..=24 {
        assert_eq!(reuse(endpoints, 3.0, 1.0) as u32, 16, "{endpoints}");
    }
    assert_eq!(reuse(25, 3.0, 1.0) as u32, 16, "25 by the formula");
    assert_eq!(reuse(1_000, 16.0, 1.0) as u32, 1, "never less than once");
}

#[test]
fn with_fewer_than_two_replies_chance_decides_by_weight() {
    let weights = [1, 2, 0, 5];
    let (pool, mut rng) = (pool("prequal", &weights, |_| {}), generator());
    report(&pool, 0, 0, 1.0, millis(0));
    let mut counts = [0; 4];
    for _ in 0..100_000 {
        counts[pass(&pool, millis(0), &mut rng)] += 1;
    }
    assert_follows(&counts, &weights.map(f64::from));
}

#[test]
fn the_fastest_of_the_cold_is_chosen_else_the_hot_one_that_carries_least() {
    let (pool, mut rng) = (prequal(3, &json!({})), generator());
    // The distribution of requests in flight is known from earlier replies, which are too old to be chosen.
    for step in 0..20 {
        report(&pool, step % 2, 1 + step as u32 % 2, 1.0, millis(0));
    }
    let now = millis(2_000);
    for (index, in_flight, latency_ms) in [(0, 1, 50.0), (1, 2, 10.0), (2, 9, 1.0)] {
        report(&pool, index, in_flight, latency_ms, now);
    }
    assert_eq!(pass(&pool, now, &mut rng), 1, "2 is the fastest and hot");

    let later = millis(4_000);
    for (index, in_flight, latency_ms) in [(0, 8, 1.0), (1, 7, 50.0), (2, 9, 1.0)] {
        report(&pool, index, in_flight, latency_ms, later);
    }
    assert_eq!(pass(&pool, later, &mut rng), 1, "all are hot");
}

#[test]
fn the_quantile_leads_from_requests_alone_to_latency_alone() {
    for (q_rif, chosen) in [(0.0, 0), (1.0, 2)] {
        let (pool, mut rng) = (prequal(3, &json!({"q_rif": q_rif})), generator());
        for (index, in_flight, latency_ms) in [(0, 1, 50.0), (1, 5, 10.0), (2, 9, 1.0)] {
            report(&pool, index, in_flight, latency_ms, millis(0));
        }
        assert_eq!(pass(&pool, millis(0), &mut rng), chosen, "{q_rif}");
    }
}

#[test]
fn a_use_counts_as_a_request_in_flight() {
    let (pool, mut rng) = (quiet(2), generator());
    let now = millis(0);
    report(&pool, 0, 0, 1.0, now);
    report(&pool, 1, 0, 2.0, now);
    let order: Vec<usize> = (0..4).map(|_| pass(&pool, now, &mut rng)).collect();
    assert_eq!(order, [0, 1, 1, 0], "0 is faster, then hot; both are hot and 1 is newer; 1 carries more");
}

#[test]
fn replies_of_more_than_a_second_ago_are_not_used() {
    let (pool, mut rng) = (quiet(3), generator());
    let (reported, soon, late) = (millis(0), millis(900), millis(1_100));
    report(&pool, 0, 0, 1.0, reported);
    report(&pool, 1, 0, 9.0, reported);
    for now in [reported, soon] {
        let spread: BTreeSet<usize> = (0..10).map(|_| pass(&pool, now, &mut rng)).collect();
        assert!(!spread.contains(&2), "{now:?} {spread:?}");
    }
    let spread: BTreeSet<usize> = (0..60).map(|_| pass(&pool, late, &mut rng)).collect();
    assert_eq!(spread.len(), 3, "chance decides");
}

#[test]
fn one_that_fails_loses_its_replies_and_carries_its_phantoms() {
    let (pool, mut rng) = (prequal(3, &json!({})), generator());
    for index in 0..3 {
        report(&pool, index, 0, [1.0, 5.0, 9.0][index], millis(0));
    }
    let failing = &pool.members()[0].endpoint;
    pool.learn(failing, Outcome::Failure("500"), Some(Nanos(1_000)), millis(0));
    assert_eq!(pass(&pool, millis(0), &mut rng), 1, "the fastest has failed");
    // It reports again that it is idle and fast; its phantom makes it hot all the same.
    for index in 0..3 {
        report(&pool, index, 0, [1.0, 5.0, 9.0][index], millis(0));
    }
    assert_ne!(pass(&pool, millis(0), &mut rng), 0);
    // Until the phantom has faded.
    for index in 0..3 {
        report(&pool, index, 0, [1.0, 5.0, 9.0][index], millis(60_000));
    }
    assert_eq!(pass(&pool, millis(60_000), &mut rng), 0);
}

#[test]
fn each_request_wants_three_distinct_endpoints_asked() {
    let (pool, mut rng) = (prequal(50, &json!({})), generator());
    let mut counts = [0; 50];
    for step in 0..5_000 {
        let now = millis(step * 10);
        pass(&pool, now, &mut rng);
        let asked = wanted(&pool);
        assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), 3);
        for id in asked {
            counts[id as usize] += 1;
            report(&pool, id as usize, 0, 1.0, now);
        }
    }
    assert_follows(&counts, &[1.0; 50]);
}

#[test]
fn a_fraction_of_a_probe_is_added_up() {
    let (pool, mut rng) = (prequal(50, &json!({"probes_per_request": 0.5})), generator());
    let asked: Vec<usize> = (0..6)
        .map(|_| {
            pass(&pool, millis(0), &mut rng);
            let asked = wanted(&pool);
            for &id in &asked {
                report(&pool, id as usize, 0, 1.0, millis(0));
            }
            asked.len()
        })
        .collect();
    assert_eq!(asked, [0, 1, 0, 1, 0, 1]);
}

#[test]
fn probes_stay_within_their_rate() {
    let (pool, mut rng) = (prequal(50, &json!({"probe_rate_max": 100})), generator());
    let mut asked = 0;
    for step in 0..10_000 {
        let now = millis(step);
        pass(&pool, now, &mut rng);
        for id in wanted(&pool) {
            asked += 1;
            report(&pool, id as usize, 0, 1.0, now);
        }
    }
    // Ten seconds, and what may come at once: no more than sixteen.
    assert!((990..=1_016).contains(&asked), "{asked}");
}

#[test]
fn where_few_probes_are_allowed_their_replies_last() {
    // Thirty times fewer than requests want.
    let (pool, mut rng) = (prequal(10, &json!({"probe_rate_max": 1_000})), generator());
    let mut fast = 0;
    for step in 0..20_000 {
        let now = Nanos(millis(0).0 + step * 100_000);
        fast += usize::from(pass(&pool, now, &mut rng) < 5);
        for id in wanted(&pool) {
            // Half of the endpoints are idle, the others busy and slow.
            let busy = id >= 5;
            report(&pool, id as usize, 100 * u32::from(busy), if busy { 100.0 } else { 1.0 }, now);
        }
    }
    let share = fast as f64 / 20_000.0;
    assert!(
        share > 0.7,
        "{share}: chance alone gives a half, and so do replies that are removed as if more came"
    );
}

#[test]
fn probes_on_their_way_are_bounded_and_never_two_to_one_endpoint() {
    let (pool, mut rng) = (prequal(50, &json!({"probes_in_flight_max": 8})), generator());
    let mut on_their_way = Vec::new();
    for step in 0..100 {
        pass(&pool, millis(step * 10), &mut rng);
        on_their_way.extend(wanted(&pool));
    }
    assert_eq!(on_their_way.iter().collect::<BTreeSet<_>>().len(), 8);
    assert_eq!(on_their_way.len(), 8);
    let back = on_their_way[3] as usize;
    pool.take_report(&pool.members()[back].endpoint, None, millis(1_000));
    pass(&pool, millis(1_000), &mut rng);
    assert_eq!(wanted(&pool).len(), 1);
}

#[test]
fn one_that_reports_nothing_is_judged_from_here_and_asked_rarely() {
    let (pool, mut rng) = (prequal(2, &json!({})), generator());
    let silent = &pool.members()[1].endpoint;
    let mut asked = 0;
    let mut served = [0; 2];
    for step in 0..20_000 {
        let now = millis(step);
        served[pass(&pool, now, &mut rng)] += 1;
        for id in wanted(&pool) {
            if id == 0 {
                report(&pool, 0, 0, 50.0, now);
            } else {
                asked += 1;
                pool.take_report(silent, None, now);
            }
        }
        pool.teach(silent, 0.001, now);
    }
    assert!(silent.reporting.is_silent() && !pool.members()[0].endpoint.reporting.is_silent());
    assert_eq!(asked, 3 + 3, "three in a row, then every five seconds");
    assert!(served[1] > 15_000, "as idle as the other and faster: {served:?}");
}

#[test]
fn a_question_that_is_put_off_says_nothing_and_may_be_asked_again() {
    let (pool, mut rng) = (prequal(2, &json!({})), generator());
    let far = &pool.members()[1].endpoint;
    for step in 0..4 {
        pass(&pool, millis(step), &mut rng);
        let asked = wanted(&pool);
        assert!(asked.contains(&far.id()), "{asked:?}");
        pool.put_question_off(far);
    }
    assert!(!far.reporting.is_silent());
    assert_eq!(far.reporting.last(), None);
}
