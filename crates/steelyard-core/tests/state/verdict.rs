//! The verdict against a model that keeps the whole history and derives everything from it anew.

use crate::support::{admit, generator, millis, pool, pool_document, snapshot};
use proptest::prelude::*;
use std::sync::Arc;
use steelyard_core::health::{Health, Rules, Verdict};
use steelyard_core::pool::{Outcome, Pick, Pool};
use steelyard_core::time::Nanos;

#[derive(Debug, Clone, Copy)]
enum Event {
    Probe(bool),
    Eject,
    Wait(u64),
    Drain(bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => any::<bool>().prop_map(Event::Probe),
        2 => Just(Event::Eject),
        2 => (1u64..70).prop_map(Event::Wait),
        1 => any::<bool>().prop_map(Event::Drain),
    ];
    proptest::collection::vec(event, 0..60)
}

/// Everything that happened, in order, with the second that it happened in.
#[derive(Default)]
struct History(Vec<(u64, Event)>);

impl History {
    fn now(&self) -> u64 {
        self.0.last().map_or(0, |(at, _)| *at)
    }

    /// The first probe decides; later on a run of `rise` or `fall` that all say the other thing.
    fn probed(&self, rules: Rules) -> Option<bool> {
        let probes: Vec<bool> = self
            .0
            .iter()
            .filter_map(|(_, event)| if let Event::Probe(good) = event { Some(*good) } else { None })
            .collect();
        let mut state = *probes.first()?;
        let mut since = 1;
        for end in 1..=probes.len() {
            let needed = if state { rules.fall } else { rules.rise } as usize;
            let run = &probes[since..end.max(since)];
            if run.len() >= needed && run[run.len() - needed..].iter().all(|&good| good != state) {
                state = !state;
                since = end;
            }
        }
        Some(state)
    }

    /// When the ejection that is on ends.
    fn ejected_until(&self) -> Option<u64> {
        let mut until: Option<u64> = None;
        let mut length = 5;
        for &(at, event) in &self.0 {
            if until.is_some_and(|until| until + 60 <= at) {
                length = 5;
            }
            if matches!(event, Event::Eject) && until.is_none_or(|until| until <= at) {
                until = Some(at + length);
                length = (length * 2).min(60);
            }
        }
        until.filter(|until| *until > self.now())
    }

    fn draining(&self) -> bool {
        let last = self.0.iter().rev().find_map(|(_, event)| match event {
            Event::Drain(draining) => Some(*draining),
            _ => None,
        });
        last.unwrap_or(false)
    }

    fn verdict(&self, rules: Rules) -> Verdict {
        if self.draining() {
            return Verdict::Draining;
        }
        match (self.ejected_until(), self.probed(rules)) {
            (Some(_), _) | (None, Some(false)) => Verdict::Down,
            (None, None) => Verdict::Unknown,
            (None, Some(true)) => Verdict::Healthy,
        }
    }
}

fn seconds(seconds: u64) -> Nanos {
    millis(seconds * 1_000)
}

proptest! {
    #[test]
    fn the_verdict_is_that_of_the_model(events in events(), rise in 1u32..4, fall in 1u32..4) {
        let rules = Rules { rise, fall };
        let mut health = Health::new(true);
        let mut history = History(vec![(1_000, Event::Drain(false))]);
        for event in events {
            // The control thread looks every second or oftener, so a return is seen in the second it is due.
            let wait = if let Event::Wait(wait) = event { wait } else { 0 };
            let start = history.now();
            for second in start..=start + wait {
                health.end_ejection(seconds(second));
            }
            history.0.push((start + wait, event));
            match event {
                Event::Probe(good) => health.record_probe(good, String::new(), rules),
                Event::Eject => {
                    health.eject("failures", seconds(history.now()));
                }
                Event::Drain(draining) => health.set_draining(draining),
                Event::Wait(_) => {}
            }
            prop_assert_eq!(health.verdict(), history.verdict(rules), "{:?}", history.0);
        }
    }
}

