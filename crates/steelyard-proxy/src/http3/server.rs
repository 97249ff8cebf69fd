//! A client's HTTP/3 connection: its streams, each a request, and its end.

use super::answer::AnswerStream;
use super::asked::{AskedStream, Refused};
use super::code::{Code, Failure};
use super::control;
use super::endpoint::Handshake;
use super::frames::Frames;
use super::peer::Peer;
use super::stream::Back;
use super::varint;
use crate::accepted::{listener_of, woken};
use crate::account::Account;
use crate::codec::Asked;
use crate::forward::{Client, Outcome, forward, put_off, turn_down};
use crate::grpc;
use crate::head::{Method, Version};
use crate::http1::Reject;
use crate::http1::client::limits;
use crate::timer::{GiveUp, Timer};
use futures_util::stream::{FuturesUnordered, StreamExt};
use quinn::{Connection, RecvStream, SendStream, ZeroRttAccepted};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use steelyard_core::listener::Listener;
use steelyard_core::time::Nanos;

/// How long a client that lay idle may go on sending requests that it sent before it heard that it is to end.
const LAST_REQUESTS: Nanos = Nanos::from_millis(1_000);
/// How long a client has to hear which of its requests was the last, before the connection is closed under it.
const FAREWELL: Nanos = Nanos::from_millis(100);
/// What says that the end is near, and refuses nothing yet: the last of all streams that a client can open.
const LAST_STREAM: u64 = varint::MAX - 3;
/// Between two streams of a client.
const STREAM_STEP: u64 = 4;

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

/// How far a connection is from its end.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Open,
    /// It has been told to end. Requests that come until then are still served, since their client may not have heard.
    Leaving(Nanos),
    /// It has been told which request was the last, and is closed once all are answered, but not before then.
    Closing(Nanos),
}

type Serving<'c> = Pin<Box<dyn Future<Output = Ended> + 'c>>;
type Speaking<'c> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'c>>;

struct Serve<'c> {
    client: &'c Client<'c>,
    peer: &'c Peer,
    streams: FuturesUnordered<Serving<'c>>,
    /// Streams that carry no request.
    others: FuturesUnordered<Speaking<'c>>,
    phase: Phase,
    /// Streams that the client may cancel beside those that are answered.
    resets: Account,
    idle_ms: Option<u64>,
    /// Since when there is no request.
    quiet_since: Nanos,
    /// The first stream that has not come.
    next_stream: u64,
}

/// A handshake that is not complete, and until when it may take.
pub(super) struct Unproved {
    pub accepted: ZeroRttAccepted,
    pub give_up: GiveUp,
    /// Counts it while it lasts.
    pub handshake: Handshake,
}

/// Serves a connection to its end. `unproved` says that its handshake is not complete.
pub(super) async fn serve(client: &Client<'_>, connection: &Connection, unproved: Option<Unproved>) {
    let Some(listener) = listener_of(client.worker, client.state) else { return };
    let peer = Peer::new(&listener.limits, unproved.is_none());
    let others = FuturesUnordered::<Speaking<'_>>::new();
    others.push(Box::pin(control::speak(connection, &peer, listener.limits.header_bytes_max)));
    let mut serve = Serve {
        client,
        peer: &peer,
        streams: FuturesUnordered::new(),
        others,
        phase: Phase::Open,
        resets: Account::new(u64::from(listener.limits.resets_max)),
        idle_ms: listener.timeouts.idle_ms,
        quiet_since: client.timer.now(),
        next_stream: 0,
    };
    drop(listener);
    let mut requests = pin!(connection.accept_bi());
    let mut strays = pin!(connection.accept_uni());
    let mut proof = pin!(prove(client, connection, &peer, unproved));
    let (code, why) = poll_fn(|cx| {
        if proof.as_mut().poll(cx).is_ready() {
            return Poll::Ready((Code::NoError, "no handshake"));
        }
        loop {
            serve.recover();
            serve.poll_streams(cx);
            let mut opened = false;
            while let Poll::Ready(next) = requests.as_mut().poll(cx) {
                let Ok((send, recv)) = next else { return Poll::Ready((Code::NoError, "")) };
                requests.set(connection.accept_bi());
                opened |= serve.open(send, recv);
            }
            while let Poll::Ready(next) = strays.as_mut().poll(cx) {
                let Ok(stream) = next else { return Poll::Ready((Code::NoError, "")) };
                strays.set(connection.accept_uni());
                serve.others.push(Box::pin(control::listen(stream, serve.peer)));
                opened = true;
            }
            if opened {
                continue;
            }
            return match serve.failed() {
                Some(failed) => Poll::Ready(failed),
                None => serve.poll_end(cx),
            };
        }
    })
    .await;
    if code != Code::NoError {
        client.count_bad_request();
        tracing::debug!(listener = client.state.name, ?code, why, "an HTTP/3 connection ended");
    }
    connection.close(code.into(), why.as_bytes());
}

