//! How many members each level has of each verdict, kept up as verdicts change.

use super::Member;
use crate::health::Verdict;
use crate::level::LEVELS_MAX;

/// The counts of one snapshot. Whoever changes them writes down what follows before anybody else may change them again,
/// so that the newest is what holds.
#[derive(Debug)]
pub(super) struct Census {
    /// By member, the verdict that it was counted with.
    counted: Box<[Option<Verdict>]>,
    counts: [[u32; 4]; LEVELS_MAX],
}

impl Census {
    /// Nobody has been counted.
    pub fn new(members: usize) -> Self {
        Self { counted: vec![None; members].into(), counts: [[0; 4]; LEVELS_MAX] }
    }

    /// Looks at one member.
    pub fn look(&mut self, place: usize, member: &Member) {
        // Who takes no new requests counts for nothing.
        let verdict = (member.weight > 0).then(|| member.endpoint.verdict());
        let before = std::mem::replace(&mut self.counted[place], verdict);
        let counts = &mut self.counts[usize::from(member.level)];
        if before != verdict {
            if let Some(before) = before {
                counts[before as usize] -= 1;
            }
            if let Some(verdict) = verdict {
                counts[verdict as usize] += 1;
            }
        }
    }

    /// By level and verdict.
    pub fn counts(&self) -> &[[u32; 4]; LEVELS_MAX] {
        &self.counts
    }
}
