//! How a pool chooses: the policy and its settings.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::fmt;

/// How a pool chooses. A setting that the policy does not know is refused.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// One of [`crate::policy::NAMES`].
    pub name: String,
    /// Where the key of a request is found: see [`crate::key::KeySource`].
    #[serde(default)]
    pub key: Option<String>,
    /// The compiled function of a policy written in Python.
    #[serde(default)]
    pub score: Option<Score>,
    /// The time constant with which a peak of response times decays, in milliseconds.
    #[serde(default)]
    pub decay_ms: Option<u64>,
    /// Where `prequal` asks an endpoint for its load.
    #[serde(default)]
    pub probe_path: Option<String>,
    /// How long the answer may take, in milliseconds.
    #[serde(default)]
    pub probe_timeout_ms: Option<u64>,
    /// Probes for each request; a fraction is added up.
    #[serde(default)]
    pub probes_per_request: Option<f64>,
    /// Probes a second, for the whole pool, at the most.
    #[serde(default)]
    pub probe_rate_max: Option<u32>,
    /// Probes that are on their way at once, at the most.
    #[serde(default)]
    pub probes_in_flight_max: Option<u32>,
    /// The quantile of requests in flight above which an endpoint counts as hot.
    #[serde(default)]
    pub q_rif: Option<f64>,
    /// The least number of points on a ring.
    #[serde(default)]
    pub ring_size: Option<u32>,
    /// The entries of a table, a prime.
    #[serde(default)]
    pub table_size: Option<u32>,
    /// How much more than its share of what is in flight an endpoint may carry; above 1.
    #[serde(default)]
    pub balance: Option<f64>,
    /// The name of the cookie that holds a session.
    #[serde(default)]
    pub cookie: Option<String>,
    /// Whether it is sent over TLS alone; `None` = where it was set over TLS.
    #[serde(default)]
    pub secure: Option<bool>,
    /// Whether it is kept from scripts.
    #[serde(default)]
    pub http_only: Option<bool>,
    /// Which requests from other sites it goes with.
    #[serde(default)]
    pub same_site: Option<SameSite>,
    /// How long it is kept, in milliseconds; `None` = as long as the browser runs.
    #[serde(default)]
    pub max_age_ms: Option<u64>,
    /// What signs it.
    #[serde(default)]
    pub secret: Option<Secret>,
}

/// Which requests from other sites a cookie goes with (RFC 6265bis, section 5.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SameSite {
    /// Those that lead to the site.
    #[default]
    Lax,
    /// None.
    Strict,
    /// All; browsers then want `Secure`.
    None,
}

/// What must not be seen. It is written in hexadecimal digits, and never shown.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// The secret itself.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The error does not hold what is wrong with it.
        let broken = || D::Error::custom("a secret is written in pairs of hexadecimal digits");
        let digits: Option<Vec<u8>> =
            text.chars().map(|digit| digit.to_digit(16).map(|value| value as u8)).collect();
        let digits = digits.filter(|digits| digits.len().is_multiple_of(2)).ok_or_else(broken)?;
        Ok(Self(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()))
    }
}

impl Policy {
    /// What people call it.
    pub fn label(&self) -> &str {
        self.score.as_ref().map_or(&self.name, |score| &score.label)
    }
}

/// A policy written in Python, compiled to native code.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// What people call it: `"module:function"`.
    pub label: String,
    /// Where the compiled function is; see [`crate::native::Native::of`]. 0 = it is interpreted elsewhere.
    pub address: u64,
    /// Whether two are drawn by weight instead of all compared, however few there are.
    pub of_two: bool,
    /// The names of the facts that it reads; `None` = all, as far as anyone knows.
    #[serde(default)]
    pub reads: Option<Vec<String>>,
}
