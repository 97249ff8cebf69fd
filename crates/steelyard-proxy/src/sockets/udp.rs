//! UDP listeners: one socket for each worker. The kernel gives all datagrams of one address pair to the same.

use super::each::{self, Family};
use crate::sys::datagrams::tell_local_addresses;
use socket2::{Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use steelyard_core::address::Bind;

/// Datagrams that wait for a worker, in bytes; the kernel bounds it by `net.core.rmem_max`.
const RECEIVE_BYTES: usize = 4 << 20;

/// Binds an address `workers` times, where it is free or `ours` already. `SO_REUSEADDR` is never set: over UDP it would
/// let others take the address away.
pub fn bind(bind: &Bind, workers: usize, ours: bool) -> io::Result<Vec<UdpSocket>> {
    Ok(each::bind(bind, workers, ours, bound)?.into_iter().map(UdpSocket::from).collect())
}

fn bound(address: SocketAddr, family: Family, reuse_port: bool) -> io::Result<Socket> {
    let socket = family.open(Type::DGRAM, Protocol::UDP)?;
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
