//! HTTP/2 (RFC 9113): the `h2` crate frames and compresses; what is a request, who waits for whom and how much a peer
//! may ask of us is decided here.
//!
//! A connection of a client is one task. Each of its streams is a future within it that tells the same story as an
//! HTTP/1.1 exchange, with a timer of its own. Heads become what `head` says they are, in one buffer in the form of
//! HTTP/1.1, so that everything behind them is the same for every version.

mod answer;
mod answered;
pub(crate) mod ask;
mod asked;
pub(crate) mod client;
mod content;
pub(crate) mod group;
mod io;
mod line;
mod meter;
mod open;
pub(crate) mod server;
pub mod translate;
mod waiters;

/// What an HTTP/2 client sends first of all (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams at once on one connection to an endpoint, where that lets there be more.
const STREAMS_MAX: u32 = 128;

/// What one stream may send before it was read: the window that every connection begins with.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 64 * 1024 - 1;
/// The most that all streams of a connection may send before it was read.
const CONNECTION_WINDOW_BYTES_MAX: u32 = 64 << 20;
/// What is kept of one stream until the peer takes it.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// The window of a whole connection: as wide as those of its streams together, so that those that nobody reads do not
/// hold up the others.
pub(crate) fn connection_window(streams: u32) -> u32 {
    streams.saturating_mul(STREAM_WINDOW_BYTES).clamp(STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES_MAX)
}
