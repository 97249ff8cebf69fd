//! What workers count.

use crate::histogram::{Histogram, bump};
use crate::sync::AtomicU64;

/// What one worker has counted at one endpoint. Written by that worker alone.
#[derive(Debug, Default)]
pub struct Cells {
    /// Attempts sent here.
    pub requests: AtomicU64,
    /// Attempts that failed.
    pub failures: AtomicU64,
    /// Attempts sent here after another had failed.
    pub retries: AtomicU64,
    /// Bytes from the endpoint.
    pub bytes_in: AtomicU64,
    /// Bytes to the endpoint.
    pub bytes_out: AtomicU64,
    /// Load reports in its responses that are in force, are of no use, and are not of the form.
    pub reports: [AtomicU64; 3],
    /// Response times.
    pub times: Histogram,
}

impl Cells {
    /// Counts bytes from (`inward`) or to the endpoint.
    pub fn count_bytes(&self, inward: usize, outward: usize) {
        if inward > 0 {
            bump(&self.bytes_in, inward as u64);
        }
        if outward > 0 {
            bump(&self.bytes_out, outward as u64);
        }
    }
}
