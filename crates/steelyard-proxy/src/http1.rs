//! The HTTP/1.1 codec: pure functions on bytes, without sockets or clock.
//!
//! Whatever RFC 9112 calls invalid or ambiguous is refused, never repaired: two parsers that disagree about where a
//! message ends are how requests are smuggled. What is accepted is written anew by [`encode`], in one form.

pub mod chunked;
pub mod client;
pub mod encode;
pub(crate) mod field;
pub mod incoming;
pub mod outgoing;
pub mod request;
pub mod response;

/// Bounds on a message head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The whole head, start line and empty line included.
    pub header_bytes_max: u32,
    /// Field lines.
    pub header_count_max: u32,
    /// The request target.
    pub target_bytes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { header_bytes_max: 64 << 10, header_count_max: 100, target_bytes_max: 8 << 10 }
    }
}

/// A request that is not to be served: answer with `status` and close the connection, since nobody can say where
/// the next request begins. The client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Reject {
    /// 400, 414, 417, 431, 501 or 505.
    pub status: u16,
    /// What is wrong, for the log and the answer.
    pub reason: &'static str,
}

impl Reject {
    const fn bad(reason: &'static str) -> Self {
        Self { status: 400, reason }
    }
}

/// Bytes that are no HTTP/1.1: the fault of whoever sent them. The connection they came on is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    /// What is wrong, for the log.
    pub reason: &'static str,
}

impl From<Reject> for Malformed {
    fn from(reject: Reject) -> Self {
        Self { reason: reject.reason }
    }
}
