//! What a balancer knows of what its policies compare: the present, or, in a simulation, what was so a while ago.
//!
//! Only what policies compare goes through here: requests in flight, response times, failures, bytes. What a balancer
//! does itself it knows at once: slots and thresholds, the queue, verdicts, turns, tokens of the idle.

use crate::endpoint::Endpoint;
use crate::load::Times;
use crate::time::Nanos;

/// How loads are known.
pub trait Reading {
    /// The endpoint as it is known.
    fn endpoint<'a>(&'a self, live: &'a Endpoint) -> &'a Endpoint;

    /// What is known of the pool's times.
    fn times<'a>(&'a self, live: &'a Times) -> &'a Times;

    /// The moment at which that was so.
    fn moment(&self, now: Nanos) -> Nanos;
}

/// Everything as it is at this moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Live;

impl Reading for Live {
    fn endpoint<'a>(&'a self, live: &'a Endpoint) -> &'a Endpoint {
        live
    }

    fn times<'a>(&'a self, live: &'a Times) -> &'a Times {
        live
    }

    fn moment(&self, now: Nanos) -> Nanos {
        now
    }
}
