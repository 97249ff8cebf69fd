//! `random` and `weighted_random`: chi-square at a million draws.

use crate::support::{Stand, assert_follows, counts, generator, policy};
use steelyard_core::policy::{Phase, Rotation};

const DRAWS: usize = 1_000_000;

#[test]
fn random_takes_each_with_equal_probability_whatever_its_weight() {
    let weights = [1, 5, 1, 1, 9, 1, 1, 1, 1, 2];
    let policy = policy("random", &weights);
    assert_follows(&counts(&Stand::new(&weights), &policy, &mut generator(), DRAWS), &[1.0; 10]);
}

#[test]
fn weighted_random_takes_each_in_proportion_to_its_weight() {
    let weights = [1, 2, 3, 0, 50, 7, 1, 1, 900, 11];
    let policy = policy("weighted_random", &weights);
    let shares = weights.map(f64::from);
    assert_follows(&counts(&Stand::new(&weights), &policy, &mut generator(), DRAWS), &shares);
}

#[test]
fn those_that_are_out_leave_their_share_to_the_others_in_proportion() {
    let weights = [1, 2, 3, 4, 5, 6];
    let mut stand = Stand::new(&weights);
    stand.eligible[1] = false;
    stand.eligible[4] = false;
    let mut rng = generator();
    let uniform = counts(&stand, &policy("random", &weights), &mut rng, DRAWS);
    assert_follows(&uniform, &[1.0, 0.0, 1.0, 1.0, 0.0, 1.0]);
    let weighted = counts(&stand, &policy("weighted_random", &weights), &mut rng, DRAWS);
    assert_follows(&weighted, &[1.0, 0.0, 3.0, 4.0, 0.0, 6.0]);
}

#[test]
fn the_last_one_left_is_found_among_many() {
    let weights = vec![1; 200];
    let mut stand = Stand::new(&weights);
    stand.eligible = vec![false; 200];
    stand.eligible[137] = true;
    let (rotation, mut rng) = (Rotation::new(Phase::Zero, &mut generator()), generator());
    for name in steelyard_core::policy::NAMES {
        let policy = policy(name, &weights);
        for _ in 0..20 {
            assert_eq!(stand.pick(&policy, &rotation, &mut rng), Some(137), "{name}");
        }
        let mut nobody = stand.clone();
        nobody.eligible[137] = false;
        assert_eq!(nobody.pick(&policy, &rotation, &mut rng), None, "{name}");
    }
}

#[test]
fn no_weight_at_all_is_nobody_picked() {
    let stand = Stand::new(&[0, 0]);
    let (rotation, mut rng) = (Rotation::new(Phase::Zero, &mut generator()), generator());
    for name in steelyard_core::policy::NAMES {
        let policy = policy(name, &[0, 0]);
        assert_eq!(stand.pick(&policy, &rotation, &mut rng), None, "{name}");
    }
}

#[test]
fn the_same_seed_gives_the_same_choices() {
    let weights = [3, 1, 2, 5];
    for name in steelyard_core::policy::NAMES {
        let policy = policy(name, &weights);
        let choices = || {
            let (stand, rotation, mut rng) =
                (Stand::new(&weights), Rotation::new(Phase::Random, &mut generator()), generator());
            (0..100).map(|_| stand.pick(&policy, &rotation, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(choices(), choices(), "{name}");
    }
}
