//! `round_robin`: counts are exact, whoever comes and goes.

use crate::support::{Stand, generator, pool, sequence};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use steelyard_core::policy::{Phase, Policy, Rotation};
use steelyard_core::pool::Pick;
use steelyard_core::seeker::Seeker;

#[test]
fn each_takes_its_turn() {
    assert_eq!(sequence("round_robin", &[1, 1, 1], 7), "abcabca");
}

#[test]
fn unequal_weights_make_it_weighted() {
    assert_eq!(sequence("round_robin", &[5, 1, 1], 7), sequence("weighted", &[5, 1, 1], 7));
}

#[test]
fn nobody_eligible_is_nobody_picked() {
    let mut stand = Stand::new(&[1, 1]);
    stand.eligible = vec![false, false];
    for stand in [stand, Stand::new(&[])] {
        let rotation = Rotation::new(Phase::Random, &mut generator());
        assert_eq!(stand.pick(&Policy::RoundRobin, &rotation, &mut generator()), None);
    }
}

#[test]
fn the_phase_is_random_where_it_is_not_zero() {
    let stand = Stand::new(&[1, 1, 1, 1]);
    let mut rng = generator();
    let mut first = [0; 4];
    for _ in 0..400 {
        let picked = stand.pick(&Policy::RoundRobin, &Rotation::new(Phase::Random, &mut rng), &mut rng);
        first[picked.unwrap() as usize] += 1;
    }
    assert!(first.iter().all(|&count| count > 50), "{first:?}");
}

#[test]
fn a_newcomer_is_not_repaid_for_turns_it_missed() {
    let (rotation, mut rng) = (Rotation::new(Phase::Zero, &mut generator()), generator());
    let mut stand = Stand::new(&[1, 1, 1]);
    for _ in 0..100 {
        stand.pick(&Policy::RoundRobin, &rotation, &mut rng);
    }
    stand.join(3, 1);
    let mut turn = || stand.pick(&Policy::RoundRobin, &rotation, &mut rng).unwrap();
    let rounds: Vec<[u32; 4]> = (0..3).map(|_| [turn(), turn(), turn(), turn()]).collect();
    for round in rounds {
        assert_eq!(round.iter().filter(|&&id| id == 3).count(), 1, "{round:?}");
    }
}

#[test]
fn who_returns_is_owed_one_turn_at_the_most() {
    let (rotation, mut rng) = (Rotation::new(Phase::Zero, &mut generator()), generator());
    let mut stand = Stand::new(&[1, 1, 1]);
    stand.eligible[1] = false;
    for _ in 0..100 {
        stand.pick(&Policy::RoundRobin, &rotation, &mut rng);
    }
    stand.eligible[1] = true;
    let turns: Vec<u32> =
        (0..9).map(|_| stand.pick(&Policy::RoundRobin, &rotation, &mut rng).unwrap()).collect();
    assert_eq!(turns.iter().filter(|&&id| id == 1).count(), 3, "{turns:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Pick(usize),
    Toggle(usize),
    Join,
    Leave(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1usize..20).prop_map(Step::Pick),
        2 => any::<usize>().prop_map(Step::Toggle),
        1 => Just(Step::Join),
        1 => any::<usize>().prop_map(Step::Leave),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn those_that_stay_differ_by_one_at_the_most_while_others_come_and_go(
        steady in 1usize..5,
        others in 0usize..4,
        steps in steps(),
    ) {
        let mut stand = Stand::new(&vec![1; steady + others]);
        let (rotation, mut rng) = (Rotation::new(Phase::Random, &mut generator()), generator());
        let mut counts: BTreeMap<u32, u64> = (0..steady as u32).map(|id| (id, 0)).collect();
        let mut next_id = stand.ids.len() as u32;
        for step in steps {
            let passing = stand.ids.len() - steady;
            match step {
                Step::Pick(times) => {
                    for _ in 0..times {
                        let id = stand.pick(&Policy::RoundRobin, &rotation, &mut rng).unwrap();
                        counts.entry(id).and_modify(|count| *count += 1);
                    }
                }
                Step::Toggle(which) if passing > 0 => {
                    let index = steady + which % passing;
                    stand.eligible[index] = !stand.eligible[index];
                }
                Step::Join => {
                    stand.join(next_id, 1);
                    next_id += 1;
                }
                Step::Leave(which) if passing > 0 => stand.leave(steady + which % passing),
                Step::Toggle(_) | Step::Leave(_) => {}
            }
            let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", counts);
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "workers are threads")]
fn counts_are_exact_over_several_workers() {
    const WORKERS: usize = 4;
    const PICKS: usize = 5_003;
    for (policy, weights) in [("round_robin", [1, 1, 1, 1, 1]), ("weighted", [5, 3, 1, 1, 2])] {
        let pool = pool(policy, &weights, |_| {});
        let counts: [AtomicU64; 5] = Default::default();
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    let mut rng = generator();
                    for _ in 0..PICKS {
                        match pool.pick(crate::support::millis(0), &mut rng, &Seeker::default()) {
                            Pick::Taken(index) => counts[index].fetch_add(1, Ordering::Relaxed),
                            other => panic!("{other:?}"),
                        };
                    }
                });
            }
        });
        let total: u32 = weights.iter().sum();
        for (count, weight) in counts.iter().zip(weights) {
            let exact = (WORKERS * PICKS) as f64 * f64::from(weight) / f64::from(total);
            let count = count.load(Ordering::Relaxed) as f64;
            assert!((count - exact).abs() <= 1.0, "{policy}: {count} instead of {exact}");
        }
    }
}