/// Waits for the end of the handshake, and for ever once it has come; ready where it has taken too long.
async fn prove(client: &Client<'_>, connection: &Connection, peer: &Peer, unproved: Option<Unproved>) {
    if let Some(Unproved { accepted, give_up, handshake }) = unproved {
        let mut accepted = pin!(accepted);
        let proved = poll_fn(|cx| match accepted.as_mut().poll(cx) {
            // What it says is of early data alone; without a handshake there is no connection any more.
            Poll::Ready(_) => Poll::Ready(connection.close_reason().is_none()),
            Poll::Pending => client.timer.poll(give_up, cx).map(|()| false),
        })
        .await;
        drop(handshake);
        if !proved {
            client.state.handshake_failures.fetch_add(1, Ordering::Relaxed);
            return;
        }
        client.state.handshakes.fetch_add(1, Ordering::Relaxed);
        peer.proved.set(true);
    }
    std::future::pending::<()>().await;
}

impl Serve<'_> {
    fn recover(&mut self) {
        let now = self.client.timer.now();
        self.resets.recover(now);
        self.peer.frames.borrow_mut().recover(now);
    }

    /// Lets every stream that can move do so.
    fn poll_streams(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(outcome)) = self.others.poll_next_unpin(cx) {
            if let Err(failure) = outcome {
                self.peer.note(failure);
            }
        }
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
    fn open(&mut self, mut send: SendStream, mut recv: RecvStream) -> bool {
        if matches!(self.phase, Phase::Closing(_)) {
            // Refused like this, its client knows that it may send it elsewhere.
            let _ = recv.stop(Code::RequestRejected.into());
            let _ = send.reset(Code::RequestRejected.into());
            return false;
        }
        self.next_stream = self.next_stream.max(u64::from(recv.id()) + STREAM_STEP);
        self.client.state.requests.fetch_add(1, Ordering::Relaxed);
        self.client.state.http3.requests.fetch_add(1, Ordering::Relaxed);
        let early = recv.is_0rtt() && !self.peer.proved.get();
        // The address stays that of the handshake: anybody can write a packet that says it comes from another, and
        // whether that is so is known only later.
        let client = Client { early, ..*self.client };
        self.streams.push(Box::pin(stream(client, self.peer, send, recv)));
        true
    }

    fn failed(&self) -> Option<(Code, &'static str)> {
        self.peer.failed().or_else(|| {
            self.resets.is_exhausted().then_some((Code::ExcessiveLoad, "too many requests were cancelled"))
        })
    }

    /// Ready when the connection is to be closed.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<(Code, &'static str)> {
        let timer = self.client.timer;
        loop {
            match self.phase {
                Phase::Open => {
                    let idle = self.idle_ms.map(|ms| self.quiet_since.plus(Nanos::from_millis(ms)));
                    if let Poll::Ready(until) = self.client.place.poll_closing(cx) {
                        self.leave(until);
                    } else if self.streams.is_empty() && timer.poll(idle, cx).is_ready() {
                        self.leave(timer.now().plus(LAST_REQUESTS));
                    } else {
                        return Poll::Pending;
                    }
                }
                Phase::Leaving(until) => {
                    if timer.poll(Some(until), cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.peer.tell(self.next_stream);
                    self.phase = Phase::Closing(timer.now().plus(FAREWELL));
                }
                Phase::Closing(from) => {
                    if !self.streams.is_empty() || timer.poll(Some(from), cx).is_pending() {
                        return Poll::Pending;
                    }
                    return Poll::Ready((Code::NoError, ""));
                }
            }
            // What is to be said of that is said at once.
            self.poll_streams(cx);
        }
    }

    fn leave(&mut self, until: Nanos) {
        self.peer.tell(LAST_STREAM);
        self.phase = Phase::Leaving(until);
    }
}

