//! Policies that go by a key: who keeps its keys when another leaves, how even shares are, what bounds them.

use crate::support::{Stand, admit, assert_follows, generator, millis, policy, policy_of, pool};
use proptest::prelude::*;
use std::collections::HashSet;
use steelyard_core::document;
use steelyard_core::key::hash;
use steelyard_core::policy::{KEYED, Phase, Policy, Rotation};
use steelyard_core::pool::Pick;
use steelyard_core::random::Generator;
use steelyard_core::seeker::Seeker;

/// Those whose keys stay where they are when another endpoint leaves.
const CONSISTENT: [&str; 2] = ["ring_hash", "rendezvous"];

fn config(name: &str) -> document::Policy {
    document::Policy { name: name.into(), ..document::Policy::default() }
}

/// Where each of so many keys goes.
fn homes(stand: &Stand, policy: &Policy, keys: u64) -> Vec<Option<u32>> {
    let (rotation, mut rng) = (Rotation::new(Phase::Zero, &mut generator()), generator());
    let mut stand = stand.clone();
    (0..keys)
        .map(|key| {
            stand.key = Some(hash(&key.to_le_bytes()));
            stand.pick(policy, &rotation, &mut rng)
        })
        .collect()
}

/// Where keys go among endpoints of these ids and weights.
fn homes_among(name: &str, endpoints: &[(u32, u32)], keys: u64) -> Vec<Option<u32>> {
    let mut stand = Stand::new(&endpoints.iter().map(|&(_, weight)| weight).collect::<Vec<_>>());
    stand.ids = endpoints.iter().map(|&(id, _)| id).collect();
    homes(&stand, &policy_of(&config(name), endpoints.iter().copied()), keys)
}

fn counts(homes: &[Option<u32>], endpoints: usize) -> Vec<u64> {
    let mut counts = vec![0; endpoints];
    for home in homes {
        counts[home.expect("one is eligible") as usize] += 1;
    }
    counts
}

#[test]
fn a_key_goes_to_the_same_endpoint_every_time() {
    for name in KEYED {
        let (stand, policy) = (Stand::new(&[1; 10]), policy(name, &[1; 10]));
        assert_eq!(homes(&stand, &policy, 1_000), homes(&stand, &policy, 1_000), "{name}");
    }
}

#[test]
fn instances_that_list_the_endpoints_otherwise_agree_on_every_key() {
    let endpoints: Vec<(u32, u32)> = (0..20).map(|id| (id, id % 4 + 1)).collect();
    let mut shuffled = endpoints.clone();
    shuffled.reverse();
    shuffled.swap(3, 11);
    for name in KEYED {
        assert_eq!(homes_among(name, &endpoints, 5_000), homes_among(name, &shuffled, 5_000), "{name}");
    }
}

#[test]
fn shares_follow_weights() {
    let weights = [1, 2, 3, 4];
    let keys = 100_000;
    for name in KEYED {
        let counts = counts(&homes(&Stand::new(&weights), &policy(name, &weights), keys), 4);
        if name == "rendezvous" {
            assert_follows(&counts, &weights.map(f64::from));
        }
        for (&count, weight) in counts.iter().zip(weights) {
            let due = keys as f64 * f64::from(weight) / 10.0;
            // A ring's shares are off by about one in the square root of its points: 512 for the lightest.
            assert!((count as f64 / due - 1.0).abs() < 0.15, "{name}: {counts:?}");
        }
    }
}

#[test]
fn maglev_is_even_to_the_keys_own_chance() {
    let counts = counts(&homes(&Stand::new(&[1; 10]), &policy("maglev", &[1; 10]), 100_000), 10);
    assert_follows(&counts, &[1.0; 10]);
}

#[test]
fn requests_without_a_key_go_anywhere_in_proportion_to_weight() {
    let weights = [1, 2, 0, 7];
    for name in KEYED {
        let policy = policy(name, &weights);
        // Nothing stays in flight, so that no bound binds.
        let counts = crate::support::counts(&Stand::new(&weights), &policy, &mut generator(), 100_000);
        if name == "bounded_hash" {
            // With nothing in flight each may carry one.
            assert!(counts[2] == 0 && counts.iter().sum::<u64>() == 100_000);
        }
        assert_follows(&counts, &weights.map(f64::from));
    }
}

#[test]
fn one_that_is_out_loses_its_keys_and_gets_them_back() {
    let weights = [1; 10];
    for name in KEYED {
        let policy = policy(name, &weights);
        let mut stand = Stand::new(&weights);
        let before = homes(&stand, &policy, 5_000);
        stand.eligible[4] = false;
        let without = homes(&stand, &policy, 5_000);
        for (before, without) in before.iter().zip(&without) {
            assert!(*before == Some(4) || before == without, "{name}: only its own keys move");
            assert_ne!(*without, Some(4), "{name}");
        }
        let heirs: HashSet<_> = before
            .iter()
            .zip(&without)
            .filter(|(before, _)| **before == Some(4))
            .map(|(_, heir)| *heir)
            .collect();
        assert_eq!(heirs.len(), 9, "{name}: its keys are spread over all others");
        stand.eligible[4] = true;
        assert_eq!(homes(&stand, &policy, 5_000), before, "{name}");
    }
}

