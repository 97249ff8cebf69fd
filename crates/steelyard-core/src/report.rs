//! What an endpoint says of its own load when it is asked, and how well it answers.
//!
//! Two forms are read: the JSON object `{"in_flight": 3, "latency_ms": 12.5}`, which the middleware sends, and the
//! field `x-steelyard-load: in_flight=3, latency_ms=12.5`. Anything else in either is no report.

use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::time::Nanos;
use serde::Deserialize;

/// The largest report that is read, in bytes.
pub const REPORT_BYTES_MAX: usize = 1024;
/// The name of the field, in lower case.
pub const REPORT_FIELD: &str = "x-steelyard-load";
/// More than any server carries at once; a larger number is no report.
const IN_FLIGHT_MAX: u32 = 1_000_000;
/// An hour; a longer latency is no report.
const LATENCY_MS_MAX: f32 = 3_600_000.0;
/// So many questions in a row without an answer make an endpoint silent.
const SILENT_AFTER: u32 = 3;
/// How often a silent endpoint is asked all the same.
const SILENT_INTERVAL: Nanos = Nanos::from_millis(5_000);

/// A load, as an endpoint reports it or as it is estimated from here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// Requests in flight at the endpoint, whoever sent them.
    pub in_flight: u32,
    /// How long a request takes that comes to so many others, in seconds.
    pub latency_s: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    in_flight: u32,
    latency_ms: f32,
}

impl Report {
    /// Reads the object.
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > REPORT_BYTES_MAX {
            return None;
        }
        serde_json::from_slice::<Written>(bytes).ok()?.checked()
    }

    /// Reads the value of the field.
    pub fn from_field(value: &str) -> Option<Self> {
        let (mut in_flight, mut latency_ms) = (None, None);
        for part in value.split(',') {
            let (name, number) = part.trim().split_once('=')?;
            let twice = match name {
                "in_flight" => in_flight.replace(number.parse().ok()?).is_some(),
                "latency_ms" => latency_ms.replace(number.parse().ok()?).is_some(),
                _ => return None,
            };
            if twice {
                return None;
            }
        }
        Written { in_flight: in_flight?, latency_ms: latency_ms? }.checked()
    }
}

impl Written {
    fn checked(self) -> Option<Report> {
        let sound = self.in_flight <= IN_FLIGHT_MAX && (0.0..=LATENCY_MS_MAX).contains(&self.latency_ms);
        sound.then(|| Report { in_flight: self.in_flight, latency_s: self.latency_ms / 1e3 })
    }
}

/// How an endpoint has answered the question for its load. Written by whoever asks, read by every pick.
#[derive(Debug, Default)]
pub struct Reporting {
    /// Questions in a row that got no answer.
    misses: AtomicU32,
    /// Not to be asked before.
    next: AtomicU64,
    /// Requests in flight in the upper half, the bits of the latency in the lower.
    last: AtomicU64,
    /// When the last report came; 0 = never.
    at: AtomicU64,
}

impl Reporting {
    /// An answer has come.
    pub(crate) fn answered(&self, report: Report, now: Nanos) {
        self.misses.store(0, Ordering::Relaxed);
        let latency = u64::from(report.latency_s.to_bits());
        self.last.store(u64::from(report.in_flight) << 32 | latency, Ordering::Relaxed);
        self.at.store(now.0.max(1), Ordering::Relaxed);
    }

    /// None has.
    pub(crate) fn missed(&self, now: Nanos) {
        let misses = self.misses.load(Ordering::Relaxed).saturating_add(1);
        self.misses.store(misses, Ordering::Relaxed);
        if misses >= SILENT_AFTER {
            self.next.store(now.plus(SILENT_INTERVAL).0, Ordering::Relaxed);
        }
    }

    /// Whether it does not report, as far as is known; then its load is estimated from here.
    pub fn is_silent(&self) -> bool {
        self.misses.load(Ordering::Relaxed) >= SILENT_AFTER
    }

    /// Whether a silent one may be asked again.
    pub(crate) fn is_due(&self, now: Nanos) -> bool {
        now.0 >= self.next.load(Ordering::Relaxed)
    }

    /// The last report and when it came.
    pub fn last(&self) -> Option<(Report, Nanos)> {
        let at = self.at.load(Ordering::Relaxed);
        let last = self.last.load(Ordering::Relaxed);
        let report = Report { in_flight: (last >> 32) as u32, latency_s: f32::from_bits(last as u32) };
        (at != 0).then_some((report, Nanos(at)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const THREE: Option<Report> = Some(Report { in_flight: 3, latency_s: 0.0125 });

    #[test]
    fn both_forms_say_the_same() {
        assert_eq!(Report::from_json(br#"{"in_flight": 3, "latency_ms": 12.5}"#), THREE);
        assert_eq!(Report::from_field("in_flight=3, latency_ms=12.5"), THREE);
        assert_eq!(Report::from_field("latency_ms=12.5,in_flight=3"), THREE);
    }

    #[test]
    fn anything_else_is_no_report() {
        for json in [
            "",
            "3",
            "{}",
            r#"{"in_flight": 3}"#,
            r#"{"in_flight": -1, "latency_ms": 1}"#,
            r#"{"in_flight": 1.5, "latency_ms": 1}"#,
            r#"{"in_flight": 1000001, "latency_ms": 1}"#,
            r#"{"in_flight": 1, "latency_ms": -1}"#,
            r#"{"in_flight": 1, "latency_ms": 1e9}"#,
            r#"{"in_flight": 1, "latency_ms": null}"#,
            r#"{"in_flight": 1, "latency_ms": 1, "more": 1}"#,
            r#"{"in_flight": 1, "latency_ms": 1} x"#,
        ] {
            assert_eq!(Report::from_json(json.as_bytes()), None, "{json}");
        }
        let long = format!(r#"{{"in_flight": 1, "latency_ms": 1{}}}"#, " ".repeat(REPORT_BYTES_MAX));
        assert_eq!(Report::from_json(long.as_bytes()), None);
        for field in [
            "",
            "in_flight=3",
            "in_flight=3, latency_ms=NaN",
            "in_flight=3, latency_ms=inf",
            "in_flight=3, latency_ms=1, in_flight=4",
            "in_flight=3; latency_ms=1",
            "in_flight=3, latency_ms=1, more=1",
        ] {
            assert_eq!(Report::from_field(field), None, "{field}");
        }
    }
}
