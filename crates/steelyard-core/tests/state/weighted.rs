//! `weighted`: smooth weighted round robin, exact over every cycle.

use crate::support::{Stand, generator, policy, sequence};
use proptest::prelude::*;
use steelyard_core::policy::{Phase, Rotation};

#[test]
fn the_published_vectors() {
    assert_eq!(sequence("weighted", &[5, 1, 1], 14), "aabacaaaabacaa");
    assert_eq!(sequence("weighted", &[4, 2, 1], 7), "abacaba");
    assert_eq!(sequence("weighted", &[5, 3, 2], 10), "abcaabacba");
}

#[test]
fn weight_0_is_never_chosen() {
    assert_eq!(sequence("weighted", &[0, 2, 1], 6), "bcbbcb");
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

proptest! {
    #[test]
    fn over_one_cycle_each_is_chosen_exactly_in_proportion(
        weights in proptest::collection::vec(0u32..12, 1..7).prop_filter("one has weight", |w| w.iter().sum::<u32>() > 0),
    ) {
        let divisor = weights.iter().copied().fold(0, greatest_common_divisor);
        let cycle = weights.iter().sum::<u32>() / divisor;
        let picks = sequence("weighted", &weights, cycle as usize * 3);
        // Every current weight is back at 0, so that each cycle is as the first.
        let (first, rest) = picks.split_at(cycle as usize);
        prop_assert_eq!(rest, first.repeat(2));
        for (index, weight) in weights.iter().enumerate() {
            let count = first.bytes().filter(|&byte| byte == b'a' + index as u8).count();
            prop_assert_eq!(count as u32, weight / divisor, "{}", first);
        }
    }

    #[test]
    fn it_is_smooth(weights in proptest::collection::vec(1u32..12, 2..7)) {
        // In any prefix nobody is ahead of its share or behind it by more than the number of endpoints allows.
        let total: u32 = weights.iter().sum();
        let picks = sequence("weighted", &weights, total as usize);
        for end in 1..=picks.len() {
            for (index, weight) in weights.iter().enumerate() {
                let count = picks[..end].bytes().filter(|&byte| byte == b'a' + index as u8).count() as f64;
                let share = end as f64 * f64::from(*weight) / f64::from(total);
                prop_assert!((count - share).abs() < weights.len() as f64 / 2.0 + 0.5, "{}", picks);
            }
        }
    }

    #[test]
    fn whoever_is_out_the_others_keep_their_proportion_exactly(
        weights in proptest::collection::vec(1u32..5, 2..6),
    ) {
        let policy = policy("weighted", &weights);
        let (rotation, mut rng) = (Rotation::new(Phase::Random, &mut generator()), generator());
        let mut stand = Stand::new(&weights);
        stand.eligible[0] = false;
        let divisor = weights.iter().copied().fold(0, greatest_common_divisor);
        let mut counts = vec![0u32; weights.len()];
        for _ in 0..weights[1..].iter().sum::<u32>() / divisor * 3 {
            counts[stand.pick(&policy, &rotation, &mut rng).unwrap() as usize] += 1;
        }
        let expected: Vec<u32> =
            weights.iter().enumerate().map(|(index, weight)| if index == 0 { 0 } else { weight / divisor * 3 }).collect();
        prop_assert_eq!(counts, expected);
    }

    #[test]
    fn whoever_comes_and_goes_the_others_keep_their_proportion(
        weights in proptest::collection::vec(1u32..5, 2..5),
        away in 1usize..40,
        joins in 0u32..3,
    ) {
        let (rotation, mut rng) = (Rotation::new(Phase::Random, &mut generator()), generator());
        let mut stand = Stand::new(&weights);
        stand.eligible[0] = false;
        let policy = self::policy("weighted", &stand.weights);
        for _ in 0..away {
            stand.pick(&policy, &rotation, &mut rng).unwrap();
        }
        stand.eligible[0] = true;
        for id in 0..joins {
            stand.join(100 + id, 3);
        }
        // Nobody is repaid for turns missed, and nobody pays for them: whole cycles are exact at once.
        let policy = self::policy("weighted", &stand.weights);
        let total: u32 = stand.weights.iter().sum();
        let mut counts = vec![0u32; stand.ids.len()];
        for _ in 0..total * 2 {
            let id = stand.pick(&policy, &rotation, &mut rng).unwrap();
            counts[stand.ids.iter().position(|&other| other == id).unwrap()] += 1;
        }
        for (count, weight) in counts.iter().zip(&stand.weights) {
            prop_assert_eq!(*count, weight * 2, "{:?} for {:?}", &counts, &stand.weights);
        }
    }
}

#[test]
fn the_phase_is_random_where_it_is_not_zero() {
    let stand = Stand::new(&[2, 1, 1]);
    let policy = policy("weighted", &[2, 1, 1]);
    let mut rng = generator();
    let mut first = [0; 3];
    for _ in 0..400 {
        first[stand.pick(&policy, &Rotation::new(Phase::Random, &mut rng), &mut rng).unwrap() as usize] += 1;
    }
    assert!(first.iter().all(|&count| count > 40), "{first:?}");
}

#[test]
fn weights_of_a_cycle_too_long_to_work_out_are_kept_all_the_same() {
    // 300,001 turns, of which the first few are those of 2, 1 and next to nothing.
    assert_eq!(sequence("weighted", &[200_000, 100_000, 1], 9), "abaabaaba");
}

#[test]
fn where_most_turns_belong_to_one_that_is_out_the_others_take_turns() {
    let mut stand = Stand::new(&[10_000, 2, 1]);
    stand.eligible[0] = false;
    let policy = policy("weighted", &stand.weights);
    let (rotation, mut rng) = (Rotation::new(Phase::Zero, &mut generator()), generator());
    let mut counts = [0; 3];
    for _ in 0..300 {
        counts[stand.pick(&policy, &rotation, &mut rng).unwrap() as usize] += 1;
    }
    // Now and then it is a turn of the cycle that they get.
    assert!(counts[0] == 0 && (195..=205).contains(&counts[1]), "{counts:?}");
}
