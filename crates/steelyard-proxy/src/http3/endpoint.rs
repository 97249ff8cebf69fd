//! How a worker accepts connections over UDP: handshakes, and what is asked of a client before one costs much.

use super::rules::Rules;
use super::server::{self, Unproved};
use crate::accepted::{Departure, listener_of, woken};
use crate::forward::Client;
use crate::proxied::{Addresses, Whence};
use crate::registry::Place;
use crate::shared::ListenerState;
use crate::timer::{GiveUp, Timer, earlier};
use crate::tls::identity::Identity;
use crate::transport::Facts;
use crate::worker::{Owner, Seat, Worker};
use quinn::crypto::rustls::HandshakeData;
use quinn::rustls::pki_types::CertificateDer;
use quinn::{Connecting, Connection, Endpoint, Incoming, TokioRuntime};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use steelyard_core::address::Bind;
use tokio::sync::Notify;

/// Handshakes at once, on one socket, with clients that have not shown that they are where they say: further ones have to show
/// that first, which costs them a round trip and us nothing (RFC 9000 section 8.1.2).
const UNVALIDATED_MAX: usize = 64;

/// A socket of QUIC that a worker accepts from.
struct Accepting<'w> {
    worker: &'w Rc<Worker>,
    owner: &'w RefCell<Owner>,
    endpoint: Endpoint,
    local: SocketAddr,
    rules: Option<Rules>,
    /// Handshakes that are not over.
    handshakes: Rc<Cell<usize>>,
}

/// A handshake that is not over; it counts until this is dropped.
pub(super) struct Handshake(Rc<Cell<usize>>);

