use super::*;

fn config(policy: &str) -> document::Policy {
    document::Policy { name: policy.into(), ..document::Policy::default() }
}

fn shares<'e>(configured: &[u32], learned: &'e [Learned]) -> Vec<Share<'e>> {
    (0..)
        .zip(configured)
        .zip(learned)
        .map(|((name, &configured), learned)| Share { configured, learned, name, level: 0 })
        .collect()
}

fn learned(weights: &[f32]) -> Vec<Learned> {
    let note = |&weight| {
        let learned = Learned::default();
        learned.set(Some(weight));
        learned
    };
    weights.iter().map(note).collect()
}

fn weights(policy: &str, shares: &[Share<'_>]) -> Option<Vec<f32>> {
    match Renewal::of(&config(policy), shares, 1, None) {
        Renewal::New(table) => Some((0..shares.len()).map(|index| table.weight(index).weight).collect()),
        Renewal::Nothing => None,
    }
}

#[test]
fn their_mean_is_that_of_the_configured_ones() {
    let learned = learned(&[300.0, 100.0]);
    assert_eq!(weights("weighted", &shares(&[1, 1], &learned)), Some(vec![1.5, 0.5]));
    assert_eq!(weights("weighted", &shares(&[1, 7], &learned)), Some(vec![6.0, 2.0]));
}

#[test]
fn who_is_not_known_counts_as_the_mean_and_0_stays_0() {
    let learned = learned(&[30.0, 10.0, 0.0, 500.0]);
    assert_eq!(weights("weighted", &shares(&[1, 1, 1, 0], &learned)), Some(vec![1.5, 0.5, 1.0, 0.0]));
}

#[test]
fn fewer_than_two_leave_the_configured_ones_in_force() {
    let learned = learned(&[30.0, f32::NAN, -1.0, 500.0]);
    assert_eq!(weights("weighted", &shares(&[1, 1, 1, 0], &learned)), None);
}

#[test]
fn nobody_counts_as_less_than_a_hundredth_of_the_largest_nor_is_any_part_lost() {
    let learned = learned(&[f32::INFINITY, f32::MIN_POSITIVE]);
    let weights = weights("weighted", &shares(&[1, 1], &learned)).expect("two are known");
    assert!((weights[0] / weights[1] - 100.0).abs() < 0.01, "{weights:?}");
    let many: Vec<f32> = (0..20_000).map(|index| if index % 2 == 0 { 100.0 } else { 1.0 }).collect();
    let many = self::learned(&many);
    let shares = shares(&vec![1; many.len()], &many);
    let Renewal::New(table) = Renewal::of(&config("least_request"), &shares, 1, None) else {
        panic!("all are known")
    };
    assert!((0..shares.len()).all(|index| table.weight(index).parts > 0));
}

#[test]
fn a_table_is_made_anew_only_where_a_weight_has_changed() {
    let learned = learned(&[2.0, 1.0]);
    let shares = shares(&[1, 1], &learned);
    let Renewal::New(table) = Renewal::of(&config("weighted"), &shares, 1, None) else {
        panic!("two are known")
    };
    // Twice as much of everything is the same.
    learned[0].set(Some(4.0));
    learned[1].set(Some(2.0));
    assert!(matches!(Renewal::of(&config("weighted"), &shares, 1, Some(&table)), Renewal::Nothing));
    learned[1].set(Some(2.1));
    assert!(matches!(Renewal::of(&config("weighted"), &shares, 1, Some(&table)), Renewal::New(_)));
    learned[1].forget();
    let Renewal::New(configured) = Renewal::of(&config("weighted"), &shares, 1, Some(&table)) else {
        panic!("one is not enough")
    };
    assert!(table.is_learned() && !configured.is_learned());
    assert_eq!(configured.weight(0), configured.weight(1));
}

#[test]
fn where_keys_go_by_weights_small_changes_change_nothing() {
    let learned = learned(&[1.0, 1.0, 1.0]);
    let shares = shares(&[1, 1, 1], &learned);
    for policy in KEYED {
        for one in &learned {
            one.forget();
            one.set(Some(1.0));
        }
        let Renewal::New(table) = Renewal::of(&config(policy), &shares, 1, None) else {
            panic!("all are known")
        };
        table.settle(&shares);
        learned[0].set(Some(1.1));
        assert!(
            matches!(Renewal::of(&config(policy), &shares, 1, Some(&table)), Renewal::Nothing),
            "{policy}"
        );
        // One that changes by more moves alone.
        learned[0].set(Some(1.2));
        assert_eq!(weights(policy, &shares).map(|weights| weights[1].to_bits()), Some(1f32.to_bits()));
        assert!(weights(policy, &shares).is_some_and(|weights| weights[0] > 1.1));
    }
}