#[test]
fn three_failures_in_a_row_eject_and_time_brings_back() {
    let pool = pool("round_robin", &[1, 1], |_| {});
    let endpoint = &pool.members()[0].endpoint;
    let fail = |at: u64| pool.learn(endpoint, Outcome::Failure("reset"), None, millis(at));
    fail(0);
    fail(1);
    pool.learn(endpoint, Outcome::Success, None, millis(2));
    fail(3);
    fail(4);
    assert_eq!(endpoint.verdict(), Verdict::Healthy, "a success between them starts the count anew");
    fail(5);
    assert_eq!(endpoint.verdict(), Verdict::Down);
    let mut rng = generator();
    for _ in 0..4 {
        assert_eq!(admit(&pool, millis(6), &mut rng), Pick::Taken(1));
    }
    assert!(pool.tick(millis(5_004)).is_empty());
    assert_eq!(pool.tick(millis(5_005)).len(), 1);
    assert_eq!(endpoint.verdict(), Verdict::Healthy);
}

#[test]
fn when_none_is_usable_the_bad_are_used_and_the_draining_never() {
    for fail_open in [true, false] {
        let pool = pool("round_robin", &[1, 1], |document| {
            document["fail_open"] = fail_open.into();
            document["endpoints"][1]["drain"] = true.into();
        });
        let mut rng = generator();
        assert_eq!(admit(&pool, millis(0), &mut rng), Pick::Taken(0));
        for _ in 0..3 {
            pool.learn(&pool.members()[0].endpoint, Outcome::Failure("reset"), None, millis(0));
        }
        let expected = if fail_open { Pick::Taken(0) } else { Pick::Nobody };
        for _ in 0..4 {
            assert_eq!(admit(&pool, millis(0), &mut rng), expected);
        }
        assert_eq!(pool.failing_open(), fail_open);
    }
}

#[test]
fn those_who_have_an_endpoint_leave_it_only_for_a_better_one() {
    let both = pool("round_robin", &[1, 1], |_| {});
    let [one, two] = [0, 1].map(|index| Arc::clone(&both.members()[index].endpoint));
    let now = millis(0);
    assert!(!both.has_given_up(&one));
    fail(&both, 3, now);
    assert!(both.has_given_up(&one) && !both.has_given_up(&two), "another is well");
    for _ in 0..3 {
        both.learn(&two, Outcome::Failure("reset"), None, now);
    }
    assert!(one.is_down() && two.is_down());
    assert!(!both.has_given_up(&one) && !both.has_given_up(&two), "the pool fails open");
    let closed = pool("round_robin", &[1], |document| document["fail_open"] = false.into());
    fail(&closed, 3, now);
    assert!(closed.has_given_up(&closed.members()[0].endpoint), "nobody is used");
    let drained = pool("round_robin", &[1, 1], |document| document["endpoints"][0]["drain"] = true.into());
    assert!(!drained.has_given_up(&drained.members()[0].endpoint), "it keeps what it has");
}

