//! The one clock of the process, as the core wants it.

use std::time::{Duration, Instant};
use steelyard_core::time::Nanos;

/// Counts from when the engine was made. It begins at one second, so that zero can mean *never*.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

const ORIGIN: Duration = Duration::from_secs(1);

impl Clock {
    /// Begins to count.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// This moment.
    pub fn now(&self) -> Nanos {
        Nanos::from(self.0.elapsed() + ORIGIN)
    }

    /// A moment of this clock as the runtime's timer wants it.
    pub fn instant(&self, at: Nanos) -> tokio::time::Instant {
        let span = Duration::from(at).saturating_sub(ORIGIN);
        // A moment beyond what the system's clock can hold is as good as never.
        let never = Duration::from_hours(24 * 365);
        tokio::time::Instant::from_std(self.0.checked_add(span).unwrap_or_else(|| Instant::now() + never))
    }
}
