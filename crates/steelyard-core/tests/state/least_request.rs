//! `least_request`: the cheapest of all in a small pool, the cheaper of two in a large one; failures never help.

use crate::support::{Stand, admit, assert_follows, counts, generator, millis, policy, pool};
use proptest::prelude::*;
use steelyard_core::load::{Decay, Stamp};
use steelyard_core::policy::{Phase, Policy, Rotation, SCAN_MAX};
use steelyard_core::pool::{Outcome, Pick, Pool};
use steelyard_core::random::Generator;

fn least_request(weights: &[u32]) -> Policy {
    policy("least_request", weights)
}

proptest! {
    #[test]
    fn a_small_pool_gives_the_cheapest_that_is_eligible(
        endpoints in proptest::collection::vec((0u8..4, any::<bool>()), 1..=SCAN_MAX),
    ) {
        let mut stand = Stand::new(&vec![1; endpoints.len()]);
        stand.costs = endpoints.iter().map(|(cost, _)| f32::from(*cost)).collect();
        stand.eligible = endpoints.iter().map(|(_, eligible)| *eligible).collect();
        let cheapest = endpoints.iter().filter(|(_, eligible)| *eligible).map(|(cost, _)| *cost).min();
        let policy = least_request(&stand.weights);
        let picked = stand.pick(&policy, &Rotation::new(Phase::Zero, &mut generator()), &mut generator());
        prop_assert_eq!(picked.map(|id| endpoints[id as usize].0), cheapest);
    }
}

#[test]
fn ties_are_broken_evenly() {
    let mut stand = Stand::new(&[1; 12]);
    let costs = [2u8, 1, 1, 3, 1, 1, 2, 1, 1, 1, 9, 1];
    stand.costs = costs.map(f32::from).to_vec();
    stand.eligible[7] = false;
    let shares: Vec<f64> =
        costs.iter().zip(&stand.eligible).map(|(cost, on)| f64::from(u8::from(*cost == 1 && *on))).collect();
    assert_follows(&counts(&stand, &least_request(&[1; 12]), &mut generator(), 200_000), &shares);
}

#[test]
fn ties_are_broken_evenly_over_more_endpoints_than_one_block_of_the_scan_holds() {
    // Few are eligible, so that the draws fail and the scan over several blocks decides.
    let size = SCAN_MAX * 3;
    let mut stand = Stand::new(&vec![1; size]);
    let few = [1, 2, SCAN_MAX + 5, SCAN_MAX * 2 + 7];
    stand.eligible = (0..size).map(|index| few.contains(&index)).collect();
    let shares: Vec<f64> = stand.eligible.iter().map(|&eligible| f64::from(u8::from(eligible))).collect();
    assert_follows(&counts(&stand, &least_request(&stand.weights), &mut generator(), 100_000), &shares);
}

#[test]
fn a_large_pool_compares_two_distinct_ones() {
    let size = SCAN_MAX + 36;
    let mut stand = Stand::new(&vec![1; size]);
    stand.costs = (0..size).map(|index| index as f32).collect();
    let counts = counts(&stand, &least_request(&stand.weights), &mut generator(), 500_000);
    // Of two distinct ones drawn evenly, the k-th cheapest wins against all that are dearer.
    let shares: Vec<f64> = (0..size).map(|index| (size - 1 - index) as f64).collect();
    assert_follows(&counts, &shares);
}

#[test]
fn a_large_pool_of_equal_costs_is_drawn_by_weight() {
    let weights: Vec<u32> = (0..100).map(|index| 1 + index % 2 * 3).collect();
    let counts = counts(&Stand::new(&weights), &least_request(&weights), &mut generator(), 500_000);
    let heavy: u64 = counts.iter().skip(1).step_by(2).sum();
    // Two by weight, then a tie: the heavy half takes about its 80 %, a little less as the two are distinct.
    let share = heavy as f64 / 500_000.0;
    assert!((0.785..0.805).contains(&share), "{share}");
}

fn take(pool: &Pool, rng: &mut Generator) -> usize {
    match admit(pool, millis(0), rng) {
        Pick::Taken(index) => index,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_spread_by_weight() {
    let pool = pool("least_request", &[1, 2, 3], |_| {});
    let mut rng = generator();
    for _ in 0..60 {
        take(&pool, &mut rng);
    }
    let in_flight: Vec<u32> = pool.members().iter().map(|member| member.endpoint.in_flight()).collect();
    assert_eq!(in_flight, [10, 20, 30]);
}

#[test]
fn an_endpoint_that_fails_fast_is_no_black_hole() {
    let pool = pool("least_request", &[1, 1, 1, 1], |_| {});
    let mut rng = generator();
    let mut to_the_broken = 0;
    for request in 0..1_000u64 {
        let now = millis(request);
        let Pick::Taken(index) = admit(&pool, now, &mut rng) else { panic!("nobody is out") };
        let endpoint = &pool.members()[index].endpoint;
        if index == 0 {
            to_the_broken += 1;
            // Two failures in a row and a success: it is never ejected, and always idle.
            let outcome = if to_the_broken % 3 == 0 { Outcome::Success } else { Outcome::Failure("reset") };
            pool.learn(endpoint, outcome, Some(millis(100).since(millis(0))), now);
            pool.release(endpoint, now);
        } else {
            // The others take a request each and keep it for ever: busier than the broken one at every moment.
            pool.learn(endpoint, Outcome::Success, Some(millis(100).since(millis(0))), now);
            if pool.members()[index].endpoint.in_flight() > 3 {
                pool.release(endpoint, now);
            }
        }
    }
    assert!(to_the_broken < 250, "{to_the_broken} of 1000 went to the one that fails");
}

#[test]
fn phantoms_make_dear_and_fade_and_are_no_requests() {
    let pool = pool("least_request", &[1, 1], |document| document["threshold"]["requests"] = 1.into());
    let [broken, good] = [0, 1].map(|index| &pool.members()[index].endpoint);
    let second = Some(millis(1_000).since(millis(0)));
    pool.learn(good, Outcome::Success, second, millis(0));
    pool.learn(broken, Outcome::Failure("reset"), Some(millis(1).since(millis(0))), millis(0));
    assert_eq!(broken.in_flight(), 0, "a phantom is not in flight");
    let mut rng = generator();
    let mut choice = |at: u64| match admit(&pool, millis(at), &mut rng) {
        Pick::Taken(index) => {
            pool.release(&pool.members()[index].endpoint, millis(at));
            index
        }
        other => panic!("{other:?}"),
    };
    assert!((0..20).all(|_| choice(1) == 1), "the one that failed is dearer");
    let burden = |at: u64| broken.burden(Stamp::of(millis(at)), || Decay::over(1.0));
    assert!((burden(1_000) - (-1.0f32).exp()).abs() < 1e-3, "it fades over the pool's success time");
    assert!(burden(20_000) <= 0.0, "it is gone in the end");
    assert!((0..40).any(|_| choice(20_000) == 0), "and forgotten");
    // Both full by the threshold of 1: phantoms did not count towards it.
    assert!(broken.take(pool.threshold(), millis(2)));
}
