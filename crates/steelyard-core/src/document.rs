//! The one document that crosses from Python to the engine.
//!
//! Python has read the TOML, filled in every default and turned durations into milliseconds and sizes into
//! bytes. What is checked here is shape only; meaning (addresses, patterns, references) is checked where the
//! snapshot is built, so that each rule has one home. `None` always means *off*.

mod tls;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
pub use tls::{Certificate, ClientAuth, Hsts, ListenerTls, PoolTls, TlsVersion};

/// A whole configuration, with the run-time changes already laid over it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Data-plane threads; `None` = one for each core that this process may use.
    pub workers: Option<usize>,
    /// Where this process stands: endpoints of the same zone are preferred.
    #[serde(default)]
    pub zone: Option<String>,
    /// How long requests in flight may take to end when the process drains, in milliseconds.
    pub drain_timeout_ms: u64,
    /// In the order of the file.
    pub listeners: Vec<Listener>,
    /// First match wins.
    pub routes: Vec<Route>,
    /// In the order of the file.
    pub pools: Vec<Pool>,
}

/// An address, or several, that accept HTTP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Unique; it appears in metrics.
    pub name: String,
    /// `":8080"`, `"1.2.3.4:80"`, `"[::1]:80"` or `"unix:/path"`.
    pub bind: Vec<String>,
    /// Where requests go that no route claims; `None` = 404.
    pub pool: Option<String>,
    /// CIDRs whose forwarding headers are believed.
    pub trusted_proxies: Vec<String>,
    /// Whether `%2F` in a path is let through rather than answered 400.
    pub allow_encoded_slash: bool,
    /// TLS towards clients; `None` = clear text.
    #[serde(default)]
    pub tls: Option<ListenerTls>,
    /// The port of the same host that every request is sent to instead, over TLS; `None` = requests are served.
    #[serde(default)]
    pub redirect_https: Option<u16>,
    /// Bounds on what a client may send.
    pub limits: ListenerLimits,
    /// How long a client may take.
    pub timeouts: ListenerTimeouts,
}

/// Bounds on what a client may send.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerLimits {
    /// Open connections over all workers; `None` = bounded by descriptors.
    pub connections: Option<u32>,
    /// Bytes of one request head.
    pub header_bytes_max: u32,
    /// Fields of one request head.
    pub header_count_max: u32,
    /// Bytes of one request target.
    pub target_bytes_max: u32,
    /// Requests at once on one HTTP/2 connection.
    #[serde(default = "streams_max")]
    pub streams_max: u32,
    /// Requests that an HTTP/2 client may cancel within a minute, beside one for each that it lets be answered.
    #[serde(default = "resets_max")]
    pub resets_max: u32,
    /// Frames without content that an HTTP/2 client may send within a minute, beside one for every 32 bytes carried.
    #[serde(default = "control_frames_max")]
    pub control_frames_max: u32,
}

fn streams_max() -> u32 {
    128
}

fn resets_max() -> u32 {
    200
}

fn control_frames_max() -> u32 {
    1_000
}

/// How long a client may take, in milliseconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTimeouts {
    /// For a TLS handshake, from when the connection was accepted.
    #[serde(default)]
    pub handshake_ms: Option<u64>,
    /// For the whole request head, from its first byte.
    pub request_header_ms: Option<u64>,
    /// Between bytes of a request body.
    pub request_body_ms: Option<u64>,
    /// Between requests on one connection.
    pub idle_ms: Option<u64>,
}

/// Which requests go where.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The listener it belongs to; `None` = all of them.
    pub listener: Option<String>,
    /// Exact, or `"*.example.com"`.
    pub host: Option<String>,
    /// A prefix, `"=/exact"` or `"~regex"`.
    pub path: Option<String>,
    /// Fields that must be there with exactly this value; names in lower case.
    pub headers: BTreeMap<String, String>,
    /// What happens to a request that matches.
    pub action: Action,
    /// Whether the matched prefix is taken off before the request is forwarded.
    pub strip_prefix: bool,
    /// Fields set on the request before it is forwarded.
    pub set_headers: BTreeMap<String, String>,
    /// Fields removed from the request before it is forwarded.
    pub remove_headers: Vec<String>,
}

/// What happens to a request that matches a route.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// To this pool.
    Pool(String),
    /// To one of these pools, at random in proportion to the numbers.
    Split(Vec<(String, u32)>),
    /// 308 to this URL; the path and query are appended where it ends in `/`.
    Redirect(String),
    /// Answered here, with this status and an empty body.
    Respond(u16),
}

/// Endpoints that can stand in for each other.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Unique; it appears in metrics.
    pub name: String,
    /// How the pool chooses.
    pub policy: Policy,
    /// What policies that compare load compare.
    #[serde(default)]
    pub load: Load,
    /// The load that endpoints report in a field of their responses; `None` = nothing is looked for.
    #[serde(default)]
    pub reported: Option<Reported>,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// What is spoken towards the endpoints.
    #[serde(default)]
    pub protocol: Protocol,
    /// Whether unhealthy and ejected endpoints are used when no other is left.
    pub fail_open: bool,
    /// The percentage of available endpoints below which a level uses all that it has; `None` = never. It takes
    /// `fail_open`.
    #[serde(default)]
    pub panic_threshold: Option<u32>,
    /// The part of the endpoints that this instance talks to; `None` = all of them.
    #[serde(default)]
    pub subset: Option<Subset>,
    /// How an endpoint that joins or comes back gets its share; `None` = at once.
    #[serde(default)]
    pub slow_start: Option<SlowStart>,
    /// The loads at which an endpoint leaves the rotation.
    pub threshold: Threshold,
    /// Where requests wait when every endpoint is at its threshold.
    pub queue: Queue,
    /// TLS towards the endpoints; `None` = clear text.
    #[serde(default)]
    pub tls: Option<PoolTls>,
    /// Active health checks.
    pub health: Health,
    /// Connections to the endpoints.
    pub connections: Connections,
    /// How long an endpoint may take.
    pub timeouts: PoolTimeouts,
    /// When a request is tried again.
    pub retry: Retry,
}

