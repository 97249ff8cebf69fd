//! What is alike for TCP, UDP and QUIC: a socket for each worker on one address, among which the kernel spreads clients.

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use steelyard_core::address::Bind;

/// The family of what is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
    /// IPv6 that takes IPv4 as well.
    Both,
}

impl Family {
    /// That of an address, which is taken for itself alone.
    pub fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// A socket of this family that is bound to nothing yet.
    pub fn open(self, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let domain = if self == Self::V4 { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, kind.nonblocking().cloexec(), Some(protocol))?;
        if self != Self::V4 {
            socket.set_only_v6(self == Self::V6)?;
        }
        Ok(socket)
    }
}

/// Binds an address `workers` times; `bound` opens one socket, that joins others on its address where it is told so.
///
/// The first socket is bound without `SO_REUSEPORT`, so that another process there is an error and not a silent share; it
/// gets the option before the others come to join it. Only where the address is `ours` already, because another listener
/// is about to give it up, does the first one join as well.
pub(super) fn bind(
    bind: &Bind,
    workers: usize,
    ours: bool,
    bound: impl Fn(SocketAddr, Family, bool) -> io::Result<Socket>,
) -> io::Result<Vec<Socket>> {
    let (address, family) = match bind {
        Bind::Any { port } => {
            let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
            match bound(address, Family::Both, ours) {
                Err(error) if is_without_ipv6(&error) => {
                    (SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port)), Family::V4)
                }
                outcome => return join(outcome?, Family::Both, workers, bound),
            }
        }
        Bind::Socket(address) => (*address, Family::of(*address)),
        Bind::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
    };
    join(bound(address, family, ours)?, family, workers, bound)
}

/// Opens the sockets of the other workers beside the first.
pub(super) fn join(
    first: Socket,
    family: Family,
    workers: usize,
    bound: impl Fn(SocketAddr, Family, bool) -> io::Result<Socket>,
) -> io::Result<Vec<Socket>> {
    first.set_reuse_port(true)?;
    let address = first.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    let mut sockets = vec![first];
    while sockets.len() < workers {
        sockets.push(bound(address, family, true)?);
    }
    Ok(sockets)
}

/// What a socket is bound to.
pub(super) fn local_address(socket: &impl AsFd) -> io::Result<String> {
    let address = SockRef::from(socket).local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    Ok(address.to_string())
}

/// Whether this machine has IPv6 switched off.
fn is_without_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let without = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT];
    error.raw_os_error().is_some_and(|number| without.iter().any(|errno| errno.raw_os_error() == number))
}
