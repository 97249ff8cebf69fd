//! TCP listeners: one socket for each worker, among which the kernel spreads connections.

use super::BACKLOG;
use super::each::{self, Family};
use socket2::{Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use steelyard_core::address::Bind;

/// Binds an address `workers` times, where it is free or `ours` already, and listens.
pub fn listen(bind: &Bind, workers: usize, ours: bool) -> io::Result<Vec<TcpListener>> {
    // All are bound before any listens.
    each::bind(bind, workers, ours, bound)?
        .into_iter()
        .map(|socket| {
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}

fn bound(address: SocketAddr, family: Family, reuse_port: bool) -> io::Result<Socket> {
    let socket = family.open(Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it, which spares a call for each.
    socket.set_tcp_nodelay(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}
