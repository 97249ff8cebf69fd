//! The replies at hand.

use crate::time::Nanos;

/// The most replies that are kept (the paper's m).
pub const REPLIES_MAX: usize = 16;
/// A reply is used for so long.
const AGE_MAX: Nanos = Nanos::from_millis(1_000);

/// What one endpoint said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply {
    pub id: u32,
    /// Where its endpoint is likely to be found among the candidates.
    pub place: u32,
    pub rif: f32,
    pub latency_s: f32,
    pub at: Nanos,
    pub uses_left: u32,
}

/// Sixteen at the most, in the order in which they came.
#[derive(Debug)]
pub(super) struct Replies {
    /// A ring.
    slots: [Reply; REPLIES_MAX],
    /// Where the oldest is.
    first: usize,
    len: usize,
    /// None is older than this.
    oldest: Nanos,
}

impl Replies {
    pub fn new() -> Self {
        let none = Reply { id: 0, place: 0, rif: 0.0, latency_s: 0.0, at: Nanos(0), uses_left: 0 };
        Self { slots: [none; REPLIES_MAX], first: 0, len: 0, oldest: Nanos(u64::MAX) }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    fn slot(&self, position: usize) -> usize {
        debug_assert!(position < self.len, "there is a reply at each position");
        (self.first + position) % REPLIES_MAX
    }

    /// The one that came at this position.
    pub fn get(&self, position: usize) -> &Reply {
        &self.slots[self.slot(position)]
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, position: usize) -> &mut Reply {
        &mut self.slots[self.slot(position)]
    }

    /// Puts one at the end; where there are as many as may be, the oldest goes.
    pub fn push(&mut self, reply: Reply) {
        if self.len == REPLIES_MAX {
            self.remove(0);
        }
        self.len += 1;
        *self.get_mut(self.len - 1) = reply;
        self.oldest = self.oldest.min(reply.at);
    }

    /// Takes one out; those on its shorter side move up.
    pub fn remove(&mut self, position: usize) {
        if position < self.len / 2 {
            for position in (0..position).rev() {
                *self.get_mut(position + 1) = *self.get(position);
            }
            self.first = (self.first + 1) % REPLIES_MAX;
        } else {
            for position in position..self.len - 1 {
                *self.get_mut(position) = *self.get(position + 1);
            }
        }
        self.len -= 1;
    }

    /// Leaves only those of which this is so.
    pub fn retain(&mut self, keeps: impl Fn(&Reply) -> bool) {
        let mut kept = 0;
        for position in 0..self.len {
            let reply = *self.get(position);
            if keeps(&reply) {
                *self.get_mut(kept) = reply;
                kept += 1;
            }
        }
        self.len = kept;
    }

    /// Drops those that are too old to be used.
    pub fn expire(&mut self, now: Nanos) {
        if now.since(self.oldest) > AGE_MAX {
            self.retain(|reply| now.since(reply.at) <= AGE_MAX);
            self.oldest = (0..self.len).map(|at| self.get(at).at).min().unwrap_or(Nanos(u64::MAX));
        }
    }
}

/// Where a reply stands among the others by the hot-cold rule: the cold by their latency, and behind them the hot by
/// their RIF. The least is the best, of equal ones the newest. Neither figure is below 0, so that their bits stand in
/// their order.
pub(super) fn rank(theta: f32, rif: f32, latency_s: f32, position: usize) -> u64 {
    debug_assert!(rif >= 0.0 && latency_s >= 0.0, "neither is less than nothing");
    let hot = rif > theta;
    let figure = if hot { rif } else { latency_s };
    // Minus nothing is nothing.
    let bits = (figure + 0.0).to_bits();
    u64::from(hot) << 63 | u64::from(bits) << 8 | (REPLIES_MAX - 1 - position) as u64
}

/// The position of the reply that has this rank.
pub(super) fn position_of(rank: u64) -> usize {
    REPLIES_MAX - 1 - (rank as u8) as usize
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply(id: u32, at_ms: u64) -> Reply {
        Reply { id, place: 0, rif: 0.0, latency_s: 0.0, at: Nanos::from_millis(at_ms), uses_left: 1 }
    }

    fn ids(replies: &Replies) -> Vec<u32> {
        (0..replies.len()).map(|position| replies.get(position).id).collect()
    }

    proptest! {
        #[test]
        fn they_are_a_list_of_which_the_oldest_goes(steps in proptest::collection::vec(0usize..40, 1..200)) {
            let (mut replies, mut list) = (Replies::new(), Vec::new());
            for (id, &step) in (0..).zip(&steps) {
                if step < list.len() {
                    replies.remove(step);
                    list.remove(step);
                } else if step == 39 {
                    replies.retain(|reply| reply.id % 3 != 0);
                    list.retain(|id| id % 3 != 0);
                } else {
                    replies.push(reply(id, 0));
                    list.push(id);
                    if list.len() > REPLIES_MAX {
                        list.remove(0);
                    }
                }
                prop_assert_eq!(&ids(&replies), &list);
            }
        }
    }

    #[test]
    fn each_is_used_for_a_second_in_whatever_order_they_came() {
        let mut replies = Replies::new();
        for (id, at_ms) in [(0, 500), (1, 200), (2, 900)] {
            replies.push(reply(id, at_ms));
        }
        let mut left = |at_ms| {
            replies.expire(Nanos::from_millis(at_ms));
            ids(&replies)
        };
        assert_eq!(left(1_200), [0, 1, 2]);
        assert_eq!(left(1_201), [0, 2]);
        assert_eq!(left(1_500), [0, 2]);
        assert_eq!(left(1_600), [2]);
        assert_eq!(left(2_000), [0; 0]);
    }

    #[test]
    fn ranks_stand_in_the_order_of_the_rule() {
        let ranks =
            [(1.0, 0.0, 3), (1.0, -0.0, 2), (2.0, 1e-9, 1), (0.0, 5.0, 0), (3.0, 0.0, 5), (7.5, 0.0, 4)]
                .map(|(rif, latency_s, position)| rank(2.0, rif, latency_s, position));
        assert!(ranks.is_sorted(), "{ranks:x?}");
        assert_eq!(ranks.map(position_of), [3, 2, 1, 0, 5, 4]);
    }
}