/// What is spoken towards endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 in clear text, which the endpoints are known to speak.
    H2c,
}

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

/// What `least_load` compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Requests in flight.
    #[default]
    Requests,
    /// The smoothed response time.
    Latency,
    /// Bytes per second, both directions together.
    Bytes,
    /// The utilisation that the endpoints report.
    Reported,
}

/// What is made of the load that endpoints report; see [`crate::reported`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reported {
    /// What a report is used as.
    #[serde(rename = "as")]
    pub used_as: ReportedAs,
    /// The name of the field, in lower case.
    #[serde(default)]
    pub field: Option<String>,
    /// The number that is the utilisation: see [`crate::reported::Metric`].
    #[serde(default)]
    pub metric: Option<String>,
    /// How long a report counts, in milliseconds.
    #[serde(default)]
    pub expiration_ms: Option<u64>,
    /// How long reports are not used after the first, in milliseconds; 0 = not at all.
    #[serde(default)]
    pub blackout_ms: Option<u64>,
    /// How much errors weigh; 0 = nothing.
    #[serde(default)]
    pub error_penalty: Option<f64>,
    /// Whether clients see the field.
    #[serde(default)]
    pub pass: bool,
}

/// What a report is used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportedAs {
    /// What the endpoint could serve is its weight.
    Weight,
    /// Its utilisation is the load that is compared.
    Load,
}

/// One server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// `"10.0.0.1:8080"`, `"[::1]:8080"`, `"name:8080"` or `"unix:/path"`.
    pub address: String,
    /// 0 takes no new requests.
    pub weight: u32,
    /// Whether it is being drained.
    pub drain: bool,
    /// The lower one is used first.
    #[serde(default)]
    pub priority: u32,
    /// Where it stands.
    #[serde(default)]
    pub zone: Option<String>,
}

/// Which part of many endpoints one of many instances talks to; see [`crate::subset`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subset {
    /// Endpoints of each priority.
    pub size: u32,
    /// The number of this instance, from 0.
    pub instance: u32,
    /// How many instances there are.
    pub instances: u32,
}

/// How the weight of an endpoint grows that has joined or come back; see [`crate::slow_start`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowStart {
    /// Until the weight is whole, in milliseconds.
    pub window_ms: u64,
    /// 1 grows in proportion to age; above, faster at first.
    pub aggression: f64,
    /// The part of the weight that counts at least.
    pub min_weight: f64,
}

/// The loads at which an endpoint leaves the rotation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// In flight at once.
    pub requests: Option<u32>,
    /// Smoothed response time, in milliseconds.
    pub latency_ms: Option<u64>,
    /// Both directions together, a decaying rate.
    pub bytes_per_second: Option<u64>,
}

/// Where requests wait when every endpoint is at its threshold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Requests that may wait; `None` = none may.
    pub size: Option<u32>,
    /// How long one may wait, in milliseconds; `None` = as long as its client does.
    pub timeout_ms: Option<u64>,
}

/// Active health checks of a pool's endpoints.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// The target of an HTTP probe; `None` = a TCP connect.
    pub path: Option<String>,
    /// The service of a gRPC health check, empty for the whole server; `None` = none.
    #[serde(default)]
    pub grpc: Option<String>,
    /// The Host of an HTTP probe; `None` = the endpoint's address as it was configured.
    pub host: Option<String>,
    /// Between the starts of two probes, in milliseconds; `None` = no probes, and every endpoint counts as healthy.
    pub interval_ms: Option<u64>,
    /// For one whole probe, in milliseconds.
    pub timeout_ms: u64,
    /// Good probes in a row that make an unhealthy endpoint healthy.
    pub rise: u32,
    /// Bad probes in a row that make a healthy endpoint unhealthy.
    pub fall: u32,
    /// Inclusive ranges of good status codes.
    pub expect_status: Vec<(u16, u16)>,
}

/// Connections to the endpoints of a pool.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connections {
    /// How long one may lie idle, in milliseconds; `None` = as long as the endpoint keeps it.
    pub idle_timeout_ms: Option<u64>,
    /// Idle ones kept per worker and endpoint.
    pub idle_max: u32,
    /// All of them per endpoint, over all workers.
    pub max: Option<u32>,
}

/// How long an endpoint may take, in milliseconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolTimeouts {
    /// To accept a connection.
    pub connect_ms: Option<u64>,
    /// From the last byte of the request sent to the head of the response.
    pub response_ms: Option<u64>,
    /// Between bytes of a response body.
    pub idle_ms: Option<u64>,
    /// Between bytes of an upgraded connection, either way.
    pub tunnel_ms: Option<u64>,
    /// For the whole request, retries included.
    pub total_ms: Option<u64>,
}

/// When a request is tried again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Tries in all; connect failures are not counted.
    pub attempts: u32,
    /// What is repeated.
    pub on: Vec<RetryOn>,
    /// A larger request body is not kept for a repeat.
    pub body_bytes_max: u32,
    /// Retries per request, over 10 s; beside it 10 a second are always granted. `None` = no bound.
    pub budget: Option<f64>,
}

/// A failure that may be repeated on another endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// No connection could be made; always safe.
    Connect,
    /// The connection ended before any byte of a response.
    ResetBeforeResponse,
    /// A status of 500 to 599.
    #[serde(rename = "5xx")]
    ServerError,
    /// `timeouts.response` ran out.
    Timeout,
}
