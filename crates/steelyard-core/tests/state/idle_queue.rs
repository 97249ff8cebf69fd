//! `join_idle_queue`: no request goes to a busy endpoint while an idle one could have it.

use crate::support::{admit, assert_follows, generator, millis, pool, pool_document, snapshot};
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use steelyard_core::endpoint::Endpoint;
use steelyard_core::health::Verdict;
use steelyard_core::pool::{Outcome, Pick, Pool};
use steelyard_core::random::{Generator, below};
use steelyard_core::seeker::Seeker;
use steelyard_core::time::Nanos;

fn idle(weights: &[u32]) -> Arc<Pool> {
    pool("join_idle_queue", weights, |_| {})
}

fn take(pool: &Arc<Pool>, now: Nanos, rng: &mut Generator) -> usize {
    match admit(pool, now, rng) {
        Pick::Taken(index) => index,
        other => panic!("{other:?}"),
    }
}

fn endpoint(pool: &Pool, index: usize) -> &Arc<Endpoint> {
    &pool.members()[index].endpoint
}

/// Three failures in a row put an endpoint out for five seconds.
fn eject(pool: &Arc<Pool>, index: usize, now: Nanos) {
    for _ in 0..3 {
        pool.learn(endpoint(pool, index), Outcome::Failure("reset"), None, now);
    }
}

#[test]
fn who_has_been_idle_for_the_longest_is_next() {
    let (pool, mut rng) = (idle(&[1; 4]), generator());
    let taken: Vec<usize> = (0..4).map(|_| take(&pool, millis(0), &mut rng)).collect();
    for index in [2, 0, 3, 1] {
        pool.release(endpoint(&pool, index), millis(1));
    }
    let again: Vec<usize> = (0..4).map(|_| take(&pool, millis(2), &mut rng)).collect();
    assert_eq!(again, [2, 0, 3, 1], "as they fell idle, whatever the first order ({taken:?})");
}

#[test]
fn those_that_begin_together_begin_in_random_order() {
    let (pool, mut rng) = (idle(&[1; 10]), generator());
    let order: Vec<usize> = (0..10).map(|_| take(&pool, millis(0), &mut rng)).collect();
    assert!(!order.is_sorted(), "{order:?}");
    assert_eq!(order.iter().collect::<std::collections::BTreeSet<_>>().len(), 10, "{order:?}");
}

#[test]
fn where_all_are_busy_weights_decide() {
    let weights = [1, 2, 3, 0, 6];
    let (pool, mut rng) = (idle(&weights), generator());
    for _ in 0..4 {
        take(&pool, millis(0), &mut rng);
    }
    let mut counts = [0; 5];
    for _ in 0..100_000 {
        counts[take(&pool, millis(0), &mut rng)] += 1;
    }
    assert_follows(&counts, &weights.map(f64::from));
}

#[test]
fn a_retry_goes_elsewhere_and_leaves_the_token_where_it_was() {
    let (pool, mut rng) = (idle(&[1; 3]), generator());
    let first = take(&pool, millis(0), &mut rng);
    pool.release(endpoint(&pool, first), millis(0));
    for _ in 0..2 {
        take(&pool, millis(0), &mut rng);
    }
    // Only `first` is idle, and this request has been there.
    let mut seeker = Seeker::default();
    seeker.exclude(endpoint(&pool, first));
    assert!(matches!(pool.admit(millis(0), &mut rng, &seeker), Pick::Taken(index) if index != first));
    assert_eq!(take(&pool, millis(0), &mut rng), first);
}

#[test]
fn one_that_returns_from_an_ejection_is_not_starved() {
    let (pool, mut rng) = (idle(&[1; 3]), generator());
    eject(&pool, 1, millis(0));
    for _ in 0..10 {
        let index = take(&pool, millis(1), &mut rng);
        assert_ne!(index, 1);
        pool.release(endpoint(&pool, index), millis(1));
    }
    pool.tick(millis(6_000));
    let turns: Vec<usize> = (0..9)
        .map(|_| {
            let index = take(&pool, millis(6_000), &mut rng);
            pool.release(endpoint(&pool, index), millis(6_000));
            index
        })
        .collect();
    assert_eq!(turns.iter().filter(|&&index| index == 1).count(), 3, "{turns:?}");
}

#[test]
fn one_whose_byte_rate_has_fallen_is_not_starved() {
    let pool = pool("join_idle_queue", &[1; 2], |pool| pool["threshold"]["bytes_per_second"] = json!(1000));
    let mut rng = generator();
    endpoint(&pool, 0).count_bytes(1_000_000, millis(0));
    let mut used = |now| {
        let index = take(&pool, now, &mut rng);
        pool.release(endpoint(&pool, index), now);
        index
    };
    assert!((0..10).all(|_| used(millis(1)) == 1));
    pool.tick(millis(600_000));
    assert!((0..2).any(|_| used(millis(600_000)) == 0));
}

