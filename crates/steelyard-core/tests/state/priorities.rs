//! Levels over a live pool: failover, zones, spilling at thresholds, panic.

use crate::support::{Stand, admit, assert_follows, generator, millis, pool, pool_document, snapshot};
use serde_json::Value;
use std::sync::Arc;
use steelyard_core::policy::{NAMES, Phase, Policy, Rotation};
use steelyard_core::pool::{Outcome, Pick, Pool};
use steelyard_core::random::Generator;
use steelyard_core::seeker::Seeker;

/// A pool whose endpoints have these priorities.
fn with_priorities(policy: &str, priorities: &[u32], change: impl FnOnce(&mut Value)) -> Arc<Pool> {
    pool(policy, &vec![1; priorities.len()], |document| {
        for (index, &priority) in priorities.iter().enumerate() {
            document["endpoints"][index]["priority"] = priority.into();
        }
        change(document);
    })
}

fn take_down(pool: &Arc<Pool>, index: usize) {
    for _ in 0..3 {
        pool.learn(&pool.members()[index].endpoint, Outcome::Failure("reset"), None, millis(0));
    }
}

fn counts(pool: &Arc<Pool>, picks: usize) -> Vec<u64> {
    let mut rng = generator();
    let mut counts = vec![0; pool.members().len()];
    for _ in 0..picks {
        let Pick::Taken(index) = admit(pool, millis(1), &mut rng) else { panic!("one is eligible") };
        counts[index] += 1;
        pool.release(&pool.members()[index].endpoint, millis(1));
    }
    counts
}

fn loads(pool: &Pool) -> Vec<u8> {
    pool.levels().map(|(_, share)| share.load).collect()
}

#[test]
fn the_lower_priority_has_everything_while_it_is_well() {
    for name in NAMES {
        let pool = with_priorities(name, &[1, 0, 0, 1], |_| {});
        let counts = counts(&pool, 400);
        assert_eq!(counts[0] + counts[3], 0, "{name}");
        assert!(counts[1] > 100 && counts[2] > 100, "{name}: {counts:?}");
    }
}

#[test]
fn what_is_missing_goes_to_the_next_in_the_published_proportion() {
    let pool = with_priorities("random", &[0, 0, 0, 0, 1, 1], |_| {});
    take_down(&pool, 0);
    take_down(&pool, 1);
    assert_eq!(loads(&pool), [70, 30]);
    assert_follows(&counts(&pool, 100_000), &[0.0, 0.0, 0.35, 0.35, 0.15, 0.15]);
    take_down(&pool, 2);
    assert_eq!(loads(&pool), [35, 65]);
    take_down(&pool, 3);
    assert_eq!(loads(&pool), [0, 100]);
    pool.tick(millis(60_000));
    assert_eq!(loads(&pool), [100, 0], "and back");
}

#[test]
fn those_that_take_turns_are_exact_in_each_level() {
    for name in ["round_robin", "weighted"] {
        let pool = with_priorities(name, &[0, 0, 0, 0, 1, 1, 1], |_| {});
        take_down(&pool, 3);
        take_down(&pool, 0);
        let counts = counts(&pool, 3_000);
        assert!(counts[1].abs_diff(counts[2]) <= 1, "{name}: {counts:?}");
        assert!(
            counts[4].abs_diff(counts[5]) <= 1 && counts[5].abs_diff(counts[6]) <= 1,
            "{name}: {counts:?}"
        );
        assert!(counts[4] > 200, "{name}: {counts:?}");
    }
}

#[test]
fn draining_endpoints_are_no_loss() {
    let pool = with_priorities("random", &[0, 0, 0, 0, 1], |document| {
        for index in 0..3 {
            document["endpoints"][index]["drain"] = true.into();
        }
    });
    assert_eq!(loads(&pool), [100, 0]);
    let drained =
        with_priorities("random", &[0, 1], |document| document["endpoints"][0]["drain"] = true.into());
    assert_eq!(loads(&drained), [0, 100]);
}

