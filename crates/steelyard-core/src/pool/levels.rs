//! Which verdicts and which level of priority picks go by, derived from the live verdicts.

use super::census::Census;
use super::{Level, Pool};
use crate::health::Verdict;
use crate::level::{self, Count, LEVELS_MAX, Share};
use crate::random::{below, mix};
use crate::seeker::Seeker;
use crate::sync::{Ordering, lock};
use rand::Rng;

/// Verdicts that picks accept, a bit each.
pub(super) const HEALTHY: u8 = 1 << Verdict::Healthy as u8;
const UNKNOWN: u8 = 1 << Verdict::Unknown as u8;
const DOWN: u8 = 1 << Verdict::Down as u8;
const ALL: u8 = HEALTHY | UNKNOWN | DOWN;
/// Beside the plan's word: whether the verdicts of all that take new requests are accepted.
const WHOLE: u32 = 1 << 16;

/// What holds for each level at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan([u16; LEVELS_MAX]);

impl Plan {
    fn word(accept: u8, share: Share) -> u16 {
        u16::from(accept) | u16::from(share.panics) << 7 | u16::from(share.load) << 8
    }

    /// The verdicts that picks accept.
    pub(super) fn accept(&self, level: usize) -> u8 {
        self.0[level] as u8 & ALL
    }

    fn share(&self, level: usize) -> Share {
        Share { load: (self.0[level] >> 8) as u8, panics: self.0[level] & 1 << 7 != 0 }
    }
}

impl Level {
    /// The verdicts that picks accept.
    pub(super) fn accept(&self) -> u8 {
        self.accept_and_whole().0
    }

    /// The same, and whether the verdicts of all that take new requests are among them: then nobody need be asked for it.
    pub(super) fn accept_and_whole(&self) -> (u8, bool) {
        let now = self.now.load(Ordering::Relaxed);
        (now as u8 & ALL, now & WHOLE != 0)
    }
}

impl Pool {
    /// Derives anew what holds for each level, because verdicts may have changed.
    pub fn refresh(&self) {
        self.derive();
    }

    /// The same where only this member's may have; says whether anything else holds now.
    pub(super) fn refresh_one(&self, place: usize) -> bool {
        let mut census = lock(&self.census);
        census.look(place, &self.members[place]);
        let before = self.plan();
        self.follow(&census) != before
    }

    /// What holds for each level, as it was last derived.
    pub(super) fn plan(&self) -> Plan {
        let mut plan = Plan([0; LEVELS_MAX]);
        for (word, level) in plan.0.iter_mut().zip(&self.levels) {
            *word = level.now.load(Ordering::Relaxed) as u16;
        }
        plan
    }

    /// Which level a request goes to first. Requests with a key stay with one as long as the loads do.
    pub(super) fn draw_level(&self, plan: &Plan, seeker: &Seeker, rng: &mut impl Rng) -> usize {
        if self.levels.len() == 1 {
            return 0;
        }
        let mut draw = match seeker.key {
            Some(key) => (mix(key.rotate_left(32)) * 100.0) as u8,
            None => below(rng, 100) as u8,
        };
        for level in 0..self.levels.len() {
            let load = plan.share(level).load;
            if draw < load {
                return level;
            }
            draw -= load;
        }
        0
    }

    /// Looks at every member and derives what holds for each level.
    pub(super) fn derive(&self) -> Plan {
        let mut census = lock(&self.census);
        for (place, member) in self.members.iter().enumerate() {
            census.look(place, member);
        }
        self.follow(&census)
    }

    /// Puts in force what follows from the verdicts. Accepted are healthy endpoints; where a priority has none, those
    /// never probed; in a level that panics, and everywhere when nobody is left and the pool fails open, all that are not
    /// draining.
    fn follow(&self, census: &Census) -> Plan {
        let seen = census.counts();
        let mut accepts = [HEALTHY; LEVELS_MAX];
        let mut counts = [Count::default(); LEVELS_MAX];
        for (place, level) in self.levels.iter().enumerate() {
            let peers = || self.levels.iter().zip(seen).filter(|(other, _)| other.priority == level.priority);
            let has = |verdict: Verdict| peers().any(|(_, seen)| seen[verdict as usize] > 0);
            let used = if !has(Verdict::Healthy) && has(Verdict::Unknown) {
                Verdict::Unknown
            } else {
                Verdict::Healthy
            };
            let available = seen[place][used as usize];
            accepts[place] = 1 << used as u8;
            counts[place] = Count { available, all: available + seen[place][Verdict::Down as usize] };
        }
        let counts = &counts[..self.levels.len()];
        let none_available = counts.iter().all(|count| count.available == 0);
        let fails_open = self.config.fail_open && none_available && counts.iter().any(|count| count.all > 0);
        let shares = level::share(counts, self.config.panic_threshold, self.config.fail_open);
        let mut plan = Plan([0; LEVELS_MAX]);
        for (place, level) in self.levels.iter().enumerate() {
            let accept = match shares[place].panics {
                _ if fails_open => DOWN,
                true => ALL,
                false => accepts[place],
            };
            plan.0[place] = Plan::word(accept, shares[place]);
            let is_whole =
                (0..).zip(&seen[place]).all(|(verdict, &count)| count == 0 || accept >> verdict & 1 == 1);
            let whole = if is_whole { WHOLE } else { 0 };
            level.now.store(u32::from(plan.0[place]) | whole, Ordering::Relaxed);
        }
        plan
    }

    /// Its levels, in the order in which they are wanted, and what each gets now.
    pub fn levels(&self) -> impl Iterator<Item = (&Level, Share)> {
        let plan = self.plan();
        self.levels.iter().enumerate().map(move |(place, level)| (level, plan.share(place)))
    }

    /// Whether requests now go to endpoints that are known to be bad, for want of better ones.
    pub fn failing_open(&self) -> bool {
        let plan = self.plan();
        (0..self.levels.len()).all(|level| plan.accept(level) == DOWN)
    }

    /// Whether a level now uses all of its endpoints because too few of them are available.
    pub fn panics(&self) -> bool {
        !self.failing_open() && self.levels().any(|(_, share)| share.panics)
    }
}
