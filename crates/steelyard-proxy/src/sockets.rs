//! Binds what the listeners of a snapshot accept on, and keeps it across snapshots.
//!
//! A change is prepared whole (every new socket bound and listening) before anything is taken away; a change that
//! fails is dropped and closes only what it had opened itself.

mod each;
mod quic;
mod tcp;
mod udp;
mod unix;

use crate::shared::Socket;
use crate::sys;
use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use steelyard_core::address::Bind;
use steelyard_core::document::ListenerProtocol;
use steelyard_core::listener::Listener;
use unix::UnixSocket;

/// Connections that may wait to be accepted; the kernel bounds it by `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Ports that are tried where any will do.
const PORTS_TRIED_MAX: u32 = 16;

/// An address that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for listener {listener:?}: {message}{}", .hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default())]
pub struct BindError {
    /// Which listener wanted it.
    pub listener: String,
    /// As the configuration writes it.
    pub address: String,
    /// What is wrong, in the words of the system or our own.
    pub message: String,
    /// What to do about it.
    pub hint: Option<&'static str>,
    /// The system's error.
    pub source: io::Error,
}

/// Why one address cannot be bound; who binds it does not know for whom.
#[derive(Debug)]
struct Failure {
    source: io::Error,
    message: Option<String>,
    hint: Option<&'static str>,
}

impl From<io::Error> for Failure {
    fn from(source: io::Error) -> Self {
        Self { source, message: None, hint: None }
    }
}

/// What clients come over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// TCP, or a unix socket.
    Stream,
    /// UDP.
    Datagrams,
    /// QUIC, over UDP.
    Quic,
}

/// One bind of one listener that accepts.
#[derive(Debug, Clone)]
struct Bound {
    id: u64,
    listener: String,
    bind: Bind,
    over: Over,
    /// What it is really bound to: port 0 resolved.
    local: String,
    /// The file of a unix socket goes with the last who holds it.
    unix: Option<Arc<UnixSocket>>,
}

/// Every bind that accepts now.
#[derive(Debug, Default)]
pub struct Sockets {
    bounds: Vec<Bound>,
    next_id: u64,
    /// Where QUIC was ever spoken: sockets there may stay for a while after they have been told to close, until their
    /// connections have ended.
    quic: HashSet<SocketAddr>,
}

/// A change that needs only to be committed. Dropping it closes what it has opened.
#[derive(Debug)]
pub struct Prepared {
    bounds: Vec<Bound>,
    opened: Vec<Opened>,
    moved: Vec<Moved>,
}

/// What a change comes to, once it is committed.
#[derive(Debug)]
pub struct Changed {
    /// Binds that have begun to listen.
    pub opened: Vec<Opened>,
    /// Binds that go on as another listener's.
    pub moved: Vec<Moved>,
    /// The ids of binds that must be closed.
    pub closed: Vec<u64>,
}

/// A bind whose sockets stay open for another listener.
#[derive(Debug)]
pub struct Moved {
    /// What has named it.
    pub from: u64,
    /// What names it now.
    pub to: u64,
    /// Whose it is now.
    pub listener: String,
}

/// A bind that has begun to listen.
#[derive(Debug)]
pub struct Opened {
    /// Names it, now and when it is closed.
    pub id: u64,
    /// Whose it is.
    pub listener: String,
    /// One for each worker, in order.
    pub sockets: Vec<Socket>,
}

impl Sockets {
    /// Binds whatever these listeners need and these sockets are not.
    ///
    /// A bind stays as it is with its listener. One that moves to another listener is opened once more beside the
    /// old one, which then closes: the kernel knows no moment without it. Of QUIC the sockets themselves move, since their
    /// connections need them until they have ended, and more sockets at their address would take packets away from them.
    pub fn prepare(&mut self, listeners: &[Arc<Listener>], workers: usize) -> Result<Prepared, BindError> {
        let mut prepared = Prepared { bounds: Vec::new(), opened: Vec::new(), moved: Vec::new() };
        for listener in listeners {
            for bind in &listener.binds {
                self.keep_or_open(bind, (listener, listeners), workers, &mut prepared)
                    .map_err(|failure| bind_error(&listener.name, bind, failure))?;
            }
        }
        Ok(prepared)
    }

    /// A socket over which a listener accepts that stays as it is.
    fn kept(&self, bind: &Bind, listener: &str, over: Over, prepared: &Prepared) -> Option<&Bound> {
        self.bounds.iter().find(|bound| {
            bound.bind == *bind
                && bound.listener == listener
                && bound.over == over
                && prepared.bounds.iter().all(|taken| taken.id != bound.id)
        })
    }

