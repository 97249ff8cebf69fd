//! A pool: its endpoints, and everything that is settled for them together but how one is chosen.

use super::{Policy, PoolTls};
use serde::Deserialize;

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
    /// HTTP/2 over TLS, on which each endpoint has to agree in its handshake.
    H2,
    /// Over TLS, the newest of both that an endpoint agrees on in its handshake.
    Auto,
}

impl Protocol {
    /// Whether endpoints may be spoken to in HTTP/1.1.
    pub fn may_be_http1(self) -> bool {
        matches!(self, Self::Http1 | Self::Auto)
    }

    /// Whether endpoints may be spoken to in HTTP/2.
    pub fn may_be_http2(self) -> bool {
        self != Self::Http1
    }
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
