//! The one document that crosses from Python to the engine.
//!
//! Python has read the TOML, filled in every default and turned durations into milliseconds and sizes into
//! bytes. What is checked here is shape only; meaning (addresses, patterns, references) is checked where the
//! snapshot is built, so that each rule has one home. `None` always means *off*.

mod policy;
mod pool;
mod tls;

pub use policy::{Policy, SameSite, Score, Secret};
pub use pool::{
    Connections, Endpoint, Health, Load, Pool, PoolTimeouts, Protocol, ProxyVersion, Queue, Reported,
    ReportedAs, Retry, RetryOn, SlowStart, Subset, Threshold,
};
use serde::Deserialize;
use std::collections::BTreeMap;
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

/// What a listener speaks with its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenerProtocol {
    /// HTTP/1.1 and HTTP/2: requests are routed one by one.
    #[default]
    Http,
    /// Connections, carried as they are.
    Tcp,
    /// Datagrams, carried as they are.
    Udp,
}

impl ListenerProtocol {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// An address, or several, that accept clients.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Unique; it appears in metrics.
    pub name: String,
    /// `":8080"`, `"1.2.3.4:80"`, `"[::1]:80"` or `"unix:/path"`.
    pub bind: Vec<String>,
    /// What is carried.
    #[serde(default)]
    pub protocol: ListenerProtocol,
    /// Where requests go that no route claims; `None` = 404, or the end of a connection.
    pub pool: Option<String>,
    /// CIDRs whose forwarding headers are believed.
    pub trusted_proxies: Vec<String>,
    /// Whether connections from there, and from unix sockets, begin with a header of the PROXY protocol.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Whether `%2F` in a path is let through rather than answered 400.
    pub allow_encoded_slash: bool,
    /// TLS towards clients; `None` = clear text.
    #[serde(default)]
    pub tls: Option<ListenerTls>,
    /// Datagrams that come back for each of a client's, after which a session ends; `None` = it is not known.
    #[serde(default)]
    pub responses: Option<u32>,
    /// Whether HTTP/3 is spoken too, over UDP on the same addresses; `None` = it is not.
    #[serde(default)]
    pub http3: Option<Http3>,
    /// The port of the same host that every request is sent to instead, over TLS; `None` = requests are served.
    #[serde(default)]
    pub redirect_https: Option<u16>,
    /// Bounds on what a client may send.
    pub limits: ListenerLimits,
    /// How long a client may take.
    pub timeouts: ListenerTimeouts,
}

/// HTTP/3 beside what a listener speaks over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http3 {
    /// Whether requests are taken that come before the handshake is complete (0-RTT), which somebody else may have copied.
    pub early_data: bool,
    /// Whether responses over TCP say that there is HTTP/3 (`Alt-Svc`).
    pub advertise: bool,
    /// The port that they name; `None` = that by which the client has come.
    #[serde(default)]
    pub port: Option<u16>,
}

/// Bounds on what a client may send.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerLimits {
    /// Open connections, or sessions of datagrams, over all workers; `None` = bounded by descriptors.
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
    /// Between requests on one connection, or datagrams of one session.
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