#[test]
fn an_endpoint_that_falls_idle_goes_to_the_oldest_waiter() {
    let pool = pool("join_idle_queue", &[1], |pool| pool["threshold"]["requests"] = json!(1));
    let mut rng = generator();
    let index = take(&pool, millis(0), &mut rng);
    let (bell, waker) = crate::support::Bell::waker();
    assert!(matches!(admit(&pool, millis(0), &mut rng), Pick::Full));
    pool.enqueue(millis(0), Seeker::default(), waker).unwrap();
    pool.release(endpoint(&pool, index), millis(1));
    assert_eq!(bell.rung(), 1);
    assert_eq!(endpoint(&pool, 0).in_flight(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Take,
    /// Another try of a request that has been at this one.
    Retry(usize),
    Release(usize),
    Eject(usize),
    Wait,
    Reload(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Take),
        2 => any::<usize>().prop_map(Step::Retry),
        7 => any::<usize>().prop_map(Step::Release),
        1 => any::<usize>().prop_map(Step::Eject),
        1 => Just(Step::Wait),
        1 => (1usize..8).prop_map(Step::Reload),
    ];
    proptest::collection::vec(step, 1..80)
}

/// Whether this endpoint may take a request, by the verdicts alone.
fn usable(pool: &Pool, index: usize) -> bool {
    let healthy = |index: usize| endpoint(pool, index).verdict() == Verdict::Healthy;
    healthy(index) || !(0..pool.members().len()).any(healthy)
}

proptest! {
    #[test]
    fn a_busy_one_is_never_taken_while_an_idle_one_could_be(size in 1usize..8, steps in steps()) {
        let mut in_force = snapshot(&pool_document("join_idle_queue", &vec![1; size]), None);
        let (mut rng, mut clock) = (generator(), 0);
        let mut held: Vec<Arc<Endpoint>> = Vec::new();
        for step in steps {
            clock += 1;
            let (now, pool) = (millis(clock), Arc::clone(&in_force.pools[0]));
            let count = pool.members().len();
            let mut seeker = Seeker::default();
            match step {
                Step::Take => {}
                Step::Retry(which) if count > 1 => seeker.exclude(endpoint(&pool, which % count)),
                Step::Release(which) if !held.is_empty() => {
                    pool.release(&held.swap_remove(which % held.len()), now);
                    continue;
                }
                Step::Eject(which) => {
                    eject(&pool, which % count, now);
                    continue;
                }
                Step::Wait => {
                    clock += 70_000;
                    pool.tick(millis(clock));
                    continue;
                }
                Step::Reload(size) => {
                    let document = pool_document("join_idle_queue", &vec![1; size]);
                    in_force = snapshot(&document, Some(&in_force));
                    continue;
                }
                Step::Retry(_) | Step::Release(_) => continue,
            }
            let idle: Vec<usize> = (0..count)
                .filter(|&index| usable(&pool, index) && !seeker.excludes(endpoint(&pool, index).id()))
                .filter(|&index| endpoint(&pool, index).in_flight() == 0)
                .collect();
            if let Pick::Taken(index) = pool.admit(now, &mut rng, &seeker) {
                prop_assert!(idle.is_empty() || idle.contains(&index), "{index} of the idle {idle:?}");
                held.push(Arc::clone(endpoint(&pool, index)));
            }
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "workers are threads")]
fn over_several_workers_nobody_shares_an_endpoint_while_there_is_one_for_each() {
    const WORKERS: usize = 4;
    const ROUNDS: usize = 20_000;
    // More endpoints than requests at once, so that one is always idle: with each taken by whoever holds its token, none
    // ever carries two.
    let pool = idle(&[1; 2 * WORKERS]);
    let most = AtomicUsize::new(0);
    let counts: [AtomicUsize; 2 * WORKERS] = Default::default();
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (pool, most, counts) = (&pool, &most, &counts);
            scope.spawn(move || {
                let mut rng = generator();
                for _ in 0..worker {
                    below(&mut rng, 2);
                }
                for _ in 0..ROUNDS {
                    let index = take(pool, millis(0), &mut rng);
                    most.fetch_max(endpoint(pool, index).in_flight() as usize, Ordering::Relaxed);
                    counts[index].fetch_add(1, Ordering::Relaxed);
                    pool.release(endpoint(pool, index), millis(0));
                }
            });
        }
    });
    assert_eq!(most.load(Ordering::Relaxed), 1, "{counts:?}");
    assert!(pool.members().iter().all(|member| member.endpoint.in_flight() == 0));
    let counts = counts.map(AtomicUsize::into_inner);
    assert_eq!(counts.iter().sum::<usize>(), WORKERS * ROUNDS);
    assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
    // No token was lost on the way.
    let mut rng = generator();
    let mut all: Vec<usize> = (0..2 * WORKERS).map(|_| take(&pool, millis(0), &mut rng)).collect();
    all.sort_unstable();
    assert_eq!(all, (0..2 * WORKERS).collect::<Vec<_>>());
}
