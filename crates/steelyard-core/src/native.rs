//! Calling a score that was compiled elsewhere: the one place where the core trusts an address.

use crate::document::Score;
use crate::policy::{Facts, Reads};
use std::ptr::with_exposed_provenance;

/// Takes the seven [`Facts`] in order and returns the score.
type Function = extern "C" fn(f64, f64, f64, f64, f64, f64, f64) -> f64;

/// A compiled score.
#[derive(Debug, Clone, Copy)]
pub struct Native {
    function: Function,
    reads: Reads,
}

impl Native {
    /// The function that a document names; `None` where there can be none.
    ///
    /// Whoever makes the document compiles the function with this very signature, checks that it neither raises nor
    /// waits, and keeps it for the life of the process: a snapshot may name it for as long as any request lasts.
    pub fn of(score: &Score) -> Option<Self> {
        let address = usize::try_from(score.address).ok().filter(|&address| address != 0)?;
        // SAFETY: by the contract above a function of that type is there, and stays; it is not null.
        let function =
            unsafe { std::mem::transmute::<*const (), Function>(with_exposed_provenance(address)) };
        Some(Self { function, reads: Reads::of(score.reads.as_deref()) })
    }

    /// The facts that it reads.
    pub fn reads(self) -> Reads {
        self.reads
    }

    /// The score of one endpoint.
    pub fn score(self, facts: &Facts) -> f64 {
        (self.function)(
            facts.in_flight,
            facts.latency,
            facts.error_rate,
            facts.weight,
            facts.bytes_per_second,
            facts.age,
            facts.zone_match,
        )
    }
}
