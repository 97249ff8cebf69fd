//! `weighted`: smooth weighted round robin, exact over every cycle.

use crate::support::{Stand, generator, sequence};
use proptest::prelude::*;
use steelyard_core::policy::{Phase, Policy, Rotation};

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
    fn whoever_comes_and_goes_the_others_keep_their_proportion(
        weights in proptest::collection::vec(1u32..5, 2..5),
        away in 1usize..40,
        joins in 0u32..3,
    ) {
        let policy = Policy::build("weighted", &[2, 1]).unwrap();
        let (rotation, mut rng) = (Rotation::new(Phase::Random), generator());
        let mut stand = Stand::new(&weights);
        stand.eligible[0] = false;
        for _ in 0..away {
            stand.pick(&policy, &rotation, &mut rng).unwrap();
        }
        stand.eligible[0] = true;
        for id in 0..joins {
            stand.join(100 + id, 3);
        }
        // Two cycles, of which the first may still even out who was ahead.
        let total: u32 = stand.weights.iter().sum();
        let mut counts = vec![0u32; stand.ids.len()];
        for _ in 0..total * 2 {
            let id = stand.pick(&policy, &rotation, &mut rng).unwrap();
            counts[stand.ids.iter().position(|&other| other == id).unwrap()] += 1;
        }
        for (count, weight) in counts.iter().zip(&stand.weights) {
            prop_assert!(count.abs_diff(weight * 2) <= total.min(3), "{:?} for {:?}", counts, stand.weights);
        }
    }
}

#[test]
fn the_phase_is_random_where_it_is_not_zero() {
    let stand = Stand::new(&[2, 1, 1]);
    let policy = Policy::build("weighted", &[2, 1, 1]).unwrap();
    let mut rng = generator();
    let mut first = [0; 3];
    for _ in 0..400 {
        first[stand.pick(&policy, &Rotation::new(Phase::Random), &mut rng).unwrap() as usize] += 1;
    }
    assert!(first.iter().all(|&count| count > 40), "{first:?}");
}
