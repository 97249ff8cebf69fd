//! The three loads at which an endpoint leaves the rotation, and how it comes back.

use crate::support::{admit, generator, millis, pool};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use steelyard_core::endpoint::{Endpoint, Over};
use steelyard_core::policy::NAMES;
use steelyard_core::pool::{Outcome, Pick, Pool};
use steelyard_core::time::Nanos;

#[test]
#[expect(clippy::disallowed_methods, reason = "workers are threads")]
fn no_slot_is_taken_above_the_threshold_by_any_number_of_workers() {
    for policy in NAMES {
        let pool = pool(policy, &[1, 1, 1], |document| document["threshold"]["requests"] = 2.into());
        // Counted here as well, so that the endpoint's own count is not its own witness.
        let held: [AtomicU32; 3] = Default::default();
        let taken = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut rng = generator();
                    for _ in 0..3_000 {
                        let Pick::Taken(index) = admit(&pool, millis(0), &mut rng) else { continue };
                        let now_held = held[index].fetch_add(1, Ordering::SeqCst) + 1;
                        assert!(now_held <= 2, "{policy}: {now_held} at once");
                        taken.fetch_add(1, Ordering::Relaxed);
                        held[index].fetch_sub(1, Ordering::SeqCst);
                        pool.release(&pool.members()[index].endpoint, millis(0));
                    }
                });
            }
        });
        assert!(taken.load(Ordering::Relaxed) > 3_000, "{policy}");
        assert!(pool.members().iter().all(|member| member.endpoint.in_flight() == 0), "{policy}");
    }
}

#[test]
fn full_is_said_when_every_slot_is_taken_and_nobody_when_none_could_be() {
    for policy in NAMES {
        let pool = pool(policy, &[1, 0, 1], |document| document["threshold"]["requests"] = 1.into());
        let mut rng = generator();
        assert!(matches!(admit(&pool, millis(0), &mut rng), Pick::Taken(0 | 2)), "{policy}");
        assert!(matches!(admit(&pool, millis(0), &mut rng), Pick::Taken(0 | 2)), "{policy}");
        assert_eq!(admit(&pool, millis(0), &mut rng), Pick::Full, "{policy}");
        assert_eq!(pool.members()[0].endpoint.over(pool.threshold(), millis(0)), Some(Over::Requests));
    }
    let weightless = pool("least_request", &[0, 0], |_| {});
    assert_eq!(admit(&weightless, millis(0), &mut generator()), Pick::Nobody);
}

/// A pool of one whose latency threshold is half a second.
fn slow() -> (Arc<Pool>, Arc<Endpoint>) {
    let pool = pool("least_request", &[1], |document| document["threshold"]["latency_ms"] = 500.into());
    let endpoint = Arc::clone(&pool.members()[0].endpoint);
    (pool, endpoint)
}

fn learn(pool: &Arc<Pool>, endpoint: &Endpoint, lasted_ms: u64, at_ms: u64) {
    let lasted = millis(lasted_ms).since(millis(0));
    pool.learn(endpoint, Outcome::Success, Some(lasted), millis(at_ms));
}

#[test]
fn an_endpoint_out_for_latency_is_tried_with_one_request_at_a_time_and_one_a_second() {
    let (pool, endpoint) = slow();
    let mut rng = generator();
    learn(&pool, &endpoint, 600, 0);
    assert_eq!(endpoint.over(pool.threshold(), millis(0)), Some(Over::Latency));
    assert_eq!(admit(&pool, millis(1), &mut rng), Pick::Taken(0), "the first trial is due at once");
    assert_eq!(admit(&pool, millis(2_000), &mut rng), Pick::Full, "one at a time");
    pool.release(&endpoint, millis(2_000));
    assert_eq!(admit(&pool, millis(2_000), &mut rng), Pick::Taken(0));
    pool.release(&endpoint, millis(2_001));
    assert_eq!(admit(&pool, millis(2_999), &mut rng), Pick::Full, "one a second");
    assert_eq!(admit(&pool, millis(3_000), &mut rng), Pick::Taken(0));
}

#[test]
fn a_trial_waits_for_no_response_that_has_begun() {
    let (pool, endpoint) = slow();
    let mut rng = generator();
    assert_eq!(admit(&pool, millis(0), &mut rng), Pick::Taken(0), "a tunnel, say, that lives for hours");
    learn(&pool, &endpoint, 600, 0);
    assert_eq!(admit(&pool, millis(1_500), &mut rng), Pick::Full, "its time is not known yet");
    endpoint.response_begins();
    assert_eq!(admit(&pool, millis(1_500), &mut rng), Pick::Taken(0));
    assert_eq!(admit(&pool, millis(3_000), &mut rng), Pick::Full, "one at a time");
    endpoint.response_ends();
    pool.release(&endpoint, millis(3_000));
    assert_eq!(admit(&pool, millis(3_000), &mut rng), Pick::Full, "the trial is still under way");
    pool.release(&endpoint, millis(3_000));
    assert_eq!(admit(&pool, millis(3_000), &mut rng), Pick::Taken(0));
}

#[test]
fn latency_lets_go_at_the_threshold_and_takes_back_below_four_fifths_of_it() {
    let (pool, endpoint) = slow();
    let over = || endpoint.over(pool.threshold(), millis(0)).is_some();
    learn(&pool, &endpoint, 500, 0);
    assert!(!over(), "at the threshold it is not above it");
    learn(&pool, &endpoint, 600, 10_000);
    assert!(over());
    // 10 s later a sample has a weight of 1 - 1/e: 563 -> 450, which is below 500 and above 400.
    learn(&pool, &endpoint, 384, 20_000);
    let smoothed = endpoint.smoothed_s().unwrap();
    assert!((0.4..0.5).contains(&smoothed), "{smoothed}");
    assert!(over(), "not yet below four fifths");
    learn(&pool, &endpoint, 300, 30_000);
    assert!(endpoint.smoothed_s().unwrap() < 0.4);
    assert!(!over());
}

#[test]
fn bytes_let_go_at_the_threshold_and_take_back_below_four_fifths_of_it() {
    let pool = pool("random", &[1], |document| document["threshold"]["bytes_per_second"] = 1_000.into());
    let endpoint = &pool.members()[0].endpoint;
    let over = |at: u64| endpoint.over(pool.threshold(), millis(at)).is_some();
    endpoint.count_bytes(999, millis(0));
    assert!(!over(0));
    endpoint.count_bytes(1, millis(0));
    assert!(over(0));
    assert_eq!(endpoint.over(pool.threshold(), millis(0)), Some(Over::BytesPerSecond));
    // The rate decays with a time constant of a second: exp(-0.2) is 0.82, exp(-0.25) is 0.78.
    assert!(over(200));
    assert_eq!(admit(&pool, millis(200), &mut generator()), Pick::Full);
    assert!(!over(250));
    assert_eq!(admit(&pool, millis(250), &mut generator()), Pick::Taken(0));
}

#[test]
fn a_raised_threshold_is_believed_at_once() {
    let (_, endpoint) = slow();
    let threshold = |latency_s: f32| steelyard_core::endpoint::Threshold {
        latency_s,
        ..steelyard_core::endpoint::Threshold::OFF
    };
    endpoint.teach(0.6, &threshold(0.5), Nanos(1));
    assert!(endpoint.over(&threshold(0.5), Nanos(1)).is_some());
    endpoint.weigh_latency(&threshold(1.0));
    assert!(endpoint.over(&threshold(1.0), Nanos(1)).is_none());
}
