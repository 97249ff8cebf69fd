//! What a policy reads of an endpoint's load: the endpoint itself, or, in a simulation, an older copy of it.
//!
//! Only what policies compare goes through here. Verdicts, thresholds and slots are always the live ones.

use crate::endpoint::Endpoint;

/// How an endpoint's load is read.
pub trait Reading {
    /// Requests in flight.
    fn in_flight(&self, endpoint: &Endpoint) -> u32;
}

/// The endpoint as it is at this moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Live;

impl Reading for Live {
    fn in_flight(&self, endpoint: &Endpoint) -> u32 {
        endpoint.in_flight()
    }
}
