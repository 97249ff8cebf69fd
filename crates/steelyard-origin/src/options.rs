//! What an origin can be asked for, from flags and from JSON alike.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::behaviour::Behaviour;

/// The options of one origin. Every field has a default: an idle port, no delay, no fault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Answered as `x-origin`; absent, it is the port.
    pub name: Option<String>,
    /// How long each ordinary request takes (not probes), at least.
    #[serde(deserialize_with = "duration")]
    pub delay: Duration,
    /// How many requests are served at once; others wait, first come first served. Absent = no bound.
    pub concurrency: Option<usize>,
    /// The status of an ordinary answer.
    pub status: u16,
    /// The size of an ordinary answer's body.
    pub body_bytes: usize,
    /// Threads that serve.
    pub workers: usize,
    /// A path without its first slash, such as `reset` or `short/10`: every request but probes and
    /// controls is answered as that path would be.
    #[serde(deserialize_with = "fault")]
    pub fault: Option<Behaviour>,
    /// A keep-alive connection idle for longer is closed, unannounced. Zero = never.
    #[serde(deserialize_with = "duration")]
    pub idle_timeout: Duration,
    /// Receives the port, once bound; written whole or not at all.
    pub port_file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            name: None,
            delay: Duration::ZERO,
            concurrency: None,
            status: 200,
            body_bytes: 62,
            workers: 1,
            fault: None,
            idle_timeout: Duration::ZERO,
            port_file: None,
        }
    }
}

/// An option that is unknown, lacks its value or has a wrong one.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// Something that is no `--flag VALUE`.
    #[error("expected an option such as --listen, not {0:?}")]
    NotAnOption(String),
    /// A flag at the end of the line.
    #[error("--{0} needs a value")]
    NoValue(String),
    /// A value that does not fit.
    #[error(transparent)]
    Value(#[from] serde_json::Error),
    /// A number outside its bounds.
    #[error("{0}")]
    Bounds(&'static str),
}

impl Options {
    /// Reads the JSON form, an object whose keys are the fields.
    pub fn from_json(text: &str) -> Result<Self, OptionsError> {
        serde_json::from_str::<Self>(text)?.checked()
    }

    /// Reads `--flag VALUE` and `--flag=VALUE` pairs.
    pub fn from_flags(arguments: &[String]) -> Result<Self, OptionsError> {
        let mut fields = Map::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let flag =
                argument.strip_prefix("--").ok_or_else(|| OptionsError::NotAnOption(argument.clone()))?;
            let (flag, text) = match flag.split_once('=') {
                Some((flag, text)) => (flag, text.to_owned()),
                None => (flag, rest.next().ok_or_else(|| OptionsError::NoValue(flag.to_owned()))?.clone()),
            };
            let number = matches!(flag, "concurrency" | "status" | "body-bytes" | "workers")
                .then(|| text.parse::<u64>());
            let value = match number {
                Some(Ok(number)) => Value::from(number),
                _ => Value::from(text),
            };
            fields.insert(flag.replace('-', "_"), value);
        }
        serde_json::from_value::<Self>(Value::Object(fields))?.checked()
    }

    fn checked(self) -> Result<Self, OptionsError> {
        if !(200..=599).contains(&self.status) {
            return Err(OptionsError::Bounds("status must be from 200 to 599"));
        }
        if !(1..=256).contains(&self.workers) {
            return Err(OptionsError::Bounds("workers must be from 1 to 256"));
        }
        if self.concurrency == Some(0) {
            return Err(OptionsError::Bounds("concurrency must be at least 1"));
        }
        let fit = |name: &String| name.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if !self.name.as_ref().is_none_or(fit) {
            return Err(OptionsError::Bounds("name must be plain ASCII"));
        }
        Ok(self)
    }
}

/// A duration with its unit: `250us`, `10ms`, `2s`, `1m`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text)
        .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no duration such as \"10ms\"")))
}

fn fault<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Behaviour>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    Behaviour::fault(&text)
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no fault such as \"reset\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &str) -> Result<Options, OptionsError> {
        Options::from_flags(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_and_json_say_the_same() {
        let by_flags =
            flags("--listen 127.0.0.2:81 --name a --delay 10ms --concurrency 2 --body-bytes=7").unwrap();
        let by_json = Options::from_json(
            r#"{"listen":"127.0.0.2:81","name":"a","delay":"10ms","concurrency":2,"body_bytes":7}"#,
        )
        .unwrap();
        assert_eq!(format!("{by_flags:?}"), format!("{by_json:?}"));
        assert_eq!(by_flags.delay, Duration::from_millis(10));
    }

    #[test]
    fn a_name_of_digits_stays_a_name() {
        assert_eq!(flags("--name 9001").unwrap().name.as_deref(), Some("9001"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for line in [
            "--listen",
            "listen",
            "--wrong 1",
            "--delay 10",
            "--delay 10h",
            "--status 99",
            "--fault fire",
            "--concurrency 0",
            "--workers many",
        ] {
            assert!(flags(line).is_err(), "{line}");
        }
    }
}
