//! Deterministic subsetting: bounded, balanced, and steady when someone joins.

use crate::support::{pool_document, snapshot};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;
use steelyard_core::subset::subset;

fn all(count: usize, size: usize, instances: u32) -> Vec<BTreeSet<usize>> {
    (0..instances).map(|instance| subset(count, size, instance).into_iter().collect()).collect()
}

fn connections(count: usize, subsets: &[BTreeSet<usize>]) -> Vec<usize> {
    (0..count).map(|endpoint| subsets.iter().filter(|subset| subset.contains(&endpoint)).count()).collect()
}

/// 1 - what both have, of what either has; the mean over all.
fn jaccard_distance(before: &[BTreeSet<usize>], after: &[BTreeSet<usize>]) -> f64 {
    let distances = before.iter().zip(after).map(|(before, after)| {
        1.0 - before.intersection(after).count() as f64 / before.union(after).count() as f64
    });
    distances.sum::<f64>() / before.len() as f64
}

proptest! {
    #[test]
    fn each_has_as_many_as_it_wants_and_none_twice(
        count in 1usize..400,
        size in 1usize..60,
        instance in 0u32..1_000,
    ) {
        let chosen = subset(count, size, instance);
        prop_assert_eq!(chosen.len(), size.min(count));
        prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]) && chosen.iter().all(|&one| one < count));
        prop_assert_eq!(&chosen, &subset(count, size, instance), "deterministic");
    }

    #[test]
    fn whole_lots_are_perfectly_even_over_whole_lots(
        lots in 2usize..20,
        balancer_lots in 1u32..8,
        size in 1usize..30,
    ) {
        // The ten of one lot of balancers take ten different endpoints of each lot they go to.
        let count = lots * 10;
        prop_assume!(size < count);
        for lot in 0..balancer_lots {
            let subsets: Vec<_> =
                (lot * 10..lot * 10 + 10).map(|one| subset(count, size, one).into_iter().collect()).collect();
            for endpoints in connections(count, &subsets).chunks(10) {
                prop_assert!(endpoints.iter().all(|&number| number == endpoints[0]), "{:?}", endpoints);
            }
        }
    }

    #[test]
    fn an_endpoint_that_joins_changes_little(count in 50usize..500, instances in 20u32..120) {
        let size = 20;
        let distance = jaccard_distance(&all(count, size, instances), &all(count + 1, size, instances));
        let expected = size as f64 / count as f64;
        prop_assert!(distance <= 2.0 * expected, "{} of {} is {:.3}", distance, count, expected);
    }

    #[test]
    fn an_instance_that_joins_changes_nothing_for_the_others(count in 30usize..300, instances in 1u32..50) {
        let (before, after) = (all(count, 10, instances), all(count, 10, instances + 1));
        prop_assert_eq!(&before[..], &after[..before.len()]);
    }
}

#[test]
fn connections_are_balanced_over_many_instances() {
    for (count, size, instances) in [(100, 20, 12), (300, 20, 100), (1_000, 20, 200), (97, 13, 64)] {
        let connections = connections(count, &all(count, size, instances));
        let mean = f64::from(instances) * size as f64 / count as f64;
        let most = *connections.iter().max().unwrap() as f64;
        assert!(most <= (2.0 * mean).max(mean + 3.0), "{count}, {size}, {instances}: {most} over {mean}");
    }
}

#[test]
fn a_pool_has_only_its_part_of_each_priority() {
    let mut document = pool_document("random", &[1; 60]);
    for index in 40..60 {
        document["endpoints"][index]["priority"] = 1.into();
    }
    document["subset"] = json!({"size": 5, "instance": 3, "instances": 12});
    let part = snapshot(&document, None);
    let priorities: Vec<u32> = part.pools[0].members().iter().map(|member| member.priority).collect();
    assert_eq!(priorities, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
    document["subset"]["instance"] = 4.into();
    let other = snapshot(&document, None);
    let addresses = |pool: &steelyard_core::pool::Pool| -> Vec<String> {
        pool.members().iter().map(|member| member.endpoint.address().to_string()).collect()
    };
    assert_ne!(addresses(&part.pools[0]), addresses(&other.pools[0]));
}
