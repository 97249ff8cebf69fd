//! `join_idle_queue`: the endpoint that has been idle for the longest, in constant time; where none is idle, any, at
//! random by weight.
//!
//! Y. Lu et al., "Join-Idle-Queue: A novel load balancing algorithm for dynamically scalable web services", 2011, in
//! the variant in which a token is withdrawn when its endpoint has been hit otherwise. Weights decide only where
//! nobody is idle. One in slow start lets turns pass, and then waits again at the end.

use super::weighted_random::{self, Alias};
use super::{Candidates, Rotation, accepts};
use crate::random::{Generator, below};
use crate::sync::{Mutex, lock};
use rand::{Rng, SeedableRng};
use std::collections::{HashMap, VecDeque};

/// The idle endpoints of one pool, who has waited longest first: one queue per process, kept across snapshots.
///
/// An endpoint holds one token at most. It joins when its last request ends. Whoever finds a token whose endpoint is
/// busy, out or gone withdraws it; an endpoint that returns without having carried a request is enlisted.
#[derive(Debug)]
pub struct IdleQueue(Mutex<Line>);

#[derive(Debug)]
struct Line {
    /// The endpoints of this snapshot, by their index in it.
    seats: Vec<Seat>,
    generation: Option<u64>,
    /// Indices of seats.
    tokens: VecDeque<u32>,
    /// Decides the order of those who are enlisted together.
    rng: Generator,
}

#[derive(Debug, Clone, Copy)]
struct Seat {
    id: u32,
    holds_token: bool,
}

#[inline(never)]
pub(super) fn pick(
    alias: &Alias,
    candidates: &impl Candidates,
    rotation: &Rotation,
    rng: &mut impl Rng,
) -> Option<usize> {
    rotation.idle.take(candidates).or_else(|| weighted_random::pick(alias, candidates, rng))
}

impl IdleQueue {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(Line {
            seats: Vec::new(),
            generation: None,
            tokens: VecDeque::new(),
            rng: Generator::seed_from_u64(seed),
        }))
    }

    /// Takes a slot of the endpoint whose token is the oldest.
    fn take(&self, candidates: &impl Candidates) -> Option<usize> {
        let mut line = lock(&self.0);
        line.follow(candidates);
        line.take(candidates)
    }

    /// An endpoint's last request has ended: it joins, once. `place` is where it is likely to be found.
    pub(crate) fn join(&self, id: u32, place: usize) {
        let mut line = lock(&self.0);
        let is_here = |seat: &Seat| seat.id == id;
        let place = if line.seats.get(place).is_some_and(is_here) {
            Some(place)
        } else {
            // It has moved with a reload, or left.
            line.seats.iter().position(is_here)
        };
        if let Some(place) = place {
            line.join(place);
        }
    }

    /// Enlists whoever is idle, may take a request and holds no token, in random order: those who joined the pool or
    /// returned to it.
    pub(crate) fn enlist(&self, candidates: &impl Candidates) {
        let mut line = lock(&self.0);
        line.follow(candidates);
        line.enlist(candidates);
    }
}

impl Line {
    fn join(&mut self, place: usize) {
        if !std::mem::replace(&mut self.seats[place].holds_token, true) {
            self.tokens.push_back(place as u32);
        }
    }

    fn withdraw(&mut self, position: usize) {
        // Nearly always it is the first.
        let place = if position == 0 { self.tokens.pop_front() } else { self.tokens.remove(position) };
        if let Some(place) = place {
            self.seats[place as usize].holds_token = false;
        }
    }

    fn take(&mut self, candidates: &impl Candidates) -> Option<usize> {
        let current = self.generation == Some(candidates.generation());
        let mut position = 0;
        for _ in 0..self.tokens.len() {
            let Some(&place) = self.tokens.get(position) else { break };
            let Some(index) = self.index(place, candidates, current) else {
                // Unknown to the older snapshot of this request.
                position += 1;
                continue;
            };
            if candidates.eligible(index) {
                if candidates.in_flight(index) == 0 && !accepts(candidates, index, &mut self.rng) {
                    self.tokens.remove(position);
                    self.tokens.push_back(place);
                    continue;
                }
                if candidates.take_idle(index) {
                    self.withdraw(position);
                    return Some(index);
                }
            }
            // The token of an endpoint that only this request, or its level, cannot use stays where it is.
            let kept = candidates.excluded(index) || !current && candidates.in_flight(index) == 0;
            if kept {
                position += 1;
            } else {
                self.withdraw(position);
            }
        }
        None
    }

    /// The index of a seat among candidates that may belong to an older snapshot.
    fn index(&self, place: u32, candidates: &impl Candidates, current: bool) -> Option<usize> {
        let place = place as usize;
        if current {
            return Some(place);
        }
        let id = self.seats[place].id;
        (0..candidates.len()).find(|&index| candidates.id(index) == id)
    }

    /// Follows a new set: who stays keeps its token, who is gone loses it, who joins is enlisted.
    fn follow(&mut self, candidates: &impl Candidates) {
        if self.generation.is_none_or(|generation| generation < candidates.generation()) {
            self.begin(candidates);
        }
    }

    #[cold]
    #[inline(never)]
    fn begin(&mut self, candidates: &impl Candidates) {
        self.generation = Some(candidates.generation());
        let seat_of: HashMap<u32, usize> =
            (0..candidates.len()).map(|index| (candidates.id(index), index)).collect();
        let tokens = std::mem::take(&mut self.tokens);
        let stay: Vec<usize> = tokens
            .into_iter()
            .filter_map(|place| seat_of.get(&self.seats[place as usize].id).copied())
            .collect();
        self.seats = (0..candidates.len())
            .map(|index| Seat { id: candidates.id(index), holds_token: false })
            .collect();
        for place in stay {
            self.join(place);
        }
        self.enlist(candidates);
    }

    fn enlist(&mut self, candidates: &impl Candidates) {
        if self.generation != Some(candidates.generation()) {
            return;
        }
        let mut joining: Vec<usize> = (0..self.seats.len())
            .filter(|&place| !self.seats[place].holds_token)
            .filter(|&place| candidates.in_flight(place) == 0 && candidates.eligible(place))
            .collect();
        while !joining.is_empty() {
            let place = joining.swap_remove(below(&mut self.rng, joining.len()));
            self.join(place);
        }
    }
}
