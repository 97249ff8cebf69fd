//! The state of taking turns: one per pool and process, shared by the workers, kept across snapshots. What other
//! policies keep in the same way stands beside it.

use super::Candidates;
use super::join_idle_queue::IdleQueue;
use super::prequal::Probes;
use crate::random::below;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};
use rand::Rng;
use std::collections::VecDeque;

/// Where a rotation begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Anywhere, so that balancers that start together do not send their first requests to the same endpoint.
    #[default]
    Random,
    /// At the first endpoint, for tests and vectors.
    Zero,
}

/// One endpoint's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub id: u32,
    /// Its index among the candidates of [`Turns::generation`].
    pub index: usize,
    /// Smooth weighted round robin's current weight.
    pub current: i64,
    /// Scratch of one pick: whether it took part.
    pub took_part: bool,
}

/// The turns, in the order that the policy keeps them.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub order: VecDeque<Turn>,
    generation: u64,
    started: bool,
}

/// The turns of one pool behind a short lock.
#[derive(Debug)]
pub struct Rotation {
    turns: Mutex<Turns>,
    /// The position along a cycle; it only ever grows.
    position: AtomicU64,
    phase: Phase,
    /// The endpoints that are idle, for `join_idle_queue`.
    pub(crate) idle: IdleQueue,
    /// What endpoints report of their loads, for `prequal`.
    pub(crate) probes: Probes,
}

impl Rotation {
    /// Turns that nobody has taken yet.
    pub fn new(phase: Phase, rng: &mut impl Rng) -> Self {
        let position = match phase {
            Phase::Zero => 0,
            // Anywhere in any cycle, and as good as forever from the end of the numbers.
            Phase::Random => rng.next_u64() >> 1,
        };
        Self {
            turns: Mutex::new(Turns::default()),
            position: AtomicU64::new(position),
            phase,
            idle: IdleQueue::new(position),
            probes: Probes::new(position),
        }
    }

    /// Takes the next step along a cycle; no two picks are given the same one. The position is kept when
    /// the cycle changes with the set: who stays and who joins go on level.
    pub(super) fn step(&self) -> u64 {
        self.position.fetch_add(1, Ordering::Relaxed)
    }

    /// Locks the turns, brought up to date with the candidates. `advance` moves them one turn on; it is called a
    /// random number of times when the rotation begins at a random phase.
    pub(super) fn lock(
        &self,
        candidates: &impl Candidates,
        rng: &mut impl Rng,
        advance: impl FnMut(&mut Turns),
    ) -> MutexGuard<'_, Turns> {
        let mut turns = lock(&self.turns);
        if turns.generation < candidates.generation() || !turns.started {
            self.begin(&mut turns, candidates, rng, advance);
        }
        turns
    }

    #[cold]
    #[inline(never)]
    fn begin(
        &self,
        turns: &mut Turns,
        candidates: &impl Candidates,
        rng: &mut impl Rng,
        mut advance: impl FnMut(&mut Turns),
    ) {
        turns.reconcile(candidates);
        if !turns.started && self.phase == Phase::Random && !turns.order.is_empty() {
            // Enough to land anywhere in the cycle of any pool of moderate weights, and bounded.
            let cycle: usize = turns.order.iter().map(|turn| candidates.weight(turn.index) as usize).sum();
            for _ in 0..below(rng, cycle.clamp(1, 1_000)) {
                advance(turns);
            }
        }
        turns.started = true;
    }
}

impl Turns {
    /// Follows a new set: who stays keeps its place, who joins starts level with the others, at the end.
    fn reconcile(&mut self, candidates: &impl Candidates) {
        let mut index_of: std::collections::HashMap<u32, usize> =
            (0..candidates.len()).map(|index| (candidates.id(index), index)).collect();
        self.order.retain_mut(|turn| match index_of.remove(&turn.id) {
            Some(index) => {
                turn.index = index;
                true
            }
            None => false,
        });
        let mut joined: Vec<(u32, usize)> = index_of.into_iter().collect();
        joined.sort_unstable_by_key(|&(_, index)| index);
        self.order.extend(joined.into_iter().map(|(id, index)| Turn {
            id,
            index,
            current: 0,
            took_part: false,
        }));
        self.generation = candidates.generation();
        self.level(candidates);
    }

    /// Keeps the invariant of current weights (their sum is zero, none is beyond the total) when whoever left took
    /// some away or weights changed.
    fn level(&mut self, candidates: &impl Candidates) {
        let total: i64 = self.order.iter().map(|turn| i64::from(candidates.weight(turn.index))).sum();
        for turn in &mut self.order {
            turn.current = turn.current.clamp(-total, total);
        }
        let count = self.order.len() as i64;
        if count == 0 {
            return;
        }
        let surplus: i64 = self.order.iter().map(|turn| turn.current).sum();
        for (place, turn) in self.order.iter_mut().enumerate() {
            let share =
                surplus / count + i64::from((place as i64) < (surplus % count).abs()) * surplus.signum();
            turn.current -= share;
        }
    }

    /// Whether the candidates belong to an older snapshot than the turns do.
    pub(super) fn is_stale(&self, candidates: &impl Candidates) -> bool {
        candidates.generation() != self.generation
    }

    /// The index of a turn among candidates that may belong to an older snapshot than the turns do.
    pub(super) fn index(&self, turn: &Turn, candidates: &impl Candidates) -> Option<usize> {
        if candidates.generation() == self.generation {
            return Some(turn.index);
        }
        (0..candidates.len()).find(|&index| candidates.id(index) == turn.id)
    }
}