    fn keep_or_open(
        &mut self,
        bind: &Bind,
        (listener, all): (&Listener, &[Arc<Listener>]),
        workers: usize,
        prepared: &mut Prepared,
    ) -> Result<(), Failure> {
        let over = if listener.protocol == ListenerProtocol::Udp { Over::Datagrams } else { Over::Stream };
        let speaks_quic = speaks_quic(listener, bind);
        let before = (prepared.bounds.len(), prepared.opened.len());
        for attempt in 1.. {
            match self.kept(bind, &listener.name, over, prepared).cloned() {
                Some(bound) => prepared.bounds.push(bound),
                None => self.open(bind, listener, over, workers, prepared)?,
            }
            if !speaks_quic {
                break;
            }
            if let Some(bound) = self.kept(bind, &listener.name, Over::Quic, prepared).cloned() {
                prepared.bounds.push(bound);
                break;
            }
            if self.take_over_quic(bind, (&listener.name, all), prepared) {
                break;
            }
            match self.open_quic(bind, &listener.name, workers, prepared) {
                // A port that was free for TCP alone: another one may be free for both.
                Err(failure) if bind.port() == Some(0) && is_taken(&failure) && attempt < PORTS_TRIED_MAX => {
                    prepared.bounds.truncate(before.0);
                    prepared.opened.truncate(before.1);
                }
                outcome => return outcome,
            }
        }
        Ok(())
    }

    /// Goes on with what another listener speaks QUIC over, where that one gives up this address of the TCP sockets that were
    /// kept or opened last; says whether there is such a one.
    fn take_over_quic(
        &mut self,
        bind: &Bind,
        (listener, all): (&str, &[Arc<Listener>]),
        prepared: &mut Prepared,
    ) -> bool {
        let Some(local) = prepared.bounds.last().map(|beside| &beside.local) else { return false };
        let is_kept = |bound: &Bound| {
            let keeps = |one: &&Arc<Listener>| {
                one.name == bound.listener && one.binds.contains(bind) && speaks_quic(one, bind)
            };
            all.iter().any(|one| keeps(&one)) || prepared.moved.iter().any(|moved| moved.from == bound.id)
        };
        let is_here =
            |bound: &&Bound| bound.over == Over::Quic && bound.bind == *bind && bound.local == *local;
        let Some(found) = self.bounds.iter().find(|bound| is_here(bound) && !is_kept(bound)) else {
            return false;
        };
        self.next_id += 1;
        let (to, listener) = (self.next_id, listener.to_owned());
        prepared.moved.push(Moved { from: found.id, to, listener: listener.clone() });
        prepared.bounds.push(Bound { id: to, listener, ..found.clone() });
        true
    }

    /// Opens what QUIC is spoken over, on the address of the TCP sockets that were kept or opened last.
    fn open_quic(
        &mut self,
        bind: &Bind,
        listener: &str,
        workers: usize,
        prepared: &mut Prepared,
    ) -> Result<(), Failure> {
        let Some(beside) = prepared.bounds.last() else { return Ok(()) };
        let local = beside.local.clone();
        let address: SocketAddr = local.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let sockets = quic::bind(address, bind, workers, self.quic.contains(&address))?;
        self.quic.insert(address);
        let all: Vec<_> = sockets.iter().map(UdpSocket::try_clone).collect::<Result<_, _>>()?;
        sockets.iter().chain(&all).for_each(sys::close_in_forks);
        let all = Arc::new(all);
        self.next_id += 1;
        let (id, listener, sockets) = (
            self.next_id,
            listener.to_owned(),
            sockets.into_iter().map(|socket| Socket::Quic(socket, Arc::clone(&all))).collect(),
        );
        let bound =
            Bound { id, listener: listener.clone(), bind: bind.clone(), over: Over::Quic, local, unix: None };
        prepared.bounds.push(bound);
        prepared.opened.push(Opened { id, listener, sockets });
        Ok(())
    }

