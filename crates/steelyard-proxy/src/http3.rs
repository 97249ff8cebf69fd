//! HTTP/3 (RFC 9114) from clients: `quinn` speaks QUIC, and what is HTTP is all here.
//!
//! Each worker has a socket of its own, as it has for TCP, and everything of a connection happens on that worker. A
//! connection is one task; each of its streams is a future within it that tells the same story as an HTTP/1.1 exchange, with a
//! timer of its own.

mod answer;
mod asked;
pub mod code;
mod content;
mod control;
pub(crate) mod endpoint;
pub mod frames;
mod peer;
pub mod qpack;
mod rules;
mod server;
pub mod settings;
mod stream;
pub mod translate;
mod varint;

pub use rules::Keys;

use std::time::Duration;

/// What is agreed on in the handshake (RFC 9114 section 3.1).
pub(crate) const PROTOCOL: &[u8] = b"h3";

/// How long nothing may come of a client at all before it is taken for gone.
const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(30);
/// How often one that is silent is asked whether it is there. How long it may be there without a request is a matter of the
/// listener's timeouts.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// What is kept of all streams of a connection until the client has acknowledged it.
const SEND_WINDOW_BYTES_MAX: u64 = 2 << 20;
/// Streams of a client at once that carry no request: three of them stay, others are of kinds that we do not know.
const STRAY_STREAMS_MAX: u32 = 16;
