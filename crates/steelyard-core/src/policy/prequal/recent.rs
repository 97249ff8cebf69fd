//! The requests in flight that recent replies told of, and a quantile of them.

/// Replies that estimate the distribution over the endpoints.
pub(super) const RECENT_MAX: usize = 64;

/// The requests in flight of recent replies, whoever gave them and whatever became of them.
///
/// Kept in the order in which they came. The quantile that was asked for last is followed as numbers come and go, by how
/// many are below it and equal to it: it moves, if at all, to the next number that there is.
#[derive(Debug)]
pub(super) struct Recent {
    ring: [u32; RECENT_MAX],
    /// Where the next one goes.
    next: usize,
    len: usize,
    quantile: u32,
    below: usize,
    equal: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self { ring: [0; RECENT_MAX], next: 0, len: 0, quantile: 0, below: 0, equal: 0 }
    }
}

impl Recent {
    pub fn add(&mut self, in_flight: u32) {
        if self.len == RECENT_MAX {
            let oldest = self.ring[self.next];
            self.below -= usize::from(oldest < self.quantile);
            self.equal -= usize::from(oldest == self.quantile);
        } else {
            self.len += 1;
        }
        self.ring[self.next] = in_flight;
        self.next = (self.next + 1) % RECENT_MAX;
        self.below += usize::from(in_flight < self.quantile);
        self.equal += usize::from(in_flight == self.quantile);
    }

    /// The least number that this share of them does not exceed; `None` where there are none.
    pub fn quantile(&mut self, share: f32) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let product = share * self.len as f32;
        let whole = product as usize;
        let rank = (whole + usize::from((whole as f32) < product)).saturating_sub(1);
        debug_assert!(rank < self.len, "a share is 1 at the most");
        if self.below > rank || self.below + self.equal <= rank {
            self.follow(rank);
        }
        Some(self.quantile)
    }

    #[inline(never)]
    fn follow(&mut self, rank: usize) {
        let known = &self.ring[..self.len];
        let count_of = |number| known.iter().filter(|&&known| known == number).count();
        while self.below + self.equal <= rank {
            self.below += self.equal;
            let quantile = self.quantile;
            let above = known.iter().copied().filter(|&number| number > quantile);
            self.quantile = above.fold(u32::MAX, u32::min);
            self.equal = count_of(self.quantile);
        }
        while self.below > rank {
            let quantile = self.quantile;
            let under = known.iter().copied().filter(|&number| number < quantile);
            self.quantile = under.fold(0, u32::max);
            self.equal = count_of(self.quantile);
            self.below -= self.equal;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_quantile_is_of_the_most_recent_replies() {
        let mut recent = Recent::default();
        assert_eq!(recent.quantile(0.5), None);
        (1..=4).for_each(|rif| recent.add(rif));
        let quantiles = [0.0, 0.25, 0.26, 0.84, 1.0].map(|share| recent.quantile(share).unwrap());
        assert_eq!(quantiles, [1, 1, 2, 4, 4]);
        (0..RECENT_MAX).for_each(|_| recent.add(7));
        assert_eq!(recent.quantile(0.0), Some(7));
    }

    proptest! {
        #[test]
        fn it_is_that_of_the_sorted_numbers(
            numbers in proptest::collection::vec(0u32..12, 1..300),
            shares in proptest::collection::vec(0.0f32..=1.0, 1..4),
        ) {
            let mut recent = Recent::default();
            for (count, &number) in (1..).zip(&numbers) {
                recent.add(number);
                // Not after each: several may have come and gone.
                if count % 3 == 0 {
                    continue;
                }
                let share = shares[count % shares.len()];
                let mut sorted = numbers[count.saturating_sub(RECENT_MAX)..count].to_vec();
                sorted.sort_unstable();
                let rank = (share * sorted.len() as f32).ceil() as usize;
                let expected = sorted[rank.saturating_sub(1)];
                prop_assert_eq!(recent.quantile(share), Some(expected));
            }
        }
    }
}
