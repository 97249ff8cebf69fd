//! The one clock of the process, as the core wants it.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};
use steelyard_core::time::Nanos;

const SECOND: u64 = 1_000_000_000;

/// Counts from when the engine was made. It begins at one second, so that zero can mean *never*.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The system's monotonic clock, in nanoseconds, a second before the engine was made.
    origin: u64,
    /// The same moment as the runtime's timer counts.
    instant: Instant,
}

impl Clock {
    /// Begins to count.
    pub fn start() -> Self {
        Self { origin: monotonic().saturating_sub(SECOND), instant: Instant::now() }
    }

    /// This moment.
    pub fn now(&self) -> Nanos {
        Nanos(monotonic().saturating_sub(self.origin))
    }

    /// A moment of this clock as the runtime's timer wants it.
    pub fn instant(&self, at: Nanos) -> tokio::time::Instant {
        let span = Duration::from_nanos(at.0.saturating_sub(SECOND));
        // A moment beyond what the system's clock can hold is as good as never.
        let never = Duration::from_hours(24 * 365);
        tokio::time::Instant::from_std(
            self.instant.checked_add(span).unwrap_or_else(|| Instant::now() + never),
        )
    }
}

/// Whole numbers all the way: what the standard library's types add to the reading costs as much as the reading.
fn monotonic() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // It counts from the start of the machine: neither part is ever negative.
    (time.tv_sec as u64) * SECOND + time.tv_nsec as u64
}
