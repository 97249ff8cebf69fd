//! The loads at which an endpoint leaves the rotation.

/// The loads at which an endpoint leaves the rotation; `f32::INFINITY` and `u32::MAX` stand for off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// In flight at once.
    pub requests: u32,
    /// Smoothed response time, in seconds.
    pub latency_s: f32,
    /// Both directions together.
    pub bytes_per_second: f32,
}

impl Threshold {
    /// No threshold at all.
    pub const OFF: Self =
        Self { requests: u32::MAX, latency_s: f32::INFINITY, bytes_per_second: f32::INFINITY };

    /// Whether neither time nor bytes have a threshold.
    pub(crate) fn requests_only(&self) -> bool {
        self.latency_s.to_bits() & self.bytes_per_second.to_bits() == f32::INFINITY.to_bits()
    }
}

/// The load that keeps an endpoint out of the rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// As many requests in flight as its threshold allows.
    Requests,
    /// Its smoothed response time.
    Latency,
    /// Its byte rate.
    BytesPerSecond,
}
