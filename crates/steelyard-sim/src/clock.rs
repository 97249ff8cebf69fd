//! Virtual time: nanoseconds, as the core wants them.

use steelyard_core::time::Nanos;

/// Where a run begins: at one second, as the proxy's clock does, so that zero can mean *never*.
pub const ORIGIN: Nanos = Nanos(1_000_000_000);
/// A moment that does not come.
pub const NEVER: Nanos = Nanos(u64::MAX);

/// The moment so many seconds after the origin.
pub fn at(seconds: f64) -> Nanos {
    ORIGIN.plus(span(seconds))
}

/// A span of so many seconds.
pub fn span(seconds: f64) -> Nanos {
    Nanos((seconds * 1e9) as u64)
}

/// A span in seconds.
pub fn seconds(span: Nanos) -> f64 {
    // Fewer than 2^63 nanoseconds, which is what a processor converts at once.
    span.0 as i64 as f64 * 1e-9
}
