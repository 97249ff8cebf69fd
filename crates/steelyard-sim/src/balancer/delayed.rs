//! What policies compare, as it was a while ago.
//!
//! A second set of figures that takes in everything as the live one does, with the moment at which it happened, only
//! later. Policies read it as of that moment: what decays has decayed as far as it had then.

use std::collections::VecDeque;
use steelyard_core::endpoint::{Address, Endpoint, Threshold};
use steelyard_core::health::Health;
use steelyard_core::load::Times;
use steelyard_core::pool::{Outcome, Pool};
use steelyard_core::reading::Reading;
use steelyard_core::report::Report;
use steelyard_core::time::Nanos;

/// What has happened at an endpoint, or what it has said.
#[derive(Debug, Clone, Copy)]
pub(super) enum News {
    Taken,
    Given,
    /// A good answer has begun after so many seconds.
    Taught(f32),
    Learned(Outcome, Option<Nanos>),
    /// What it said of its load, unless it did not answer.
    Reported(Option<Report>),
}

/// The figures that are always as old as the delay.
#[derive(Debug)]
pub(super) struct Delayed {
    delay: Nanos,
    /// By the endpoint's id.
    known: Vec<Endpoint>,
    times: Times,
    /// What is not known yet: when it happened, the endpoint's id, and what.
    coming: VecDeque<(Nanos, u32, News)>,
}

impl Delayed {
    pub fn new(delay: Nanos) -> Self {
        Self { delay, known: Vec::new(), times: Times::default(), coming: VecDeque::new() }
    }

    /// Makes room for the endpoint of this id.
    pub fn expect(&mut self, id: u32) {
        while self.known.len() <= id as usize {
            let next = self.known.len() as u32;
            // Nobody connects to it.
            let address = Address::Unix(next.to_string().into());
            self.known.push(Endpoint::new(next, address, 0, Health::new(false)));
        }
    }

    /// Something has happened; it will be known after the delay.
    pub fn note(&mut self, id: u32, news: News, now: Nanos) {
        self.coming.push_back((now, id, news));
    }

    /// Takes in what is known by now. Gives reports instead, which have a place of their own, with the moment at which
    /// they arrived.
    pub fn catch_up(&mut self, pool: &Pool, now: Nanos) -> Option<(u32, Option<Report>, Nanos)> {
        while let Some(&(at, id, news)) = self.coming.front().filter(|(at, ..)| at.plus(self.delay) <= now) {
            self.coming.pop_front();
            let endpoint = &self.known[id as usize];
            match news {
                News::Taken => {
                    endpoint.take(&Threshold::OFF, at);
                }
                News::Given => {
                    endpoint.give();
                }
                News::Taught(lasted_s) => pool.teach_into(&self.times, endpoint, lasted_s, at),
                News::Learned(outcome, lasted) => pool.learn_into(&self.times, endpoint, outcome, lasted, at),
                News::Reported(report) => return Some((id, report, at.plus(self.delay))),
            }
        }
        None
    }
}

impl Reading for Delayed {
    fn endpoint<'a>(&'a self, live: &'a Endpoint) -> &'a Endpoint {
        &self.known[live.id() as usize]
    }

    fn times<'a>(&'a self, _live: &'a Times) -> &'a Times {
        &self.times
    }

    fn moment(&self, now: Nanos) -> Nanos {
        // The clock begins before anything can happen.
        Nanos(now.0.saturating_sub(self.delay.0))
    }
}
