//! How a worker accepts: until it is told to close, while there are seats, and past a shortage of descriptors.

use super::{Seat, Worker};
use crate::shared::{ListenerState, Socket};
use crate::transport::Transport;
use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use steelyard_core::time::Nanos;
use tokio::sync::Notify;

/// How long accepting pauses when the process has no descriptor left.
const DESCRIPTORS_PAUSE: Duration = Duration::from_millis(100);
/// A shortage of descriptors is over when none was missed for this long.
const DESCRIPTORS_RECOVERY: Nanos = Nanos::from_millis(5_000);

/// What was accepted, and from whom.
pub(super) type Accepted = (Transport, Option<IpAddr>);

/// A socket that listens.
#[derive(Debug)]
enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Accepting {
    fn new(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(socket) => Self::Tcp(tokio::net::TcpListener::from_std(socket)?),
            Socket::Unix(socket) => Self::Unix(tokio::net::UnixListener::from_std(socket)?),
            // It has a way of its own: nothing is accepted from it.
            Socket::Udp(_) | Socket::Quic(..) => return Err(io::ErrorKind::Unsupported.into()),
        })
    }

    async fn accept(&self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                // Small writes leave at once. A connection that is gone already will say so when it is read.
                let _ = stream.set_nodelay(true);
                (stream.into(), Some(peer.ip().to_canonical()))
            }
            Self::Unix(socket) => (socket.accept().await?.0.into(), None),
        })
    }

    /// Accepts what waits already, asking the system itself: the runtime may not have heard of it yet.
    fn accept_waiting(&self) -> io::Result<Option<Accepted>> {
        use rustix::net::{SocketFlags, accept_with};
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accepted = match self {
            Self::Tcp(socket) => accept_with(socket, flags),
            Self::Unix(socket) => accept_with(socket, flags),
        };
        let descriptor = match accepted {
            Err(rustix::io::Errno::AGAIN) => return Ok(None),
            outcome => outcome?,
        };
        Ok(Some(match self {
            Self::Tcp(_) => {
                let stream = tokio::net::TcpStream::from_std(descriptor.into())?;
                // As in `accept`.
                let _ = stream.set_nodelay(true);
                let peer = stream.peer_addr()?.ip().to_canonical();
                (stream.into(), Some(peer))
            }
            Self::Unix(_) => (tokio::net::UnixStream::from_std(descriptor.into())?.into(), None),
        }))
    }
}

impl Worker {
    /// Says that a shortage of descriptors is over, once there has been none for a while: in the midst of one a single
    /// connection gets through now and then.
    fn say_if_recovered(&self, listener: &ListenerState) {
        let Some(last) = self.out_of_descriptors.get() else { return };
        if self.shared.clock.now().since(last) >= DESCRIPTORS_RECOVERY {
            self.out_of_descriptors.set(None);
            tracing::info!(listener = listener.name, "accepting again");
        }
    }
}

/// Accepts until told to close; what is waiting then is still accepted.
pub(super) async fn listen(
    worker: &Rc<Worker>,
    id: u64,
    listener: &Arc<ListenerState>,
    socket: Socket,
    close: &Notify,
) {
    let socket = match Accepting::new(socket) {
        Ok(socket) => socket,
        Err(error) => {
            return tracing::error!(listener = listener.name, %error, "the socket cannot be used");
        }
    };
    let parked = Cell::new(None);
    tokio::select! {
        () = accept_all(worker, id, listener, &socket, &parked) => {}
        () = close.notified() => {}
    }
    let adopt = |accepted| {
        if let Some(seat) = Seat::take(listener, &worker.shared, true) {
            worker.adopt(seat, id, accepted);
        }
    };
    parked.take().into_iter().for_each(adopt);
    loop {
        match socket.accept_waiting() {
            Ok(Some(accepted)) => adopt(accepted),
            Ok(None) => return,
            // That one connection is gone; those behind it are not.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::NotConnected) => {
            }
            Err(error) if is_want_of_descriptors(&error) => tokio::time::sleep(DESCRIPTORS_PAUSE).await,
            Err(error) => {
                return tracing::warn!(listener = listener.name, %error, "could not accept all that were waiting");
            }
        }
    }
}

/// `parked` holds a connection that was accepted as the last seat went to another worker.
async fn accept_all(
    worker: &Rc<Worker>,
    id: u64,
    listener: &Arc<ListenerState>,
    socket: &Accepting,
    parked: &Cell<Option<Accepted>>,
) {
    loop {
        wait_for_room(listener).await;
        match socket.accept().await {
            Ok(accepted) => {
                worker.say_if_recovered(listener);
                parked.set(Some(accepted));
                let seat = loop {
                    if let Some(seat) = Seat::take(listener, &worker.shared, false) {
                        break seat;
                    }
                    wait_for_room(listener).await;
                };
                if let Some(accepted) = parked.take() {
                    worker.adopt(seat, id, accepted);
                }
            }
            Err(error) if is_want_of_descriptors(&error) => {
                let now = worker.shared.clock.now();
                if worker.out_of_descriptors.replace(Some(now)).is_none() {
                    tracing::warn!(
                        listener = listener.name,
                        worker = worker.index,
                        %error,
                        "accepting pauses until a descriptor falls free; raise the limit of open files \
                         or lower limits.connections"
                    );
                }
                tokio::time::sleep(DESCRIPTORS_PAUSE).await;
            }
            // The connection that was waiting is gone; the next may be sound.
            Err(error) => tracing::debug!(listener = listener.name, %error, "could not accept"),
        }
    }
}

async fn wait_for_room(listener: &ListenerState) {
    let full =
        || listener.connections.load(Ordering::Acquire) >= listener.connections_max.load(Ordering::Relaxed);
    while full() {
        let freed = listener.freed.notified();
        if full() {
            freed.await;
        }
    }
}

pub(crate) fn is_want_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].iter().any(|e| code == Some(e.raw_os_error()))
}
