//! The PROXY protocol: who a client is, as the balancer says that it came through.
//!
//! The header of version 1 is a line of text, that of version 2 binary
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>). `read.rs` reads both, strictly and within bounds;
//! `write.rs` writes them.

mod read;
mod write;

use crate::transport::Transport;
pub use read::{HEADER_BYTES_MAX, Malformed, read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
pub use write::{Told, Version, local, write};

/// What begins a header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Where a connection came from and where it went, before it was passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// What it connected to.
    pub destination: SocketAddr,
}

/// How it is known where a connection came from.
#[derive(Debug, Clone, Copy)]
pub enum Whence<'a> {
    /// Its socket knows.
    Socket(&'a Transport),
    /// It was known before: somebody has said so who is believed, or QUIC has.
    Known(&'a Addresses),
}

impl Whence<'_> {
    /// The addresses; `None` where there are none, as with a unix socket.
    pub fn addresses(&self) -> Option<Addresses> {
        match self {
            Self::Known(addresses) => Some(**addresses),
            Self::Socket(transport) => {
                let peer = rustix::net::getpeername(transport.as_fd()).ok()??;
                let own = rustix::net::getsockname(transport.as_fd()).ok()?;
                Some(Addresses { source: peer.try_into().ok()?, destination: own.try_into().ok()? })
            }
        }
    }
}
