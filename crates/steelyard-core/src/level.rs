//! Levels: the endpoints of a pool in the order in which they are wanted, and how much of the load each level gets.
//!
//! Envoy's priorities. A level is trusted with all of the load as long as its available share, times 1.4, makes a whole;
//! what is missing goes to the levels behind it. Where all levels together do not make a whole, one of which too little is
//! left may panic: it uses all that it has, since few survivors under the load of many would fail as well.
//!
//! A zone is an inner level here: of one priority, the endpoints of the own zone come before those of the others. That is
//! not Envoy's zone-aware routing, which evens out how many balancers and endpoints each zone has, and has to be told
//! about all balancers for it. Ours needs to know only where it stands itself.

/// Different priorities of one pool.
pub const PRIORITIES_MAX: usize = 8;
/// Each priority has the endpoints of the own zone and the others.
pub const LEVELS_MAX: usize = 2 * PRIORITIES_MAX;

/// Percent: how much more than its part of the load an available endpoint is trusted with.
const OVER_PROVISIONING: u64 = 140;

/// What a level has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Endpoints that may be used.
    pub available: u32,
    /// All of them, those included that may not.
    pub all: u32,
}

/// What a level gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// Percent of the load; those of all levels add up to 100, unless there is no endpoint at all.
    pub load: u8,
    /// Whether it uses all of its endpoints, whatever is known of them.
    pub panics: bool,
}

impl Count {
    /// Percent of the load that it is trusted with; not 0 while there is anyone.
    fn health(self) -> u64 {
        if self.available == 0 {
            return 0;
        }
        (OVER_PROVISIONING * u64::from(self.available) / u64::from(self.all)).clamp(1, 100)
    }

    fn is_below(self, percent: u32) -> bool {
        u64::from(self.available) * 100 < u64::from(percent) * u64::from(self.all)
    }
}

/// Shares the load out. `panic_threshold` is the percentage of available endpoints below which a level panics; `None` is
/// never. Where no level has anyone available, all panic if the pool fails open.
pub fn share(counts: &[Count], panic_threshold: Option<u32>, fails_open: bool) -> [Share; LEVELS_MAX] {
    let mut shares = [Share::default(); LEVELS_MAX];
    let total = counts.iter().map(|count| count.health()).sum::<u64>().min(100);
    for (share, count) in shares.iter_mut().zip(counts) {
        let too_few = panic_threshold.is_some_and(|percent| total < 100 && count.is_below(percent));
        share.panics = fails_open && count.all > 0 && (total == 0 || too_few);
    }
    let all_panic = counts.iter().zip(&shares).all(|(count, share)| count.all == 0 || share.panics);
    let wanted = |count: &Count| if all_panic { u64::from(count.all) } else { count.health() };
    let whole = if all_panic { counts.iter().map(wanted).sum() } else { total };
    let mut left = 100;
    for (share, count) in shares.iter_mut().zip(counts) {
        let load = (wanted(count) * 100).checked_div(whole).unwrap_or(0).min(left);
        left -= load;
        share.load = load as u8;
    }
    // What rounding has left over.
    if let Some((share, _)) = shares.iter_mut().zip(counts).find(|(_, count)| wanted(count) > 0) {
        share.load += left as u8;
    }
    shares
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loads(available: &[u32]) -> Vec<u8> {
        let counts: Vec<Count> = available.iter().map(|&available| Count { available, all: 100 }).collect();
        share(&counts, None, true)[..counts.len()].iter().map(|share| share.load).collect()
    }

    #[test]
    fn the_published_vectors() {
        for (percent, expected) in
            [(100, [100, 0]), (72, [100, 0]), (71, [99, 1]), (50, [70, 30]), (25, [35, 65]), (0, [0, 100])]
        {
            assert_eq!(loads(&[percent, 100]), expected, "{percent} %");
        }
    }

    #[test]
    fn levels_that_do_not_make_a_whole_share_it_by_their_health() {
        // Healths of 28, 14 and 28, and what rounding leaves goes to the first.
        assert_eq!(loads(&[20, 10, 20]), [40, 20, 40]);
        assert_eq!(loads(&[0, 10, 20]), [0, 34, 66]);
        assert_eq!(loads(&[0, 0, 1]), [0, 0, 100]);
    }

    #[test]
    fn a_level_panics_only_where_all_together_are_too_few() {
        let count = |available| Count { available, all: 100 };
        let panics = |counts: &[Count], threshold, fails_open| {
            share(counts, threshold, fails_open)[..counts.len()]
                .iter()
                .map(|share| share.panics)
                .collect::<Vec<_>>()
        };
        assert_eq!(panics(&[count(10), count(72)], Some(50), true), [false, false], "P1 has enough for both");
        assert_eq!(panics(&[count(10), count(60)], Some(50), true), [true, false]);
        assert_eq!(panics(&[count(10), count(60)], None, true), [false, false]);
        assert_eq!(panics(&[count(10), count(60)], Some(50), false), [false, false]);
        assert_eq!(panics(&[count(50)], Some(50), true), [false], "at the threshold is not below it");
        assert_eq!(panics(&[count(49)], Some(50), true), [true]);
        assert_eq!(panics(&[count(0), count(0)], None, true), [true, true], "nobody is left: it fails open");
    }

    #[test]
    fn where_all_panic_each_level_gets_load_for_its_size() {
        let counts = [
            Count { available: 0, all: 0 },
            Count { available: 1, all: 10 },
            Count { available: 0, all: 20 },
        ];
        let loads = share(&counts, Some(50), true).map(|share| share.load);
        assert_eq!(loads[..3], [0, 34, 66]);
    }

    proptest! {
        #[test]
        fn the_loads_make_a_whole_and_go_to_those_that_can_carry_them(
            counts in proptest::collection::vec((0u32..40, 0u32..40), 1..=LEVELS_MAX),
            threshold in proptest::option::of(1u32..=100),
            fails_open: bool,
        ) {
            let counts: Vec<Count> =
                counts.into_iter().map(|(available, down)| Count { available, all: available + down }).collect();
            let shares = share(&counts, threshold, fails_open);
            let total: u32 = shares.iter().map(|share| u32::from(share.load)).sum();
            let any = counts.iter().any(|count| count.available > 0 || fails_open && count.all > 0);
            prop_assert_eq!(total, if any { 100 } else { 0 });
            for (share, count) in shares.iter().zip(&counts) {
                prop_assert!(share.load == 0 || count.available > 0 || share.panics);
            }
        }
    }
}
