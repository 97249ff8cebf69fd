//! A way to an endpoint: what carries one exchange there and back, whichever version the endpoint speaks.

use crate::connections::Connection;
use crate::http2::ask::OpenStream;
use crate::http2::group::Permit;

/// A way to an endpoint, taken for one exchange.
#[derive(Debug)]
pub(crate) enum Way {
    /// A connection that nobody else uses meanwhile.
    Http1(Connection),
    /// Leave to open a stream on a connection that others use too.
    Http2(Permit),
}

impl Way {
    /// Whether it has carried an exchange before, so that the endpoint may have given it up by now.
    pub fn is_reused(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.reused,
            Self::Http2(permit) => permit.reused,
        }
    }
}

/// A way that carries another protocol from here on.
pub(super) enum Passage {
    /// A connection, and what had come over it already.
    Http1(Connection, Vec<u8>),
    /// A stream.
    Http2(Box<OpenStream>),
}
