//! A client's HTTP/1.1 connection: request after request, and next to nothing in between.

use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::{Limits, Reject};
use crate::codec::{Answer, WriteContent};
use crate::fault::{Fault, Side};
use crate::forward::{After, Client, Outcome, forward};
use crate::head::{RequestHead, Version};
use crate::http1::encode::{self, Local};
use crate::http2;
use crate::registry::Place;
use crate::secure::secure;
use crate::shared::ListenerState;
use crate::timer::{GiveUp, Timer, earlier};
use crate::transport::{Insecure, Transport};
use crate::worker::{Seat, Worker};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use steelyard_core::document::ListenerLimits;
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
        if let Some(listener) = listener_of(&worker, state).filter(|listener| listener.tls.is_some()) {
            // In a box, since most of a connection's life is something else.
            let mut securing =
                Box::pin(secured(&mut transport, listener, &worker, (state, &place, &timer), peer));
            if !woken(&timer, securing.as_mut()).await {
                return;
            }
        }
        let facts = transport.facts();
        let client = Client { worker: &worker, state, place: &place, timer: &timer, peer, facts };
        woken(&timer, pin!(serve_all(&client, &transport))).await;
    }
}

/// Whatever the task was waiting for, its timer hears of it here and nowhere else.
fn woken<F: Future>(timer: &Timer, mut future: Pin<&mut F>) -> impl Future<Output = F::Output> {
    poll_fn(move |cx| {
        timer.wake();
        future.as_mut().poll(cx)
    })
}

/// Lets TLS begin; `false` where it does not, and the client has been turned away.
async fn secured(
    transport: &mut Transport,
    listener: Arc<Listener>,
    worker: &Worker,
    (state, place, timer): (&ListenerState, &Place, &Timer),
    peer: Option<IpAddr>,
) -> bool {
    match secure(transport, listener, worker, (state, place, timer), peer).await {
        Ok(()) => true,
        Err(why) => {
            turn_away(worker, state, timer, transport, &why).await;
            false
        }
    }
}

/// Leaves a client without TLS time to read why: the alert that has been sent, or an answer.
async fn turn_away(
    worker: &Worker,
    state: &ListenerState,
    timer: &Timer,
    transport: &Transport,
    why: &Insecure,
) {
    match why {
        Insecure::ClearText => {
            state.requests.fetch_add(1, Ordering::Relaxed);
            state.bad_requests.fetch_add(1, Ordering::Relaxed);
            let mut answer = worker.vectors.lend();
            encode::local(
                &mut answer,
                &Local {
                    status: 400,
                    fields: &[],
                    body: "this port speaks HTTPS, and this was a request in clear text\n",
                    overdue: false,
                    version: Version::Http11,
                    close: true,
                    head_request: false,
                    date: &worker.date(timer.now()),
                },
            );
            if transport.write_all(&answer, &[], timer, Some(LINGER_MS)).await.is_err() {
                return;
            }
        }
        Insecure::Refused(_) | Insecure::Proved | Insecure::NoHttp2 => {}
        Insecure::TimedOut | Insecure::Gone(_) => return,
    }
    linger(transport, timer, worker).await;
}

/// Serves request after request. Between them only this small future lives: the exchange and its buffers are made when
/// bytes arrive.
async fn serve_all(client: &Client<'_>, transport: &Transport) {
    let worker = client.worker;
    let idle_ms = worker.pin().listener(&client.state.name).and_then(|listener| listener.timeouts.idle_ms);
    let mut idle_until = client.timer.after(idle_ms);
    // What was agreed on in the handshake is what is spoken; else the first bytes tell.
    let mut first = transport.alpn().is_none();
    while wakes_up(client, transport, idle_until).await {
        if transport.alpn() == Some(b"h2") {
            return Box::pin(end(client, transport, Next::Http2(Vec::new()))).await;
        }
        // Made where it will lie: it is too large to be moved for every request.
        let mut serving = Box::into_pin(Box::<Option<_>>::default());
        serving.set(Some(exchanges(client, transport, &mut idle_until, &mut first)));
        let after = poll_fn(|cx| {
            serving
                .as_mut()
                .as_pin_mut()
                .map_or(Poll::Ready(Next::Is(After::Close)), |serving| serving.poll(cx))
        })
        .await;
        drop(serving);
        match after {
            Next::Is(After::Keep) => {}
            Next::Is(After::Close) => return,
            // In a box, since not all come here and all would carry it.
            last => return Box::pin(end(client, transport, last)).await,
        }
    }
}

/// What follows the last request of HTTP/1.1.
async fn end(client: &Client<'_>, transport: &Transport, last: Next) {
    let after = match last {
        Next::Is(after) => after,
        Next::Http2(begun) => http2::server::serve(client, transport, begun).await,
    };
    if after == After::Linger {
        linger(transport, client.timer, client.worker).await;
    }
}

