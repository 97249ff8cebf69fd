//! UDP listeners: one socket for each worker. The kernel gives all datagrams of one address pair to the same.

use super::tcp::{Family, is_without_ipv6};
use crate::sys::datagrams::tell_local_addresses;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use steelyard_core::address::Bind;

/// Datagrams that wait for a worker, in bytes; the kernel bounds it by `net.core.rmem_max`.
const RECEIVE_BYTES: usize = 4 << 20;

/// Binds an address `workers` times.
///
/// As for TCP, the first socket is bound without `SO_REUSEPORT`, so that another process there is an error, unless the
/// address is `ours` already. `SO_REUSEADDR` is never set: over UDP it would let others take the address away.
pub fn bind(bind: &Bind, workers: usize, ours: bool) -> io::Result<Vec<UdpSocket>> {
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
pub fn local_address(socket: &UdpSocket) -> io::Result<String> {
    Ok(socket.local_addr()?.to_string())
}

/// Opens the sockets of the other workers beside the first.
fn join(first: Socket, family: Family, workers: usize) -> io::Result<Vec<UdpSocket>> {
    first.set_reuse_port(true)?;
    let address = first.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    let mut sockets = vec![first];
    while sockets.len() < workers {
        sockets.push(bound(address, family, true)?);
    }
    Ok(sockets.into_iter().map(UdpSocket::from).collect())
}

fn bound(address: SocketAddr, family: Family, reuse_port: bool) -> io::Result<Socket> {
    let domain = if family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    if family != Family::V4 {
        socket.set_only_v6(family == Family::V6)?;
    }
    if address.ip().is_unspecified() {
        tell_local_addresses(&socket, family != Family::V4)?;
    }
    // As much as there may be; less loses more in bursts, which is no reason not to start.
    let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}
