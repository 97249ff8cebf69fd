//! What the policies that go by a key share: what they do with a request that has none, and where their table ends.

use super::rendezvous::Lots;
use super::weighted_random::Alias;
use super::{Candidates, DRAWS_MAX, Prospect, accepts, scan_and_take};
use rand::Rng;

/// The table of a policy that goes by a key, with what such policies need beside it.
#[derive(Debug)]
pub struct Keyed<T> {
    pub(super) table: T,
    lots: Lots,
    alias: Alias,
}

impl<T> Keyed<T> {
    pub(super) fn new(endpoints: &[Prospect], table: T) -> Self {
        let weights: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.weight).collect();
        Self { table, lots: Lots::new(endpoints), alias: Alias::new(&weights) }
    }

    /// Takes what `find` finds and takes for the key of the request. Where it finds nobody in reasonable time, all that
    /// `fit` are compared in the order of [`rendezvous`](super::rendezvous), which is the same for a key on every instance too; those in slow
    /// start that are not to have the key come last. A request without a key goes anywhere, in proportion to weight.
    pub(super) fn pick(
        &self,
        candidates: &impl Candidates,
        rng: &mut impl Rng,
        find: impl FnOnce(&T, u64) -> Option<usize>,
        fit: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let Some(key) = candidates.key() else { return self.pick_any(candidates, rng, fit) };
        find(&self.table, key)
            .or_else(|| {
                self.lots.take_first(key, candidates, |index| fit(index) && candidates.starts(index, key))
            })
            .or_else(|| self.lots.take_first(key, candidates, &fit))
    }

    #[inline(never)]
    fn pick_any(
        &self,
        candidates: &impl Candidates,
        rng: &mut impl Rng,
        fit: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        for _ in 0..DRAWS_MAX {
            let index = self.alias.draw(rng)?;
            if fit(index) && accepts(candidates, index, rng) && candidates.take(index) {
                return Some(index);
            }
        }
        scan_and_take(candidates, rng, |index| if fit(index) { candidates.weight(index) } else { 0 })
    }
}
