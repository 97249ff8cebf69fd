//! The load that endpoints report in a field of their responses, and what follows from it.
//!
//! The form is that of ORCA (Open Request Cost Aggregation; `xds/data/orca/v3/orca_load_report.proto`), see
//! [`Metrics`]. As a *weight* the rule is gRPC's proposal A58: `qps / (utilisation + eps / qps x penalty)`, used from
//! `blackout` after the first report until `expiration` after the last, and computed anew every second. As a *load* the
//! utilisation itself is compared.

mod metrics;

pub use metrics::{Metrics, REPORT_BYTES_MAX};

use crate::document::{self, ReportedAs};
use crate::load::{Smoothed, Stamp};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::time::Nanos;

/// The name of the field, unless configured.
pub const FIELD: &str = "endpoint-load-metrics";
/// What [`Metric`] is written with for one of the named metrics.
pub const NAMED: &str = "named_metrics.";
/// How long a report counts, unless configured.
const EXPIRATION_MS: u64 = 180_000;
/// How long reports are not used after the first, unless configured.
const BLACKOUT_MS: u64 = 10_000;
/// How much errors weigh, unless configured.
const ERROR_PENALTY: f64 = 1.0;
/// An idle endpoint's utilisation: of 0, a request in flight would make no more.
const UTILISATION_MIN: f32 = 0.01;

/// Which number of a report is the utilisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metric {
    /// The application's where it is above 0, else that of the processor.
    Any,
    /// `application_utilization`
    Application,
    /// `cpu_utilization`
    Cpu,
    /// One of the named metrics.
    Named(Box<str>),
}

impl Metric {
    /// The metric that is written like this; `None` for one that there is not.
    pub fn of(written: Option<&str>) -> Option<Self> {
        Some(match written {
            None => Self::Any,
            Some("application_utilization") => Self::Application,
            Some("cpu_utilization") => Self::Cpu,
            Some(other) => {
                Self::Named(other.strip_prefix(NAMED).filter(|name| metrics::is_name(name))?.into())
            }
        })
    }

    /// The name, where it is one of the named ones.
    fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name),
            _ => None,
        }
    }
}

/// What the configuration says of reports.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The name of the field.
    pub field: Box<str>,
    /// Whether clients see the field.
    pub passes: bool,
    /// What a report is used as.
    pub used_as: ReportedAs,
    metric: Metric,
    expiration: Nanos,
    blackout: Nanos,
    error_penalty: f32,
}

impl Rules {
    /// As configured; everything has been checked.
    pub fn new(config: &document::Reported) -> Self {
        Self {
            field: config.field.as_deref().unwrap_or(FIELD).into(),
            passes: config.pass,
            used_as: config.used_as,
            metric: Metric::of(config.metric.as_deref()).unwrap_or(Metric::Any),
            expiration: Nanos::from_millis(config.expiration_ms.unwrap_or(EXPIRATION_MS)),
            blackout: Nanos::from_millis(config.blackout_ms.unwrap_or(BLACKOUT_MS)),
            error_penalty: config.error_penalty.unwrap_or(ERROR_PENALTY) as f32,
        }
    }
}

/// What became of a response's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// There was none.
    Nothing,
    /// It is in force.
    Taken,
    /// It is sound, but what is needed of it is not there or 0.
    Useless,
    /// It is not of the form, or there were several.
    Malformed,
}

/// What one endpoint has reported. Written by every worker, each time as a whole enough: what is read are estimates.
#[derive(Debug, Default)]
pub struct Reported {
    /// The weight that the last report comes to.
    weight: AtomicU32,
    /// When the last of use came; 0 = never.
    last: AtomicU64,
    /// When the first of use came, since the endpoint joined or came back or its reports expired; 0 = not yet.
    first: AtomicU64,
    utilisation: Smoothed,
    /// Requests in flight when the utilisation came, but for the one that it came with.
    beside: AtomicU32,
}

impl Reported {
    /// Takes in the values of the field in one response of an endpoint that has so many requests in flight.
    pub fn hear<'v>(
        &self,
        mut values: impl Iterator<Item = &'v [u8]>,
        rules: &Rules,
        in_flight: u32,
        now: Nanos,
    ) -> Heard {
        let Some(value) = values.next() else { return Heard::Nothing };
        let metrics = if values.next().is_some() { None } else { Metrics::read(value, rules.metric.name()) };
        let Some(metrics) = metrics else { return Heard::Malformed };
        let Some(utilisation) = metrics.utilisation(&rules.metric) else { return Heard::Useless };
        if rules.used_as == ReportedAs::Weight {
            let Some(weight) = weight(utilisation, &metrics, rules.error_penalty) else {
                return Heard::Useless;
            };
            self.weight.store(weight.to_bits(), Ordering::Relaxed);
            let _ = self.first.compare_exchange(0, now.0.max(1), Ordering::Relaxed, Ordering::Relaxed);
        }
        self.utilisation.replace(utilisation, now);
        self.beside.store(in_flight.saturating_sub(1), Ordering::Relaxed);
        self.last.store(now.0.max(1), Ordering::Relaxed);
        Heard::Taken
    }

    /// It joins or comes back: its first reports say little.
    pub(crate) fn begin(&self) {
        self.first.store(0, Ordering::Relaxed);
    }

    /// The weight that counts now. Called by the control thread alone.
    pub fn weight(&self, rules: &Rules, now: Nanos) -> Option<f32> {
        let (last, first) = (self.last()?, self.first.load(Ordering::Relaxed));
        if now.since(last) >= rules.expiration {
            self.first.store(0, Ordering::Relaxed);
            return None;
        }
        if first == 0 || now.since(Nanos(first)) < rules.blackout {
            return None;
        }
        Some(f32::from_bits(self.weight.load(Ordering::Relaxed))).filter(|&weight| weight > 0.0)
    }

    /// The utilisation that was reported last.
    pub fn utilisation(&self) -> Option<f32> {
        self.utilisation.get()
    }

    /// The utilisation with these requests in flight. Those beyond the ones there were with the report raise it in
    /// proportion, so that many do not follow one report. An old report fades towards what is usual, as a time does of
    /// one that is no longer asked; that is also what counts for an endpoint that does not report.
    pub fn load(&self, usual: f32, burden: f32, now: Stamp) -> f32 {
        let (utilisation, beside) = match self.utilisation.fading(|| usual, now) {
            Some(utilisation) => (utilisation, self.beside.load(Ordering::Relaxed)),
            None => (usual, 0),
        };
        let more = (1.0 + burden) / (1.0 + beside as f32);
        utilisation.max(UTILISATION_MIN) * more.max(1.0)
    }

    /// When the last of use came.
    pub fn last(&self) -> Option<Nanos> {
        Some(self.last.load(Ordering::Relaxed)).filter(|&last| last != 0).map(Nanos)
    }
}

/// The weight that a report comes to; `None` where its figures make none.
fn weight(utilisation: f32, metrics: &Metrics, penalty: f32) -> Option<f32> {
    let (qps, eps) = (metrics.qps?, metrics.eps.unwrap_or(0.0));
    let weight = qps / (utilisation + eps / qps * penalty);
    (qps > 0.0 && utilisation > 0.0 && weight.is_finite()).then_some(weight)
}

#[cfg(all(test, not(loom)))]
mod tests;
