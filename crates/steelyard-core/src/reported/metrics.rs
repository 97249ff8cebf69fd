//! Reading a report. Nothing is allocated and nothing is guessed: whatever is not of the form is no report.
//!
//! `TEXT cpu_utilization=0.3, application_utilization=0.7, rps_fractional=120, eps=2, named_metrics.queue=0.4`: names
//! and numbers, each name of ours once. `JSON {"cpu_utilization": 0.3, "named_metrics": {"queue": 0.4}}`: the same as the
//! JSON form of the protocol buffer, names in either of its two spellings. What we do not use is passed over, as long as
//! it is of the form. The binary form is not read.

use super::{Metric, NAMED};
use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The largest report that is read, in bytes.
pub const REPORT_BYTES_MAX: usize = 2_048;
/// The most numbers in a report of the text form.
const NUMBERS_MAX: usize = 64;
/// A larger number is none that any server reports.
const NUMBER_MAX: f32 = 1e9;

/// The numbers of a report that are of use.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Metrics {
    cpu: Option<f32>,
    application: Option<f32>,
    named: Option<f32>,
    /// Requests a second at the endpoint, whoever sends them.
    pub(super) qps: Option<f32>,
    /// Errors a second.
    pub(super) eps: Option<f32>,
}

impl Metrics {
    /// Reads a report, and of its named metrics the one that is `named`.
    pub fn read(value: &[u8], named: Option<&str>) -> Option<Self> {
        if value.len() > REPORT_BYTES_MAX {
            return None;
        }
        let (form, report) = std::str::from_utf8(value).ok()?.split_once(' ')?;
        match form {
            "TEXT" => Self::text(report, named),
            "JSON" => Self::json(report, named),
            _ => None,
        }
    }

    fn text(report: &str, named: Option<&str>) -> Option<Self> {
        let mut metrics = Self::default();
        for (place, part) in report.split(',').enumerate() {
            let (name, written) = part.trim_matches([' ', '\t']).split_once('=')?;
            let number = number(written).filter(|_| place < NUMBERS_MAX)?;
            let known = match name.strip_prefix(NAMED) {
                Some(metric) if is_name(metric) => {
                    named.is_some_and(|named| named == metric).then_some(&mut metrics.named)
                }
                None if is_name(name) => metrics.place(name),
                _ => return None,
            };
            if known.is_some_and(|known| known.replace(number).is_some()) {
                return None;
            }
        }
        Some(metrics)
    }

    fn json(report: &str, named: Option<&str>) -> Option<Self> {
        let mut read = serde_json::Deserializer::from_str(report);
        let metrics = Object { named }.deserialize(&mut read).ok()?;
        read.end().ok()?;
        Some(metrics)
    }

    /// Where the number of this name belongs, if it is of use.
    fn place(&mut self, name: &str) -> Option<&mut Option<f32>> {
        Some(match name {
            "cpu_utilization" | "cpuUtilization" => &mut self.cpu,
            "application_utilization" | "applicationUtilization" => &mut self.application,
            "rps_fractional" | "rpsFractional" => &mut self.qps,
            "eps" => &mut self.eps,
            _ => return None,
        })
    }

    /// The number that is the utilisation.
    pub(super) fn utilisation(&self, metric: &Metric) -> Option<f32> {
        match metric {
            Metric::Any => {
                self.application.filter(|&utilisation| utilisation > 0.0).or(self.cpu).or(self.application)
            }
            Metric::Application => self.application,
            Metric::Cpu => self.cpu,
            Metric::Named(_) => self.named,
        }
    }
}

/// Whether this can be the name of a number in the text form.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b'=' | b'"'))
}

/// A number in decimal digits, with a fraction and an exponent where there are any.
fn number(written: &str) -> Option<f32> {
    let decimal = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    // Words such as "inf" and signs in front are numbers to the parser.
    let begins = written.bytes().next().is_some_and(|first| first.is_ascii_digit());
    if !begins || !written.bytes().all(decimal) {
        return None;
    }
    sound(written.parse().ok()?)
}

fn sound(number: f64) -> Option<f32> {
    Some(number as f32).filter(|number| (0.0..=NUMBER_MAX).contains(number))
}

/// The whole report in JSON.
struct Object<'n> {
    named: Option<&'n str>,
}

/// The named metrics in it, of which one is of use.
struct Named<'n>(Option<&'n str>);

/// A name, which needs a place of its own only where it is written with escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Metrics;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Metrics, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Metrics;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a load report")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metrics, A::Error> {
        let mut metrics = Metrics::default();
        let mut has_named = false;
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let twice = if matches!(&*name, "named_metrics" | "namedMetrics") {
                metrics.named = map.next_value_seed(Named(self.named))?;
                std::mem::replace(&mut has_named, true)
            } else if let Some(known) = metrics.place(&name) {
                known.replace(sound_json(map.next_value()?)?).is_some()
            } else {
                map.next_value::<IgnoredAny>()?;
                false
            };
            if twice {
                return Err(serde::de::Error::custom("a name stands there twice"));
            }
        }
        Ok(metrics)
    }
}

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = Option<f32>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Option<f32>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Named<'_> {
    type Value = Option<f32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("named metrics")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<f32>, A::Error> {
        let mut found = None;
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let number = sound_json(map.next_value()?)?;
            if self.0.is_some_and(|named| named == name) && found.replace(number).is_some() {
                return Err(serde::de::Error::custom("a name stands there twice"));
            }
        }
        Ok(found)
    }
}

fn sound_json<E: serde::de::Error>(number: f64) -> Result<f32, E> {
    sound(number).ok_or_else(|| E::custom("a number is out of range"))
}
