//! What becomes of an accepted connection: it is secured where its listener says so, and then its protocol decides which
//! story is told.

use crate::forward::{Client, tcp};
use crate::http1::client;
use crate::proxied::{self, Addresses, Whence};
use crate::registry::Place;
use crate::secure::secure;
use crate::shared::ListenerState;
use crate::timer::Timer;
use crate::transport::{Insecure, Transport};
use crate::worker::{Seat, Worker};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;
use steelyard_core::document::ListenerProtocol;
use steelyard_core::listener::Listener;

/// How long a client that was told to go may go on sending before its connection is closed under it.
const LINGER_MS: u64 = 2_000;
/// How much it may send meanwhile.
const LINGER_BYTES_MAX: usize = 1 << 20;

/// Serves a connection to its end.
#[expect(clippy::manual_async_fn, reason = "the future of one holds what it was given twice")]
pub(crate) fn serve(
    worker: Rc<Worker>,
    seat: Seat,
    place: Place,
    mut transport: Transport,
    peer: Option<IpAddr>,
) -> impl Future<Output = ()> {
    async move {
        let state = seat.listener();
        let timer = Timer::new(worker.shared.clock);
        let Some(listener) = listener_of(&worker, state) else { return };
        let protocol = listener.protocol;
        let mut said = None;
        if listener.proxy_protocol && peer.is_none_or(|peer| listener.trusted.contains(peer)) {
            let mut reading = Box::pin(announced(&transport, &listener, &worker, (state, &place, &timer)));
            match woken(&timer, reading.as_mut()).await {
                Some(addresses) => said = addresses,
                None => return transport.reset_on_close(),
            }
        }
        let peer = said.as_ref().map_or(peer, |said| Some(said.source.ip().to_canonical()));
        if listener.tls.is_some() {
            // In a box, since most of a connection's life is something else.
            let mut securing =
                Box::pin(secured(&mut transport, listener, &worker, (state, &place, &timer), peer));
            if !woken(&timer, securing.as_mut()).await {
                return;
            }
        } else {
            drop(listener);
        }
        let facts = transport.facts();
        let whence = said.as_deref().map_or(Whence::Socket(&transport), Whence::Known);
        let number = worker.number();
        let _departure = Departure { worker: &worker, number };
        let port = if facts.is_some() { transport.port() } else { 0 };
        let client = Client {
            worker: &worker,
            state,
            place: &place,
            timer: &timer,
            peer,
            facts,
            whence,
            number,
            port,
            early: false,
        };
        match protocol {
            ListenerProtocol::Http => woken(&timer, pin!(client::serve(&client, &transport))).await,
            ListenerProtocol::Tcp => woken(&timer, Box::pin(tcp::carry(&client, &transport)).as_mut()).await,
            // Datagrams come without a connection.
            ListenerProtocol::Udp => {}
        }
    }
}

/// Ends what is kept for a client alone once it has gone.
pub(crate) struct Departure<'a> {
    pub worker: &'a Worker,
    pub number: u64,
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        self.worker.idle.forget(self.number);
        self.worker.lines.forget(self.number);
    }
}

/// Whatever the task was waiting for, its timer hears of it here and nowhere else.
pub(crate) fn woken<F: Future>(timer: &Timer, mut future: Pin<&mut F>) -> impl Future<Output = F::Output> {
    poll_fn(move |cx| {
        timer.wake();
        future.as_mut().poll(cx)
    })
}

/// Who the client is, as the header says that a connection from one that is believed begins with: `None` where there is no
/// such header, `Some(None)` where it says that the connection is the balancer's own.
async fn announced(
    transport: &Transport,
    listener: &Listener,
    worker: &Worker,
    (state, place, timer): (&ListenerState, &Place, &Timer),
) -> Option<Option<Box<Addresses>>> {
    let until = timer.after(listener.timeouts.handshake_ms);
    let until = |cx: &mut Context<'_>| place.until(until, cx);
    let looking = transport.look(proxied::HEADER_BYTES_MAX, &worker.buffers, timer, until, proxied::read);
    let why = match looking.await {
        Ok(Some(Ok(header))) => match transport.take(header.bytes) {
            Ok(()) => return Some(header.addresses.map(Box::new)),
            Err(error) => error.to_string(),
        },
        Ok(Some(Err(malformed))) => malformed.to_string(),
        Ok(None) => "it ended before".to_owned(),
        Err(error) => error.to_string(),
    };
    state.bad_requests.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(listener = state.name, why, "a connection without the header of the PROXY protocol");
    None
}

/// Lets TLS begin; `false` where it does not, and the client has been turned away.
async fn secured(
    transport: &mut Transport,
    listener: Arc<Listener>,
    worker: &Rc<Worker>,
    (state, place, timer): (&ListenerState, &Place, &Timer),
    peer: Option<IpAddr>,
) -> bool {
    let protocol = listener.protocol;
    match secure(transport, listener, worker, (state, place, timer), peer).await {
        Ok(()) => true,
        Err(why) => {
            let (whence, number) = (Whence::Socket(transport), worker.number());
            let client = Client {
                worker,
                state,
                place,
                timer,
                peer,
                facts: None,
                whence,
                number,
                port: 0,
                early: false,
            };
            turn_away(&client, protocol, transport, &why).await;
            false
        }
    }
}

/// Leaves a client without TLS time to read why: the alert that has been sent, or an answer.
async fn turn_away(client: &Client<'_>, protocol: ListenerProtocol, transport: &Transport, why: &Insecure) {
    let told = match why {
        Insecure::ClearText if protocol == ListenerProtocol::Http => {
            client::ask_for_tls(client, transport).await
        }
        Insecure::Refused(_) | Insecure::Proved | Insecure::NoHttp2 => true,
        Insecure::ClearText | Insecure::TimedOut | Insecure::Gone(_) => false,
    };
    if told {
        linger(transport, client.timer, client.worker).await;
    }
}

/// Ends our side and throws away what still comes, so that the client can read the answer before the connection is
/// gone.
pub(crate) async fn linger(transport: &Transport, timer: &Timer, worker: &Worker) {
    transport.end();
    let give_up = timer.after(Some(LINGER_MS));
    let mut buffer = worker.buffers.lend();
    let mut thrown_away = 0;
    while thrown_away < LINGER_BYTES_MAX {
        match transport.read(buffer.room(), timer, give_up).await {
            Ok(0) | Err(_) => return,
            Ok(count) => thrown_away += count,
        }
    }
}

/// The listener as the snapshot in force has it, or as it last was when it has left the configuration.
pub(crate) fn listener_of(worker: &Worker, state: &ListenerState) -> Option<Arc<Listener>> {
    worker.pin().listener(&state.name).or_else(|| state.farewell.get()).cloned()
}

/// The same for connections of HTTP, which end where their listener carries something else by now.
pub(crate) fn http_listener_of(worker: &Worker, state: &ListenerState) -> Option<Arc<Listener>> {
    listener_of(worker, state).filter(|listener| listener.protocol == ListenerProtocol::Http)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a function of five arguments makes, without making it.
    fn size_of_made<A, B, C, D, E, Made>(_: fn(A, B, C, D, E) -> Made) -> usize {
        size_of::<Made>()
    }

    #[test]
    fn a_connection_stays_small_between_requests() {
        // Thousands of them wait; the runtime adds some 100 bytes of its own to each.
        let bytes = size_of_made(serve);
        assert!(bytes <= 512, "{bytes} bytes");
    }
}
