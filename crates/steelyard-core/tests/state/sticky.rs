//! Sessions: what keeps a request at its endpoint, and what sends it elsewhere.

use crate::support::{Bell, admit, generator, millis, pool, pool_document, snapshot};
use serde_json::json;
use std::sync::Arc;
use steelyard_core::document;
use steelyard_core::policy::{Phase, Rotation};
use steelyard_core::pool::{Outcome, Pick, Pool};
use steelyard_core::queue::Grant;
use steelyard_core::seeker::Seeker;

/// A request whose session is with the endpoint at this index.
fn of_session(pool: &Pool, index: usize) -> Seeker {
    let mut seeker = Seeker::default();
    seeker.session = Some(pool.members()[index].endpoint.name());
    seeker
}

/// A sticky pool in which the endpoint at this index is drained.
fn draining(weights: &[u32], index: usize, requests: Option<u32>) -> Arc<Pool> {
    pool("sticky", weights, |pool| {
        pool["endpoints"][index]["drain"] = true.into();
        pool["threshold"]["requests"] = json!(requests);
    })
}

/// Where requests with this in hand go; none of them ends.
fn spread(pool: &Arc<Pool>, seeker: &Seeker, count: usize) -> Vec<usize> {
    let mut rng = generator();
    let mut taken = vec![0; pool.members().len()];
    for _ in 0..count {
        match pool.admit(millis(0), &mut rng, seeker) {
            Pick::Taken(index) => taken[index] += 1,
            other => panic!("{other:?}"),
        }
    }
    taken
}

#[test]
fn a_session_stays_however_much_is_in_flight_there() {
    let pool = pool("sticky", &[1; 3], |_| {});
    assert_eq!(spread(&pool, &of_session(&pool, 1), 50), [0, 50, 0]);
    assert_eq!(spread(&pool, &Seeker::default(), 100), [50, 0, 50], "new ones go where there is least");
}

#[test]
fn a_session_moves_only_when_its_endpoint_is_full_and_for_that_request() {
    let pool = pool("sticky", &[1; 2], |pool| pool["threshold"]["requests"] = 2.into());
    let seeker = of_session(&pool, 0);
    assert_eq!(spread(&pool, &seeker, 3), [2, 1]);
    pool.release(&pool.members()[0].endpoint, millis(0));
    assert_eq!(spread(&pool, &seeker, 1), [1, 0]);
}

#[test]
fn one_that_is_drained_or_weighs_nothing_takes_its_own_sessions_alone() {
    let weightless = pool("sticky", &[0, 1], |_| {});
    for pool in [draining(&[1; 2], 0, None), weightless] {
        assert_eq!(spread(&pool, &of_session(&pool, 0), 20), [20, 0]);
        assert_eq!(spread(&pool, &Seeker::default(), 20), [0, 20]);
    }
}

#[test]
fn one_that_fails_loses_its_sessions_drained_or_not() {
    for pool in [draining(&[1; 2], 0, None), pool("sticky", &[1; 2], |_| {})] {
        let failing = Arc::clone(&pool.members()[0].endpoint);
        for _ in 0..3 {
            pool.learn(&failing, Outcome::Failure("reset"), None, millis(0));
        }
        assert_eq!(spread(&pool, &of_session(&pool, 0), 5), [0, 5]);
        // Ejections end for one that is drained as well.
        pool.tick(millis(6_000));
        assert_eq!(spread(&pool, &of_session(&pool, 0), 5), [5, 0]);
    }
}

#[test]
fn a_retry_leaves_the_session_s_endpoint() {
    let pool = pool("sticky", &[1; 2], |_| {});
    let mut seeker = of_session(&pool, 0);
    seeker.exclude(&pool.members()[0].endpoint);
    assert_eq!(spread(&pool, &seeker, 5), [0, 5]);
}

#[test]
fn a_session_with_one_that_left_is_none() {
    let mut document = pool_document("sticky", &[1; 3]);
    let first = snapshot(&document, None);
    let seeker = of_session(&first.pools[0], 0);
    document["endpoints"].as_array_mut().unwrap().remove(0);
    let second = snapshot(&document, Some(&first));
    assert_eq!(spread(&second.pools[0], &seeker, 10), [5, 5]);
}

#[test]
fn the_cookie_is_set_where_the_client_has_it_not() {
    let pool = pool("sticky", &[1; 2], |_| {});
    let endpoint = &pool.members()[0].endpoint;
    assert!(!pool.set_cookie(&Seeker::default(), endpoint, false).is_empty());
    assert!(!pool.set_cookie(&of_session(&pool, 1), endpoint, false).is_empty());
    assert!(pool.set_cookie(&of_session(&pool, 0), endpoint, false).is_empty());
    let other = crate::support::pool("random", &[1], |_| {});
    assert!(other.set_cookie(&Seeker::default(), &other.members()[0].endpoint, false).is_empty());
}

#[test]
fn who_waits_for_a_drained_endpoint_is_not_held_up_by_who_waits_for_the_others() {
    let pool = draining(&[1; 2], 0, Some(1));
    let (mut rng, own) = (generator(), of_session(&pool, 0));
    assert_eq!(admit(&pool, millis(0), &mut rng), Pick::Taken(1));
    let (_, first_waker) = Bell::waker();
    let first = pool.enqueue(millis(0), Seeker::default(), first_waker.clone()).unwrap();
    // The drained one is idle, and gives its slot to its own session behind the other in the queue.
    let (bell, waker) = Bell::waker();
    let second = pool.enqueue(millis(0), own.clone(), waker.clone()).unwrap();
    assert_eq!(bell.rung(), 1);
    match pool.claim(second, &waker) {
        Some(Grant::Slot(endpoint)) => assert_eq!(endpoint.id(), pool.members()[0].endpoint.id()),
        other => panic!("{other:?}"),
    }
    assert!(pool.claim(first, &first_waker).is_none());
    // With both full, the session waits, and is not told that nobody could ever serve it.
    assert_eq!(pool.pick(millis(0), &mut rng, &own), Pick::Full);
    let third = pool.enqueue(millis(0), own, waker.clone()).unwrap();
    pool.release(&pool.members()[0].endpoint, millis(0));
    assert!(matches!(pool.claim(third, &waker), Some(Grant::Slot(_))));
    pool.leave(first, millis(0));
}

#[test]
fn a_session_is_kept_by_the_policy_alone() {
    let config = document::Policy { name: "sticky".into(), ..document::Policy::default() };
    let policy = crate::support::policy_of(&config, [(0, 1), (1, 1)]);
    let mut stand = crate::support::Stand::new(&[1; 2]);
    stand.costs = vec![9.0, 1.0];
    stand.session = Some(0);
    let (rotation, mut rng) = (Rotation::new(Phase::Zero, &mut generator()), generator());
    assert_eq!(stand.pick(&policy, &rotation, &mut rng), Some(0));
    stand.eligible[0] = false;
    assert_eq!(stand.pick(&policy, &rotation, &mut rng), Some(1));
}
