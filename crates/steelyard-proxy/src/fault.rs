//! What can go wrong while a request is carried: what happened, whose fault it is, whether it may be repeated.

use crate::http1::Reject;
use crate::transport::Insecure;
use std::io;
use steelyard_core::document::RetryOn;

/// Whose connection something happened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Client,
    /// The endpoint's.
    Endpoint,
}

/// Why an exchange did not go well.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The client ended its connection, or its side of it, before the response had ended.
    #[error("the client went away")]
    ClientGone,
    /// The client took too long over a head or a body.
    #[error("the client took too long")]
    ClientSlow,
    /// The client would not take what it was sent, of which it may have got any part.
    #[error("the client does not take what it is sent")]
    ClientStuck,
    /// The client sent what is no sound request.
    #[error("bad request: {0}")]
    BadRequest(Reject),
    /// No connection to the endpoint could be made.
    #[error("no connection to the endpoint: {0}")]
    Connect(#[source] io::Error),
    /// The endpoint has as many connections as it may, and none fell free in time. Our own bound, not its fault.
    #[error("no connection to the endpoint fell free in time")]
    NoConnection,
    /// The endpoint's connection ended before any byte of a response.
    #[error("the endpoint closed the connection before it answered")]
    Reset,
    /// The endpoint has said that it did not look at the request: it had enough of them, or is about to end.
    #[error("the endpoint did not take the request")]
    Unprocessed,
    /// The endpoint's connection ended within a response.
    #[error("the endpoint cut its response short")]
    CutShort,
    /// The endpoint sent what is no sound response.
    #[error("malformed response: {0}")]
    Malformed(&'static str),
    /// The endpoint answered with this status, 500 to 599, and another is to be asked.
    #[error("the endpoint answered {0}")]
    ServerError(u16),
    /// The endpoint took too long over its response head.
    #[error("the endpoint did not answer in time")]
    ResponseTimeout,
    /// The endpoint took too long over its response body, or over taking the request.
    #[error("the endpoint stopped moving")]
    Stalled,
    /// The time for the whole request is over.
    #[error("the time for the whole request is over")]
    TotalTimeout,
}

impl Fault {
    /// What an error of writing to one side's connection means.
    pub fn of_write(error: &io::Error, side: Side) -> Self {
        match Self::of_read(error, side, false) {
            Self::ClientSlow => Self::ClientStuck,
            fault => fault,
        }
    }

    /// What an error of reading from one side's connection means; `begun` says whether any byte of the message at hand
    /// had come.
    pub fn of_read(error: &io::Error, side: Side, begun: bool) -> Self {
        match (side, error.kind() == io::ErrorKind::TimedOut) {
            (Side::Client, true) => Self::ClientSlow,
            (Side::Client, false) => Self::ClientGone,
            (Side::Endpoint, true) => Self::Stalled,
            (Side::Endpoint, false) if begun => Self::CutShort,
            (Side::Endpoint, false) => Self::Reset,
        }
    }

    /// Whether the endpoint has certainly not acted upon the request, so that repeating it is always safe.
    pub fn is_untouched(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Unprocessed)
    }

    /// Whose fault it is.
    pub fn whose(&self) -> Side {
        match self {
            Self::ClientGone | Self::ClientSlow | Self::ClientStuck | Self::BadRequest(_) => Side::Client,
            _ => Side::Endpoint,
        }
    }

    /// Whether it says nothing about the endpoint's health: our own bounds, or what the response head has taught
    /// already.
    pub fn is_our_own(&self) -> bool {
        match self {
            // The time for the whole request holds waiting for a slot and for the client too.
            Self::NoConnection | Self::ServerError(_) | Self::TotalTimeout => true,
            Self::Connect(error) => {
                use rustix::io::Errno;
                let code = error.raw_os_error();
                [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::PERM]
                    .iter()
                    .any(|errno| code == Some(errno.raw_os_error()))
            }
            _ => false,
        }
    }

    /// The status that tells the client, while it has not been told anything else; `None` when it is not there to
    /// be told.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::ClientGone | Self::ClientStuck => None,
            Self::ClientSlow => Some(408),
            Self::NoConnection | Self::Unprocessed => Some(503),
            Self::ServerError(status) => Some(*status),
            Self::BadRequest(reject) => Some(reject.status),
            Self::Connect(error) if error.kind() == io::ErrorKind::TimedOut => Some(504),
            Self::Connect(_) | Self::Reset | Self::CutShort | Self::Malformed(_) => Some(502),
            Self::ResponseTimeout | Self::Stalled | Self::TotalTimeout => Some(504),
        }
    }

    /// The word in the configuration for repeating it; `None` when it is never repeated.
    pub fn retry_on(&self) -> Option<RetryOn> {
        match self {
            Self::Connect(_) | Self::Unprocessed => Some(RetryOn::Connect),
            Self::Reset => Some(RetryOn::ResetBeforeResponse),
            Self::ServerError(_) => Some(RetryOn::ServerError),
            Self::ResponseTimeout => Some(RetryOn::Timeout),
            _ => None,
        }
    }

    /// A few words for people, shown where the endpoint's health is explained.
    pub fn in_short(&self) -> &'static str {
        match self {
            Self::Connect(error) => unconnected(error),
            Self::Unprocessed => "refused requests",
            Self::Reset => "closed the connection before answering",
            Self::CutShort => "cut responses short",
            Self::Malformed(_) => "sent malformed responses",
            Self::ResponseTimeout => "did not answer in time",
            Self::ServerError(_) => "answered with errors of its own",
            Self::Stalled => "stopped moving",
            Self::NoConnection
            | Self::TotalTimeout
            | Self::ClientGone
            | Self::ClientSlow
            | Self::ClientStuck
            | Self::BadRequest(_) => "was not at fault",
        }
    }
}

/// Why there was no connection.
fn unconnected(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Insecure>()) {
        Some(Insecure::NoHttp2) => "would not agree on HTTP/2",
        Some(_) => "would not speak TLS, or could not prove who it is",
        // What the system says of a connection is never that.
        None if error.kind() == io::ErrorKind::InvalidData => "does not speak HTTP/2",
        None => "refused or unreachable",
    }
}
