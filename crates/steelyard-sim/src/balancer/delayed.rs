//! Loads as they were a while ago.

use std::collections::VecDeque;
use steelyard_core::endpoint::Endpoint;
use steelyard_core::reading::Reading;
use steelyard_core::time::Nanos;

/// A copy of the requests in flight that is always as old as the delay.
#[derive(Debug)]
pub(super) struct Delayed {
    delay: Nanos,
    /// By the endpoint's id.
    in_flight: Vec<u32>,
    /// What is not known yet.
    coming: VecDeque<(Nanos, u32, i32)>,
}

impl Delayed {
    pub fn new(delay: Nanos) -> Self {
        Self { delay, in_flight: Vec::new(), coming: VecDeque::new() }
    }

    /// A count has changed; it will be known after the delay.
    pub fn note(&mut self, id: u32, change: i32, now: Nanos) {
        self.coming.push_back((now.plus(self.delay), id, change));
    }

    /// Takes in what is known by now.
    pub fn catch_up(&mut self, now: Nanos) {
        while let Some(&(_, id, change)) = self.coming.front().filter(|(at, ..)| *at <= now) {
            let id = id as usize;
            self.in_flight.resize(self.in_flight.len().max(id + 1), 0);
            self.in_flight[id] = self.in_flight[id].saturating_add_signed(change);
            self.coming.pop_front();
        }
    }
}

impl Reading for Delayed {
    fn in_flight(&self, endpoint: &Endpoint) -> u32 {
        self.in_flight.get(endpoint.id() as usize).copied().unwrap_or(0)
    }
}
