//! UDP sockets that QUIC is spoken over: one for each worker, among which the kernel spreads clients by their addresses.

use super::Failure;
use super::each::{self, Family};
use socket2::{Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use steelyard_core::address::Bind;

/// What the system may hold of packets that a worker has not looked at, as far as it allows that much.
const RECEIVE_BYTES: usize = 2 << 20;
/// The same of packets that have not left.
const SEND_BYTES: usize = 2 << 20;

/// Binds an address `workers` times. As for TCP, the first is bound without `SO_REUSEPORT`, so that somebody else there is an
/// error; only where sockets of `ours` may still be there does it join them.
pub(super) fn bind(
    address: SocketAddr,
    bind: &Bind,
    workers: usize,
    ours: bool,
) -> Result<Vec<UdpSocket>, Failure> {
    let both = matches!(bind, Bind::Any { .. }) && address.is_ipv6();
    let family = if both { Family::Both } else { Family::of(address) };
    let first = bound(address, family, ours).map_err(taken)?;
    let sockets = each::join(first, family, workers, bound).map_err(taken)?;
    Ok(sockets.into_iter().map(Into::into).collect())
}

fn bound(address: SocketAddr, family: Family, reuse_port: bool) -> io::Result<Socket> {
    let socket = family.open(Type::DGRAM, Protocol::UDP)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    // The system may allow less, which does no harm.
    let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
    let _ = socket.set_send_buffer_size(SEND_BYTES);
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A hint of its own: what lists who listens on TCP does not show who has the port on UDP.
fn taken(source: io::Error) -> Failure {
    if source.kind() != io::ErrorKind::AddrInUse {
        return source.into();
    }
    Failure {
        source,
        message: Some("the UDP port that http3 needs is in use".to_owned()),
        hint: Some(
            "another process has it (ss -lunp shows which); stop it, choose another port or take out http3",
        ),
    }
}