/// Serves one request.
async fn stream(connection: Client<'_>, peer: &Peer, send: SendStream, recv: RecvStream) -> Ended {
    let timer = Timer::new(connection.worker.shared.clock);
    let client = Client { timer: &timer, ..connection };
    woken(&timer, pin!(exchange(&client, peer, send, recv))).await
}

async fn exchange(client: &Client<'_>, peer: &Peer, send: SendStream, recv: RecvStream) -> Ended {
    let Some(listener) = listener_of(client.worker, client.state) else { return Ended::Broken };
    let idle_ms = listener.timeouts.idle_ms;
    let back = Back::new(send);
    let mut answer = AnswerStream::new(Rc::clone(&back), client.timer, idle_ms);
    let mut frames = Some(Frames::new(recv));
    let give_up = client.timer.after(listener.timeouts.request_header_ms);
    let limits = limits(&listener.limits);
    let asked = AskedStream::read(client, peer, &mut frames, &back, &limits, give_up).await;
    let mut is_forced = false;
    let failure = match asked {
        Ok(mut asked) => {
            answer_to(client, listener, &mut asked, &mut answer).await;
            // Whatever is still to come of it nobody wants.
            asked.stop(Code::NoError);
            asked.failure()
        }
        Err(Refused::Answered(reject)) => {
            turn_down(client, &mut answer, Version::Http3, reject).await;
            if let Some(frames) = &mut frames {
                frames.stop(if reject.status == 400 { Code::MessageError } else { Code::NoError });
            }
            None
        }
        Err(Refused::Failed(failure)) => Some(failure),
    };
    match failure {
        Some(Failure::Gone) => back.has_left(),
        Some(Failure::Stream(code)) => {
            // A client that makes us reset its streams costs what one does that resets them.
            is_forced = true;
            client.count_bad_request();
            back.reset(code);
            if let Some(frames) = &mut frames {
                frames.stop(code);
            }
        }
        Some(failure @ Failure::Connection(..)) => peer.note(failure),
        None => {}
    }
    if answer.is_ended() {
        // The end of the connection must not come before that of the answer.
        back.received(client.timer, idle_ms).await;
        return Ended::Answered;
    }
    if back.is_left() || is_forced { Ended::Cancelled } else { Ended::Broken }
}

/// Answers a request that is one.
async fn answer_to(
    client: &Client<'_>,
    listener: std::sync::Arc<Listener>,
    asked: &mut AskedStream<'_>,
    answer: &mut AnswerStream<'_>,
) {
    let request = asked.request();
    let mut content_types =
        request.fields.iter().filter(|field| field.name.of(request.bytes) == b"content-type");
    if content_types.any(|field| grpc::is_grpc(field.value.of(request.bytes))) {
        answer.speaks_grpc();
    }
    if client.early && !may_be_early(request.head.method, request.head.upgrade.is_some()) {
        // RFC 8470 section 5.2: its client sends it again once the handshake is complete.
        let reason = "this request has to wait for the end of the handshake";
        client.state.http3.too_early.fetch_add(1, Ordering::Relaxed);
        return put_off(client, answer, Version::Http3, Reject { status: 425, reason }).await;
    }
    if let Outcome::Tunnel(tunnel) = forward(client, &listener, asked, answer).await {
        drop(listener);
        tunnel.carry(client, asked, answer).await;
    }
}

/// Whether a request does no harm when somebody else sends a copy of it (RFC 9110 section 9.2.1).
fn may_be_early(method: Method, upgrades: bool) -> bool {
    matches!(method, Method::Get | Method::Head | Method::Options | Method::Trace) && !upgrades
}