#[test]
fn a_level_at_its_threshold_spills_before_anyone_waits() {
    let pool =
        with_priorities("least_request", &[0, 0, 1], |document| document["threshold"]["requests"] = 2.into());
    let mut rng = generator();
    let picks: Vec<Pick> = (0..7).map(|_| admit(&pool, millis(0), &mut rng)).collect();
    assert!(picks[..4].iter().all(|pick| matches!(pick, Pick::Taken(0 | 1))), "{picks:?}");
    assert_eq!(picks[4..], [Pick::Taken(2), Pick::Taken(2), Pick::Full]);
}

#[test]
fn a_retry_goes_to_the_next_level_where_all_of_the_first_were_tried() {
    let pool = with_priorities("random", &[0, 1], |_| {});
    let mut seeker = Seeker::default();
    seeker.exclude(&pool.members()[0].endpoint);
    assert!(pool.has_another(&pool.members()[0].endpoint, &Seeker::default(), millis(0)));
    assert_eq!(pool.admit(millis(0), &mut generator(), &seeker), Pick::Taken(1));
    seeker.exclude(&pool.members()[1].endpoint);
    assert_eq!(pool.admit(millis(0), &mut generator(), &seeker), Pick::Nobody);
}

#[test]
fn the_unknown_of_a_priority_are_used_while_it_has_none_healthy() {
    let pool =
        with_priorities("random", &[0, 0, 1], |document| document["health"]["interval_ms"] = 1_000.into());
    // The endpoint of the second level is the first to answer: that is no reason to leave the first one.
    pool.record_probe(&pool.members()[2].endpoint, true, "200".into(), millis(0));
    assert_eq!(loads(&pool), [100, 0]);
    pool.record_probe(&pool.members()[0].endpoint, true, "200".into(), millis(0));
    assert_eq!(counts(&pool, 50), [50, 0, 0]);
}

#[test]
fn a_key_stays_with_its_level() {
    let pool = with_priorities("random", &[0, 0, 1, 1], |_| {});
    take_down(&pool, 0);
    assert_eq!(loads(&pool), [70, 30]);
    let mut first_level = 0;
    for key in 0..1_000 {
        let mut rng = generator();
        let seeker = Seeker::of(Some(u64::wrapping_mul(key, 0x9e37_79b9_7f4a_7c15)));
        let mut level = |_| match pool.admit(millis(0), &mut rng, &seeker) {
            Pick::Taken(index) => pool.members()[index].priority,
            other => panic!("{other:?}"),
        };
        let seen: Vec<u32> = (0..5).map(&mut level).collect();
        assert!(seen.iter().all(|level| *level == seen[0]), "{seen:?}");
        first_level += u32::from(seen[0] == 0);
    }
    assert!((650..750).contains(&first_level), "{first_level}");
}

#[test]
fn the_idle_of_another_level_keep_their_turn() {
    let pool = with_priorities("join_idle_queue", &[0, 0, 1, 1], |_| {});
    take_down(&pool, 0);
    assert_eq!(loads(&pool), [70, 30]);
    let counts = counts(&pool, 1_000);
    assert!(counts[2].abs_diff(counts[3]) <= 1 && counts[2] > 100, "in turn, not by chance: {counts:?}");
}

#[test]
fn a_session_stays_whatever_its_level() {
    for drain in [false, true] {
        let pool =
            with_priorities("sticky", &[0, 1], |document| document["endpoints"][1]["drain"] = drain.into());
        let mut seeker = Seeker::default();
        seeker.session = Some(pool.members()[1].endpoint.name());
        for _ in 0..20 {
            assert_eq!(pool.admit(millis(0), &mut generator(), &seeker), Pick::Taken(1));
            assert_eq!(admit(&pool, millis(0), &mut generator()), Pick::Taken(0));
        }
        take_down(&pool, 1);
        assert_eq!(pool.admit(millis(0), &mut generator(), &seeker), Pick::Taken(0), "it is down");
    }
}