    fn open(
        &mut self,
        bind: &Bind,
        listener: &Listener,
        over: Over,
        workers: usize,
        prepared: &mut Prepared,
    ) -> Result<(), Failure> {
        let ours = || {
            let overlaps = |bound: &Bound| bound.bind == *bind || bound.bind.conflicts(bind);
            self.bounds.iter().any(|bound| bound.over == over && overlaps(bound))
        };
        let (local, unix, sockets): (_, _, Vec<Socket>) = match bind {
            Bind::Unix(path) => {
                let unix = self.unix(path).map_or_else(|| UnixSocket::bind(path).map(Arc::new), Ok)?;
                let sockets =
                    (0..workers).map(|_| unix.share().map(Socket::Unix)).collect::<Result<_, _>>()?;
                (bind.to_string(), Some(unix), sockets)
            }
            Bind::Any { .. } | Bind::Socket(_) if over == Over::Datagrams => {
                let sockets = udp::bind(bind, workers, ours())?;
                let local = sockets.first().map_or_else(|| Ok(bind.to_string()), each::local_address)?;
                (local, None, sockets.into_iter().map(Socket::Udp).collect())
            }
            Bind::Any { .. } | Bind::Socket(_) => {
                let sockets = tcp::listen(bind, workers, ours())?;
                let local = sockets.first().map_or_else(|| Ok(bind.to_string()), each::local_address)?;
                (local, None, sockets.into_iter().map(Socket::Tcp).collect())
            }
        };
        for socket in &sockets {
            match socket {
                Socket::Tcp(socket) => sys::close_in_forks(socket),
                Socket::Unix(socket) => sys::close_in_forks(socket),
                Socket::Udp(socket) | Socket::Quic(socket, _) => sys::close_in_forks(socket),
            }
        }
        self.next_id += 1;
        let id = self.next_id;
        let listener = listener.name.clone();
        prepared.bounds.push(Bound { id, listener: listener.clone(), bind: bind.clone(), over, local, unix });
        prepared.opened.push(Opened { id, listener, sockets });
        Ok(())
    }

    /// The socket at this path, if it is ours.
    fn unix(&self, path: &Path) -> Option<Arc<UnixSocket>> {
        self.bounds.iter().find_map(|bound| match (&bound.bind, &bound.unix) {
            (Bind::Unix(ours), Some(unix)) if ours == path => Some(Arc::clone(unix)),
            _ => None,
        })
    }

    /// Makes a change the present state.
    pub fn commit(&mut self, prepared: Prepared) -> Changed {
        let Prepared { bounds, opened, moved } = prepared;
        let stay: HashSet<u64> =
            bounds.iter().map(|bound| bound.id).chain(moved.iter().map(|moved| moved.from)).collect();
        let before = std::mem::replace(&mut self.bounds, bounds);
        let closed = before.iter().map(|bound| bound.id).filter(|id| !stay.contains(id)).collect();
        Changed { opened, moved, closed }
    }

    /// Where a listener accepts, port 0 resolved.
    pub fn addresses(&self, listener: &str) -> Vec<String> {
        let own = self.bounds.iter().filter(|bound| bound.listener == listener && bound.over != Over::Quic);
        own.map(|bound| bound.local.clone()).collect()
    }

    /// Forgets every bind; the files of unix sockets go. The workers still hold what they accept from.
    pub fn clear(&mut self) {
        self.bounds.clear();
    }
}

/// Whether a listener speaks QUIC at this address.
fn speaks_quic(listener: &Listener, bind: &Bind) -> bool {
    listener.http3.is_some() && !matches!(bind, Bind::Unix(_))
}

fn bind_error(listener: &str, bind: &Bind, failure: Failure) -> BindError {
    let Failure { source, message, hint } = failure;
    // The number that the system's words end with is there in `source`.
    let words = source.to_string();
    let words = words.split(" (os error").next().unwrap_or_default().to_lowercase();
    let hint = hint.or_else(|| hint_for(bind, &source));
    let message = message.unwrap_or(words);
    BindError { listener: listener.to_owned(), address: bind.to_string(), message, hint, source }
}

fn is_taken(failure: &Failure) -> bool {
    failure.source.kind() == io::ErrorKind::AddrInUse
}

fn hint_for(bind: &Bind, error: &io::Error) -> Option<&'static str> {
    Some(match (bind, error.kind()) {
        (Bind::Unix(_), io::ErrorKind::NotFound) => "make the directory first",
        (Bind::Unix(_), io::ErrorKind::PermissionDenied) => "choose a directory that this user may write to",
        (Bind::Unix(_), _) => return None,
        (_, io::ErrorKind::AddrInUse) => {
            "another process listens there (ss -ltunp shows which); stop it or choose another port"
        }
        (_, io::ErrorKind::PermissionDenied) => {
            "ports below 1024 need a privilege: give the process CAP_NET_BIND_SERVICE (under systemd \
             AmbientCapabilities=CAP_NET_BIND_SERVICE; steelyard init --systemd writes that) or listen on a \
             port above 1023"
        }
        (_, io::ErrorKind::AddrNotAvailable) => {
            "this machine has no such address (ip address shows those it has)"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