#[test]
fn the_unknown_are_used_only_while_none_is_healthy() {
    let pool = pool("round_robin", &[1, 1, 1], |document| document["health"]["interval_ms"] = 1_000.into());
    let mut rng = generator();
    let mut chosen = |count: usize| -> std::collections::BTreeSet<usize> {
        (0..count)
            .map(|_| match admit(&pool, millis(0), &mut rng) {
                Pick::Taken(index) => index,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    assert_eq!(chosen(6).len(), 3, "nobody has been probed");
    assert!(pool.record_probe(&pool.members()[0].endpoint, false, "refused".into(), millis(1)));
    assert_eq!(chosen(6), [1, 2].into(), "a bad answer decides");
    assert!(pool.record_probe(&pool.members()[1].endpoint, true, "200".into(), millis(1)));
    assert_eq!(chosen(6), [1].into(), "a good one is preferred to the unknown");
    pool.record_probe(&pool.members()[2].endpoint, true, "200".into(), millis(1));
    assert_eq!(chosen(6), [1, 2].into());
}

#[test]
fn a_request_on_an_older_snapshot_does_not_decide_for_newer_ones() {
    let mut rng = generator();
    let older = snapshot(&pool_document("random", &[1]), None);
    let down = older.pools[0].members()[0].endpoint.clone();
    for _ in 0..3 {
        older.pools[0].learn(&down, Outcome::Failure("reset"), None, millis(1));
    }
    let newer = snapshot(&pool_document("random", &[1, 1]), Some(&older));
    assert_eq!(admit(&older.pools[0], millis(3), &mut rng), Pick::Taken(0), "failing open");
    older.pools[0].refresh();
    for _ in 0..20 {
        assert_eq!(admit(&newer.pools[0], millis(4), &mut rng), Pick::Taken(1));
    }
}

/// Fails as often at this moment as one burst of requests does.
fn fail(pool: &Arc<Pool>, times: usize, now: Nanos) {
    for _ in 0..times {
        pool.learn(&pool.members()[0].endpoint, Outcome::Failure("reset"), None, now);
    }
}

#[test]
fn failures_of_an_ejected_endpoint_do_not_shorten_its_next_chance() {
    // In a pool of one it fails open: requests go on failing while it is ejected.
    let pool = pool("round_robin", &[1], |_| {});
    let endpoint = &pool.members()[0].endpoint;
    fail(&pool, 10, millis(0));
    assert_eq!(pool.tick(millis(5_000)).len(), 1);
    fail(&pool, 2, millis(5_001));
    assert_eq!(endpoint.verdict(), Verdict::Healthy, "it takes three anew");
    fail(&pool, 1, millis(5_002));
    assert_eq!(endpoint.verdict(), Verdict::Down);
}

#[test]
fn nothing_fails_open_where_nobody_is_known_to_be_bad() {
    for change in [("drain", true.into()), ("weight", 0.into())] {
        let pool = pool("random", &[1, 1], |document| {
            for endpoint in document["endpoints"].as_array_mut().unwrap() {
                endpoint[change.0] = serde_json::Value::clone(&change.1);
            }
        });
        assert_eq!(admit(&pool, millis(0), &mut generator()), Pick::Nobody);
        assert!(!pool.failing_open(), "{}", change.0);
    }
}

#[test]
fn an_ejection_ends_while_its_endpoint_drains() {
    let drained = |drain: bool| {
        let mut document = pool_document("random", &[1]);
        document["endpoints"][0]["drain"] = drain.into();
        document
    };
    let before = snapshot(&drained(false), None);
    fail(&before.pools[0], 3, millis(0));
    let draining = snapshot(&drained(true), Some(&before));
    assert_eq!(draining.pools[0].tick(millis(5_000)).len(), 1);
    let after = snapshot(&drained(false), Some(&draining));
    let endpoint = &after.pools[0].members()[0].endpoint;
    assert_eq!(endpoint.verdict(), Verdict::Healthy);
    // A minute in since the end of the first, so the next is short again.
    fail(&after.pools[0], 3, millis(65_000));
    assert_eq!(after.pools[0].tick(millis(70_000)).len(), 1);
}

#[test]
fn an_endpoint_that_was_away_while_probes_were_switched_off_comes_back_unjudged() {
    let probed = |interval_ms: Option<u64>, endpoints: &[u32]| {
        let mut document = pool_document("random", endpoints);
        document["health"]["interval_ms"] = interval_ms.into();
        document
    };
    let first = snapshot(&probed(Some(1_000), &[1, 1]), None);
    // Somebody's tunnel keeps it alive.
    let kept = first.pools[0].members()[1].endpoint.clone();
    for _ in 0..3 {
        first.pools[0].record_probe(&kept, false, "refused".into(), millis(1));
    }
    assert_eq!(kept.verdict(), Verdict::Down);
    let without = snapshot(&probed(Some(1_000), &[1]), Some(&first));
    let off = snapshot(&probed(None, &[1]), Some(&without));
    let back = snapshot(&probed(None, &[1, 1]), Some(&off));
    assert!(Arc::ptr_eq(&back.pools[0].members()[1].endpoint, &kept));
    assert_eq!(kept.verdict(), Verdict::Healthy);
    let on = snapshot(&probed(Some(1_000), &[1, 1]), Some(&back));
    assert_eq!(on.pools[0].members()[1].endpoint.verdict(), Verdict::Unknown);
}