#[test]
fn a_session_is_judged_by_what_its_own_level_accepts() {
    let pool =
        with_priorities("sticky", &[0, 1], |document| document["health"]["interval_ms"] = 1_000.into());
    pool.record_probe(&pool.members()[0].endpoint, true, "200".into(), millis(0));
    let mut seeker = Seeker::default();
    seeker.session = Some(pool.members()[1].endpoint.name());
    assert_eq!(
        pool.admit(millis(0), &mut generator(), &seeker),
        Pick::Taken(1),
        "nobody is known better there"
    );
}

/// A pool of this process in zone `a`.
fn with_zones(zones: &[&str]) -> Arc<Pool> {
    let mut document = pool_document("random", &vec![1; zones.len()]);
    for (index, &zone) in zones.iter().enumerate() {
        document["endpoints"][index]["zone"] = if zone.is_empty() { Value::Null } else { zone.into() };
    }
    document["own_zone"] = "a".into();
    Arc::clone(&snapshot(&document, None).pools[0])
}

#[test]
fn the_own_zone_takes_everything_while_it_suffices() {
    let pool = with_zones(&["b", "a", "a", "a", "a", ""]);
    let before = counts(&pool, 200);
    assert_eq!(before[0] + before[5], 0, "{before:?}");
    take_down(&pool, 1);
    assert_eq!(loads(&pool), [100, 0], "three of four, times 1.4, are enough");
    take_down(&pool, 2);
    assert_eq!(loads(&pool), [70, 30]);
    assert_follows(&counts(&pool, 100_000), &[0.15, 0.0, 0.0, 0.35, 0.35, 0.15]);
}

#[test]
fn where_nobody_is_of_the_own_zone_there_is_one_level() {
    assert_eq!(loads(&with_zones(&["b", "c"])), [100]);
    assert_eq!(loads(&with_zones(&["a", "a"])), [100]);
}

#[test]
fn below_the_panic_threshold_all_that_do_not_drain_are_used() {
    for (fail_open, expected) in [(true, &[1.0, 1.0, 1.0, 0.0][..]), (false, &[0.0, 0.0, 1.0, 0.0][..])] {
        let pool = pool("random", &[1; 4], |document| {
            document["panic_threshold"] = 50.into();
            document["fail_open"] = fail_open.into();
            document["endpoints"][3]["drain"] = true.into();
        });
        take_down(&pool, 0);
        assert!(!pool.panics(), "two of three are enough");
        take_down(&pool, 1);
        assert_eq!((pool.panics(), pool.failing_open()), (fail_open, false));
        if fail_open {
            assert_follows(&counts(&pool, 30_000), &expected[..3]);
        } else {
            assert_eq!(counts(&pool, 100), [0, 0, 100, 0]);
        }
    }
}

#[test]
fn when_nobody_is_left_all_levels_are_used_for_their_size() {
    let pool = with_priorities("random", &[0, 1, 1, 1], |_| {});
    (0..4).for_each(|index| take_down(&pool, index));
    assert!(pool.failing_open());
    assert_eq!(loads(&pool), [25, 75]);
    let closed = with_priorities("random", &[0, 1], |document| document["fail_open"] = false.into());
    (0..2).for_each(|index| take_down(&closed, index));
    assert_eq!(admit(&closed, millis(0), &mut generator()), Pick::Nobody);
}

/// Every policy picks only from what is eligible to it, whoever else the rotation knows.
#[test]
fn a_policy_among_others_finds_the_only_one() {
    let mut stand = Stand::new(&[1; 12]);
    stand.eligible = (0..12).map(|index| index == 7).collect();
    let mut rng: Generator = generator();
    for name in NAMES {
        let mut weights = [0; 12];
        weights[7] = 1;
        let policy: Policy = crate::support::policy(name, &weights).among_others();
        let rotation = Rotation::new(Phase::Random, &mut rng);
        assert_eq!(stand.pick(&policy, &rotation, &mut rng), Some(7), "{name}");
    }
}