impl Handshake {
    fn begin(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Accepts until told to close; `closing` is called then, and what was accepted has ended when this returns.
pub(crate) async fn listen(
    worker: &Rc<Worker>,
    owner: &RefCell<Owner>,
    socket: UdpSocket,
    close: &Notify,
    closing: impl FnOnce(),
) {
    let begun = Accepting::new(worker, owner, socket);
    let mut accepting = match begun {
        Ok(accepting) => accepting,
        Err(error) => {
            let listener = &owner.borrow().listener;
            return tracing::error!(listener = listener.name, %error, "the UDP socket cannot be used");
        }
    };
    tokio::select! {
        () = accepting.accept_all() => {}
        () = close.notified() => {}
    }
    closing();
    let endpoint = accepting.endpoint.clone();
    tokio::select! {
        () = accepting.refuse_all() => {}
        () = endpoint.wait_idle() => {}
    }
}

impl<'w> Accepting<'w> {
    fn new(worker: &'w Rc<Worker>, owner: &'w RefCell<Owner>, socket: UdpSocket) -> io::Result<Self> {
        let listener = listener_of(worker, &owner.borrow().listener);
        let rules = listener.and_then(|listener| Rules::of(&listener, &worker.shared.quic));
        let config = worker.shared.quic.endpoint();
        let server = rules.as_ref().map(|rules| (*rules.config).clone());
        let local = socket.local_addr()?;
        let endpoint = Endpoint::new(config, server, socket, Arc::new(TokioRuntime))?;
        Ok(Self { worker, owner, endpoint, local, rules, handshakes: Rc::default() })
    }

    async fn accept_all(&mut self) {
        while let Some(incoming) = self.endpoint.accept().await {
            self.take(incoming);
        }
    }

    /// Who comes now is told so at once, and goes elsewhere; unless the listener is there again, on another socket of this
    /// address, since the kernel brings to either whom it likes.
    async fn refuse_all(&mut self) {
        while let Some(incoming) = self.endpoint.accept().await {
            if self.is_there_again() {
                self.take(incoming);
            } else {
                incoming.refuse();
            }
        }
    }

    fn is_there_again(&self) -> bool {
        let pinned = self.worker.pin();
        let listener =
            pinned.listener(&self.owner.borrow().listener.name).filter(|listener| listener.http3.is_some());
        let is_here = |bind: &Bind| match bind {
            Bind::Any { port } => self.local.ip().is_unspecified() && [0, self.local.port()].contains(port),
            Bind::Socket(address) => {
                address.ip() == self.local.ip() && [0, self.local.port()].contains(&address.port())
            }
            Bind::Unix(_) => false,
        };
        !self.worker.shared.draining.load(Ordering::Relaxed)
            && listener.is_some_and(|listener| listener.binds.iter().any(is_here))
    }

    /// The rules of the listener as the snapshot in force has it.
    fn rules(&mut self, state: &ListenerState) -> Option<&Rules> {
        let listener = listener_of(self.worker, state)?;
        if !self.rules.as_ref().is_some_and(|rules| Arc::ptr_eq(&rules.listener, &listener)) {
            self.rules = Rules::of(&listener, &self.worker.shared.quic);
        }
        self.rules.as_ref()
    }

    fn take(&mut self, incoming: Incoming) {
        let Owner { id, listener: state } = self.owner.borrow().clone();
        let peer = incoming.remote_address();
        if self.handshakes.get() >= UNVALIDATED_MAX && !incoming.remote_address_validated() {
            // One that cannot be asked has shown it before.
            if let Err(error) = incoming.retry() {
                error.into_incoming().refuse();
            }
            return;
        }
        let Some(Rules { config, early, .. }) = self.rules(&state) else { return incoming.refuse() };
        let (config, early) = (Arc::clone(config), *early);
        let Some(seat) = Seat::take(&state, &self.worker.shared, false) else {
            tracing::debug!(listener = state.name, %peer, "no more connections; one over QUIC is refused");
            return incoming.refuse();
        };
        match incoming.accept_with(config) {
            Ok(connecting) => {
                let place = self.worker.registry.enter(id);
                let handshake = Handshake::begin(&self.handshakes);
                let arrived = Arrived { seat, place, handshake, connecting, early, local: self.local };
                // As for any other connection: a panic ends this one.
                tokio::task::spawn_local(serve(Rc::clone(self.worker), arrived));
            }
            Err(error) => {
                state.handshake_failures.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(listener = state.name, %peer, %error, "no QUIC handshake");
            }
        }
    }
}

/// A connection that has just begun.
struct Arrived {
    seat: Seat,
    place: Place,
    handshake: Handshake,
    connecting: Connecting,
    /// Whether requests are served before the handshake is complete.
    early: bool,
    /// What its socket is bound to.
    local: SocketAddr,
}

/// Serves a connection to its end.
async fn serve(worker: Rc<Worker>, arrived: Arrived) {
    let Arrived { seat, place, handshake, connecting, early, local } = arrived;
    let timer = Timer::new(worker.shared.clock);
    let state = seat.listener();
    let _counted = state.http3.begin();
    let handshake_ms = listener_of(&worker, state).and_then(|listener| listener.timeouts.handshake_ms);
    let give_up = timer.after(handshake_ms);
    let begun = begin(connecting, early, handshake, (state, &place, &timer), give_up);
    let Some((connection, unproved)) = woken(&timer, pin!(begun)).await else { return };
    let facts = facts(&connection, unproved.is_none());
    let peer = Some(connection.remote_address().ip().to_canonical());
    let addresses = addresses(&connection, local);
    let number = worker.number();
    let _departure = Departure { worker: &worker, number };
    let client = Client {
        worker: &worker,
        state,
        place: &place,
        timer: &timer,
        peer,
        facts: Some(&facts),
        whence: Whence::Known(&addresses),
        number,
        port: local.port(),
        early: false,
    };
    woken(&timer, pin!(server::serve(&client, &connection, unproved))).await;
}

/// Where a connection came from and to.
fn addresses(connection: &Connection, local: SocketAddr) -> Addresses {
    let destination = SocketAddr::new(connection.local_ip().unwrap_or(local.ip()), local.port());
    Addresses { source: connection.remote_address(), destination }
}

/// Waits for the handshake, or where that is allowed for the first that comes within it.
async fn begin(
    connecting: Connecting,
    early: bool,
    handshake: Handshake,
    (state, place, timer): (&ListenerState, &Place, &Timer),
    give_up: GiveUp,
) -> Option<(Connection, Option<Unproved>)> {
    let connecting = if early {
        match connecting.into_0rtt() {
            Ok((connection, accepted)) => {
                return Some((connection, Some(Unproved { accepted, give_up, handshake })));
            }
            Err(connecting) => connecting,
        }
    } else {
        connecting
    };
    let mut connecting = pin!(connecting);
    let outcome = poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => {
            let until = match place.poll_closing(cx) {
                Poll::Ready(closing) => earlier(give_up, Some(closing)),
                Poll::Pending => give_up,
            };
            timer.poll(until, cx).map(|()| None)
        }
    });
    match outcome.await {
        Some(Ok(connection)) => {
            state.handshakes.fetch_add(1, Ordering::Relaxed);
            Some((connection, None))
        }
        failed => {
            state.handshake_failures.fetch_add(1, Ordering::Relaxed);
            let why = failed.and_then(Result::err).map(tracing::field::display);
            tracing::debug!(listener = state.name, why, "no QUIC handshake");
            None
        }
    }
}

/// What the handshake has told. Before it is complete, nobody has proved anything.
fn facts(connection: &Connection, complete: bool) -> Facts {
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    let identity = complete.then(|| connection.peer_identity()).flatten();
    let certificates = identity.and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let first = certificates.as_ref().and_then(|certificates| certificates.first());
    Facts {
        version: "TLSv1.3",
        // The library that speaks QUIC does not tell.
        cipher: "",
        resumed: false,
        server_name: data.as_ref().and_then(|data| data.server_name.as_deref()).map(Into::into),
        alpn: data.and_then(|data| data.protocol).map(Into::into),
        identity: first.map(|certificate| Box::new(Identity::of(certificate))),
    }
}
