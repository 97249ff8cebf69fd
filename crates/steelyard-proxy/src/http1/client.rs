//! A client's HTTP/1.1 connection: request after request, and next to nothing in between.

use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::{Limits, Reject};
use crate::accepted::{http_listener_of, linger};
use crate::codec::{Answer, WriteContent};
use crate::fault::{Fault, Side};
use crate::forward::{After, Client, Outcome, forward};
use crate::head::{RequestHead, Version};
use crate::http1::encode::{self, Local};
use crate::http2;
use crate::timer::GiveUp;
use crate::transport::Transport;
use std::future::{Future, poll_fn};
use std::sync::atomic::Ordering;
use std::task::Poll;
use steelyard_core::document::ListenerLimits;

/// How long a client may take to be told that it has to speak TLS.
const TOLD_MS: u64 = 2_000;

/// Tells a client that speaks HTTP in clear text that TLS is spoken here. `false` where it does not take that.
pub(crate) async fn ask_for_tls(client: &Client<'_>, transport: &Transport) -> bool {
    client.state.requests.fetch_add(1, Ordering::Relaxed);
    client.count_bad_request();
    let mut answer = client.worker.vectors.lend();
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
            date: &client.worker.date(client.timer.now()),
        },
    );
    transport.write_all(&answer, &[], client.timer, Some(TOLD_MS)).await.is_ok()
}

/// Serves request after request. Between them only this small future lives: the exchange and its buffers are made when
/// bytes arrive.
pub(crate) async fn serve(client: &Client<'_>, transport: &Transport) {
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
        let give_up = client.place.until(give_up, cx);
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
    let Some(mut listener) = http_listener_of(worker, client.state) else { return After::Close.into() };
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
        match http_listener_of(worker, client.state) {
            Some(current) => listener = current,
            None => return After::Close.into(),
        }
    }
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
