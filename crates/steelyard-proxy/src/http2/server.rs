//! A client's HTTP/2 connection: its streams, each a request, and its end.

use super::answer::AnswerStream;
use super::asked::{AskedStream, Back, SharedBack};
use super::io::{Io, Pipe};
use super::meter::Meter;
use super::{SEND_BUFFER_BYTES_MAX, STREAM_WINDOW_BYTES, connection_window};
use crate::accepted::http_listener_of;
use crate::account::Account;
use crate::forward::{After, Client, Outcome, forward, turn_down};
use crate::grpc;
use crate::head::Version;
use crate::http1::client::limits;
use crate::timer::{GiveUp, Timer};
use crate::transport::Transport;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use http::header::CONTENT_TYPE;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use steelyard_core::listener::Listener;
use steelyard_core::time::Nanos;

/// How long a client that lay idle may go on sending requests that it sent before it heard that it is to end.
const LAST_REQUESTS: Nanos = Nanos::from_millis(1_000);
/// How long the end of a connection may take to be sent.
const FAREWELL: Nanos = Nanos::from_millis(2_000);

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// With its answer.
    Answered,
    /// By the client, before that.
    Cancelled,
    /// Otherwise.
    Broken,
}

type Serving<'c> = Pin<Box<dyn Future<Output = Ended> + 'c>>;

/// How far a connection is from its end.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Open,
    /// It has been told to end. Requests that come until then are still served, since their client may not have heard.
    Leaving(Nanos),
    /// It ends as soon as that has been said, and no later than then.
    Aborting(Nanos),
}

struct Serve<'c> {
    client: &'c Client<'c>,
    pipe: Rc<Pipe<&'c Transport>>,
    connection: Connection<Io<&'c Transport>, Bytes>,
    streams: FuturesUnordered<Serving<'c>>,
    phase: Phase,
    /// Streams that the client may cancel beside those that are answered.
    resets: Account,
    idle_ms: Option<u64>,
    /// Since when there is no request, and nothing of answers that are on their way has moved.
    quiet_since: Nanos,
    sent: u64,
}

/// Serves a connection to its end. `begun` is what was read of it already.
pub(crate) async fn serve(client: &Client<'_>, transport: &Transport, begun: Vec<u8>) -> After {
    let Some(listener) = http_listener_of(client.worker, client.state) else { return After::Close };
    let meter = Meter::new(listener.limits.control_frames_max, true);
    let pipe = Pipe::new(transport, begun, client.worker.vectors.clone(), meter);
    let mut handshake = pin!(builder(&listener).handshake(pipe.end()));
    let give_up = client.timer.after(listener.timeouts.request_header_ms);
    let connection = poll_fn(|cx| {
        let outcome = handshake.as_mut().poll(cx);
        if pipe.poll_send(cx).map(|sent| sent.is_err()) == Poll::Ready(true) {
            return Poll::Ready(None);
        }
        match outcome {
            Poll::Ready(outcome) => Poll::Ready(outcome.ok()),
            Poll::Pending => client.timer.poll(give_up, cx).map(|()| None),
        }
    });
    let Some(connection) = connection.await else {
        client.count_bad_request();
        return After::Close;
    };
    let mut serve = Serve {
        client,
        pipe,
        connection,
        streams: FuturesUnordered::new(),
        phase: Phase::Open,
        resets: Account::new(u64::from(listener.limits.resets_max)),
        idle_ms: listener.timeouts.idle_ms,
        quiet_since: client.timer.now(),
        sent: 0,
    };
    drop(listener);
    poll_fn(|cx| serve.poll(cx)).await
}

fn builder(listener: &Listener) -> Builder {
    let limits = &listener.limits;
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(connection_window(limits.streams_max))
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(limits.header_bytes_max)
        .max_pending_accept_reset_streams(limits.resets_max as usize)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .enable_connect_protocol();
    builder
}

