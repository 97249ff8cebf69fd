//! TCP listeners: one socket for each worker, among which the kernel spreads connections.

use super::BACKLOG;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use steelyard_core::address::Bind;

/// The family of what is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
    /// IPv6 that takes IPv4 as well.
    Both,
}

/// Binds an address `workers` times and listens.
///
/// The first socket is bound without `SO_REUSEPORT`, so that another process there is an error and not a silent
/// share; it gets the option before the others come to join it. Only where the address is `ours` already, because
/// another listener is about to give it up, does the first one join as well.
pub fn listen(bind: &Bind, workers: usize, ours: bool) -> io::Result<Vec<TcpListener>> {
    let (address, family) = match bind {
        Bind::Any { port } => {
            let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
            match bound(address, Family::Both, ours) {
                Err(error) if is_without_ipv6(&error) => {
                    (SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port)), Family::V4)
                }
                outcome => return join(outcome?, Family::Both, workers),
            }
        }
        Bind::Socket(address) => (*address, if address.is_ipv4() { Family::V4 } else { Family::V6 }),
        Bind::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
    };
    join(bound(address, family, ours)?, family, workers)
}

/// What a socket is bound to.
pub fn local_address(socket: &TcpListener) -> io::Result<String> {
    Ok(socket.local_addr()?.to_string())
}

/// Opens the sockets of the other workers beside the first, then lets all listen.
fn join(first: Socket, family: Family, workers: usize) -> io::Result<Vec<TcpListener>> {
    first.set_reuse_port(true)?;
    let address = first.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    let mut sockets = vec![first];
    while sockets.len() < workers {
        sockets.push(bound(address, family, true)?);
    }
    sockets
        .into_iter()
        .map(|socket| {
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}

fn bound(address: SocketAddr, family: Family, reuse_port: bool) -> io::Result<Socket> {
    let domain = if family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    if family != Family::V4 {
        socket.set_only_v6(family == Family::V6)?;
    }
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it, which spares a call for each.
    socket.set_tcp_nodelay(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Whether this machine has IPv6 switched off.
pub(super) fn is_without_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let without = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT];
    error.raw_os_error().is_some_and(|number| without.iter().any(|errno| errno.raw_os_error() == number))
}