/// What follows when no more requests have arrived.
enum Next {
    /// As the last one said.
    Is(After),
    /// The client speaks HTTP/2, and has sent this.
    Http2(Vec<u8>),
}

impl From<After> for Next {
    fn from(after: After) -> Self {
        Self::Is(after)
    }
}

/// Waits for the next request; `false` when the connection is to end instead.
async fn wakes_up(client: &Client<'_>, transport: &Transport, give_up: GiveUp) -> bool {
    poll_fn(|cx| {
        if transport.poll_readable(cx).is_ready() {
            return Poll::Ready(true);
        }
        let give_up = match client.place.poll_closing(cx) {
            Poll::Ready(until) => earlier(give_up, Some(until)),
            Poll::Pending => give_up,
        };
        client.timer.poll(give_up, cx).map(|()| false)
    })
    .await
}

/// Serves requests until none has arrived. Each sets anew until when the client may be idle. `first` says that there was
/// none before, and so that they may be of HTTP/2.
async fn exchanges(
    client: &Client<'_>,
    transport: &Transport,
    idle_until: &mut GiveUp,
    first: &mut bool,
) -> Next {
    let worker = client.worker;
    let Some(mut listener) = listener_of(worker, client.state) else { return After::Close.into() };
    let mut asked = Incoming::<RequestHead>::new(
        transport,
        client.timer,
        Side::Client,
        limits(&listener.limits),
        &worker.buffers,
        &worker.fields,
    );
    let mut answer =
        Outgoing::new(transport, client.timer, Side::Client, listener.timeouts.idle_ms, &worker.vectors);
    match asked.read_arrived().await {
        Some(Ok(1..)) => {}
        Some(_) => return After::Close.into(),
        None => return After::Keep.into(),
    }
    if std::mem::take(first) {
        match asked.begins_with(http2::PREFACE, listener.timeouts.request_header_ms).await {
            Ok(false) => {}
            Ok(true) => return Next::Http2(asked.take_unread()),
            Err(_) => return After::Close.into(),
        }
    }
    if asked.is_between_requests() {
        return After::Keep.into();
    }
    loop {
        let after = match asked.next_request(listener.timeouts.request_header_ms).await {
            Ok(None) => After::Close,
            Ok(Some(_)) => {
                client.state.requests.fetch_add(1, Ordering::Relaxed);
                match forward(client, &listener, &mut asked, &mut answer).await {
                    Outcome::Answered(after) => after,
                    Outcome::Tunnel(tunnel) => {
                        drop(listener);
                        return tunnel.carry(client, &mut asked, &mut answer).await.into();
                    }
                }
            }
            Err(fault) => reject(client, &fault, asked.has_begun(), &mut answer).await,
        };
        *idle_until = client.timer.after(listener.timeouts.idle_ms);
        if after != After::Keep || asked.is_between_requests() {
            return after.into();
        }
        match listener_of(worker, client.state) {
            Some(current) => listener = current,
            None => return After::Close.into(),
        }
    }
}

/// The listener as the snapshot in force has it, or as it last was when it has left the configuration.
pub(crate) fn listener_of(worker: &Worker, state: &ListenerState) -> Option<Arc<Listener>> {
    worker.pin().listener(&state.name).or_else(|| state.farewell.get()).cloned()
}

/// The bounds on a head that a listener sets.
pub(crate) fn limits(limits: &ListenerLimits) -> Limits {
    Limits {
        header_bytes_max: limits.header_bytes_max,
        header_count_max: limits.header_count_max,
        target_bytes_max: limits.target_bytes_max,
    }
}

/// Answers what is no request, where there is something to answer.
async fn reject(client: &Client<'_>, fault: &Fault, begun: bool, answer: &mut Outgoing<'_>) -> After {
    let Some(status) = fault.status().filter(|_| begun) else { return After::Close };
    client.state.requests.fetch_add(1, Ordering::Relaxed);
    client.count_bad_request();
    let words = match fault {
        Fault::BadRequest(Reject { reason, .. }) => format!("{reason}\n"),
        fault => format!("{fault}\n"),
    };
    tracing::debug!(listener = client.state.name, status, %fault, "request refused");
    answer.local(&Local {
        status,
        fields: &[],
        body: &words,
        version: Version::Http11,
        close: true,
        head_request: false,
        overdue: false,
        date: &client.worker.date(client.timer.now()),
    });
    match answer.flush().await {
        Ok(()) => After::Linger,
        Err(_) => After::Close,
    }
}

/// Ends our side and throws away what still comes, so that the client can read the answer before the connection is
/// gone.
async fn linger(transport: &Transport, timer: &Timer, worker: &Worker) {
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