impl Serve<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<After> {
        let now = self.client.timer.now();
        self.pipe.meter().recover(now);
        self.resets.recover(now);
        loop {
            self.poll_streams(cx);
            let mut opened = false;
            while let Poll::Ready(next) = self.connection.poll_accept(cx) {
                match next {
                    Some(Ok((request, respond))) => opened |= self.open(request, respond),
                    Some(Err(error)) => return Poll::Ready(self.over(Some(&error))),
                    None => return Poll::Ready(self.over(None)),
                }
            }
            if opened {
                continue;
            }
            if self.is_too_much() {
                self.client.count_bad_request();
                tracing::debug!(listener = self.client.state.name, "a client asks for too much");
                self.abort(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            if let Poll::Ready(Err(_)) = self.pipe.poll_send(cx) {
                return Poll::Ready(After::Close);
            }
            match self.poll_end(cx) {
                Poll::Ready(Some(after)) => return Poll::Ready(after),
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Lets every stream that can move do so.
    fn poll_streams(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(ended)) = self.streams.poll_next_unpin(cx) {
            self.quiet_since = self.client.timer.now();
            match ended {
                Ended::Answered => self.resets.earn(1),
                Ended::Cancelled => self.resets.spend(1),
                Ended::Broken => {}
            }
        }
    }

    /// Takes a stream in; says whether it has anything to do.
    fn open(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> bool {
        if matches!(self.phase, Phase::Leaving(until) if until <= self.client.timer.now()) {
            // Refused like this, its client knows that it may send it elsewhere.
            respond.send_reset(Reason::REFUSED_STREAM);
            return false;
        }
        self.client.state.requests.fetch_add(1, Ordering::Relaxed);
        self.streams.push(Box::pin(stream(self.client, request, respond)));
        true
    }

    fn is_too_much(&self) -> bool {
        !matches!(self.phase, Phase::Aborting(_))
            && (self.resets.is_exhausted() || self.pipe.meter().is_exhausted())
    }

    fn abort(&mut self, reason: Reason) {
        self.connection.abrupt_shutdown(reason);
        self.phase = Phase::Aborting(self.client.timer.now().plus(FAREWELL));
    }

    /// What becomes of the connection once `h2` is done with it.
    fn over(&self, error: Option<&h2::Error>) -> After {
        let Some(error) = error else { return After::Linger };
        tracing::debug!(listener = self.client.state.name, %error, "an HTTP/2 connection ended");
        if error.is_io() { After::Close } else { After::Linger }
    }

    /// Ends the connection when it is to end: `None` where it has been told so and `h2` is to say it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<After>> {
        let now = self.client.timer.now();
        let unsent = self.streams.is_empty() && self.connection.has_streams();
        if unsent && self.sent != self.pipe.sent() {
            self.quiet_since = now;
        }
        self.sent = self.pipe.sent();
        let quiet_until: GiveUp = self.idle_ms.map(|ms| self.quiet_since.plus(Nanos::from_millis(ms)));
        match self.phase {
            Phase::Open => {
                if let Poll::Ready(until) = self.client.place.poll_closing(cx) {
                    self.leave(until);
                    return Poll::Ready(None);
                }
                if self.streams.is_empty() && self.client.timer.poll(quiet_until, cx).is_ready() {
                    self.leave(now.plus(LAST_REQUESTS));
                    return Poll::Ready(None);
                }
            }
            Phase::Leaving(until) => {
                let until = if unsent { quiet_until.map(|quiet| quiet.max(until)) } else { Some(until) };
                if self.streams.is_empty() && self.client.timer.poll(until, cx).is_ready() {
                    self.abort(Reason::NO_ERROR);
                    return Poll::Ready(None);
                }
            }
            Phase::Aborting(until) => {
                return self.client.timer.poll(Some(until), cx).map(|()| Some(After::Close));
            }
        }
        Poll::Pending
    }

    fn leave(&mut self, until: Nanos) {
        self.connection.graceful_shutdown();
        self.phase = Phase::Leaving(until);
    }
}

/// Serves one request.
async fn stream(
    connection: &Client<'_>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) -> Ended {
    let timer = Timer::new(connection.worker.shared.clock);
    let client = Client { timer: &timer, ..*connection };
    let mut exchange = pin!(exchange(&client, request, respond));
    // As for a connection: whatever it waited for, its timer hears of it here.
    poll_fn(|cx| {
        timer.wake();
        exchange.as_mut().poll(cx)
    })
    .await
}

async fn exchange(client: &Client<'_>, request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Ended {
    let Some(listener) = http_listener_of(client.worker, client.state) else { return Ended::Broken };
    let grpc = request.headers().get(CONTENT_TYPE).is_some_and(|value| grpc::is_grpc(value.as_bytes()));
    let back: SharedBack = Rc::new(RefCell::new(Back::Respond(respond)));
    let mut answer = AnswerStream::new(Rc::clone(&back), client.timer, listener.timeouts.idle_ms, grpc);
    let asked = AskedStream::new(client, request, Rc::clone(&back), &limits(&listener.limits));
    match asked {
        Ok(mut asked) => match forward(client, &listener, &mut asked, &mut answer).await {
            Outcome::Answered(_) => {}
            Outcome::Tunnel(tunnel) => {
                drop(listener);
                tunnel.carry(client, &mut asked, &mut answer).await;
            }
        },
        Err(reject) => turn_down(client, &mut answer, Version::Http2, reject).await,
    }
    let ended = answer.is_ended();
    let gone = || poll_fn(|cx| Poll::Ready(back.borrow_mut().poll_reset(cx).is_ready()));
    match ended {
        true => Ended::Answered,
        false if gone().await => Ended::Cancelled,
        false => Ended::Broken,
    }
}