#[test]
fn a_retry_goes_elsewhere_and_always_to_the_same_place() {
    for name in KEYED {
        let pool = pool(name, &[1; 5], |_| {});
        for key in 0..200u64 {
            let tries = || {
                let (mut seeker, mut rng) = (Seeker::of(Some(hash(&key.to_le_bytes()))), generator());
                let mut order = Vec::new();
                while let Pick::Taken(index) = pool.admit(millis(0), &mut rng, &seeker) {
                    let endpoint = &pool.members()[index].endpoint;
                    order.push(index);
                    pool.release(endpoint, millis(0));
                    seeker.exclude(endpoint);
                }
                order
            };
            let order = tries();
            assert_eq!(order.iter().collect::<HashSet<_>>().len(), 5, "{name}: {order:?}");
            assert_eq!(order, tries(), "{name}");
        }
    }
}

#[test]
fn an_endpoint_at_its_threshold_hands_its_keys_on() {
    for name in KEYED {
        let pool = pool(name, &[1; 3], |pool| pool["threshold"]["requests"] = 2.into());
        let (seeker, mut rng) = (Seeker::of(Some(7)), generator());
        let mut taken = [0; 3];
        for _ in 0..6 {
            match pool.admit(millis(0), &mut rng, &seeker) {
                Pick::Taken(index) => taken[index] += 1,
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(taken, [2; 3], "{name}");
        assert_eq!(pool.admit(millis(0), &mut rng, &seeker), Pick::Full, "{name}");
    }
}

#[test]
fn one_busy_key_never_fills_an_endpoint_beyond_its_capacity() {
    for balance in [1.1, 1.25, 2.0] {
        let weights = [1, 2, 3, 4];
        let pool = pool("bounded_hash", &weights, |pool| pool["policy"]["balance"] = balance.into());
        let mut rng = generator();
        for carried in 0..500 {
            let seeker = Seeker::of(Some(7)); // everybody wants the same
            let Pick::Taken(index) = pool.admit(millis(0), &mut rng, &seeker) else { panic!("one has room") };
            let capacity = (balance * f64::from(carried + 1) * f64::from(weights[index]) / 10.0).ceil();
            let load = f64::from(pool.members()[index].endpoint.in_flight());
            assert!(load <= capacity, "{balance}: {load} of {capacity} with {carried} in flight");
        }
    }
}

#[test]
fn keys_go_home_where_the_bound_lets_them() {
    let weights = [1; 4];
    let homes_on_the_ring = homes(&Stand::new(&weights), &policy("ring_hash", &weights), 2_000);
    let mut stand = Stand::new(&weights);
    // Everyone carries the same, and a quarter more than that is to spare.
    stand.in_flight = vec![100; 4];
    assert_eq!(homes(&stand, &policy("bounded_hash", &weights), 2_000), homes_on_the_ring);
}

fn any_policy(names: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(names)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn only_the_keys_of_the_one_that_left_move(
        name in any_policy(&CONSISTENT),
        weights in proptest::collection::vec(1u32..5, 2..20),
        leaver: proptest::sample::Index,
    ) {
        let all: Vec<(u32, u32)> = (0..).zip(weights.iter().copied()).collect();
        let leaver = leaver.index(all.len()) as u32;
        let rest: Vec<(u32, u32)> = all.iter().copied().filter(|&(id, _)| id != leaver).collect();
        let (before, after) = (homes_among(name, &all, 500), homes_among(name, &rest, 500));
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(*before == Some(leaver) || before == after, "{:?} became {:?}", before, after);
        }
    }

    #[test]
    fn the_bound_holds_whatever_comes_and_goes(
        weights in proptest::collection::vec(1u32..6, 1..12),
        balance in 1.01f64..3.0,
        steps in proptest::collection::vec((any::<u16>(), 0u8..3), 1..200),
    ) {
        let config = document::Policy { balance: Some(balance), ..config("bounded_hash") };
        let policy = policy_of(&config, (0..).zip(weights.iter().copied()));
        let (mut stand, rotation) = (Stand::new(&weights), Rotation::new(Phase::Zero, &mut generator()));
        let mut rng: Generator = generator();
        let whole: u32 = weights.iter().sum();
        let thousandths = (balance * 1e3).round();
        for (number, kind) in steps {
            if kind == 0 {
                let index = usize::from(number) % weights.len();
                stand.in_flight[index] = stand.in_flight[index].saturating_sub(1);
                continue;
            }
            // Few keys, or none, so that they press on the same endpoints.
            stand.key = (kind == 1).then(|| hash(&[(number % 3) as u8]));
            let carried: u32 = stand.in_flight.iter().sum();
            let index = stand.pick(&policy, &rotation, &mut rng).expect("one has room") as usize;
            stand.in_flight[index] += 1;
            let due = thousandths * f64::from(carried + 1) * f64::from(weights[index]);
            let capacity = (due / (1e3 * f64::from(whole)) - 1e-9).ceil();
            prop_assert!(f64::from(stand.in_flight[index]) <= capacity, "{:?} of {capacity}", stand.in_flight);
        }
    }

    #[test]
    fn whoever_is_eligible_is_found(
        name in any_policy(&KEYED),
        eligible in proptest::collection::vec(any::<bool>(), 1..150),
        key: u64,
    ) {
        let weights = vec![1; eligible.len()];
        let policy = policy(name, &weights);
        let mut stand = Stand::new(&weights);
        stand.eligible.clone_from(&eligible);
        stand.key = Some(key);
        let rotation = Rotation::new(Phase::Zero, &mut generator());
        let found = stand.pick(&policy, &rotation, &mut generator());
        prop_assert_eq!(found.is_some(), eligible.contains(&true));
    }
}

#[test]
fn a_request_without_a_key_is_admitted_by_every_policy_that_wants_one() {
    for name in KEYED {
        let pool = pool(name, &[1; 3], |_| {});
        assert!(matches!(admit(&pool, millis(0), &mut generator()), Pick::Taken(_)), "{name}");
    }
}
