//! A request to an endpoint on a stream.

use super::answered::AnsweredStream;
use super::content::Content;
use super::group::Permit;
use super::translate::upward::{self, Asking, Towards};
use crate::codec::{Ask, Parts, Trailers, WriteContent};
use crate::fault::Fault;
use crate::forward::Client;
use crate::head::RequestHead;
use crate::http1::encode::RequestEdit;
use crate::timer::Timer;
use bytes::{Bytes, BytesMut};
use h2::SendStream;
use h2::client::ResponseFuture;
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Content is gathered up to this size before it goes to the connection.
const GATHER_BYTES_MAX: usize = 16 * 1024;

/// What the two halves of an exchange share.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    response: RefCell<Option<ResponseFuture>>,
    /// Whoever waits for the request to be sent.
    waker: RefCell<Option<Waker>>,
    /// What was asked, as far as the answer must be read by it.
    asking: RefCell<Asking>,
}

impl Exchange {
    /// The response to come; ready once the request has been sent.
    pub fn poll_response(&self, cx: &mut Context<'_>) -> Poll<ResponseFuture> {
        if let Some(response) = self.response.take() {
            return Poll::Ready(response);
        }
        self.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// What was asked.
    pub fn asking(&self) -> Asking {
        self.asking.take()
    }
}

/// A request as it is written.
#[derive(Debug)]
pub(crate) struct AskStream<'t> {
    permit: &'t Permit,
    timer: &'t Timer,
    patience_ms: Option<u64>,
    exchange: Rc<Exchange>,
    /// The head that was gathered and has not gone.
    head: Option<http::Request<()>>,
    /// Content that was gathered and has not gone.
    gathered: BytesMut,
    body: Option<SendStream<Bytes>>,
    ended: bool,
}

/// What is left of an exchange that has become a tunnel.
#[derive(Debug)]
pub(crate) struct Ends {
    body: Option<SendStream<Bytes>>,
    content: Option<Content>,
}

/// A stream that carries another protocol.
#[derive(Debug)]
pub(crate) struct OpenStream {
    permit: Permit,
    ends: Ends,
}

/// The two halves of an exchange.
pub(crate) fn halves<'t>(
    permit: &'t Permit,
    client: &Client<'t>,
    patience_ms: Option<u64>,
) -> (AskStream<'t>, AnsweredStream<'t>) {
    let exchange = Rc::<Exchange>::default();
    let ask = AskStream::new(permit, client.timer, patience_ms, Rc::clone(&exchange));
    (ask, AnsweredStream::new(client, exchange))
}

impl OpenStream {
    /// A stream of which these are the ends.
    pub fn new(ends: Ends, permit: Permit) -> Self {
        Self { permit, ends }
    }

    /// The two halves of the tunnel.
    pub fn halves<'t>(&'t mut self, client: &Client<'t>) -> (AskStream<'t>, AnsweredStream<'t>) {
        let exchange = Rc::<Exchange>::default();
        let mut ask = AskStream::new(&self.permit, client.timer, None, Rc::clone(&exchange));
        ask.body = self.ends.body.take();
        (ask, AnsweredStream::resume(client, exchange, self.ends.content.take()))
    }
}

impl<'t> AskStream<'t> {
    fn new(permit: &'t Permit, timer: &'t Timer, patience_ms: Option<u64>, exchange: Rc<Exchange>) -> Self {
        let gathered = BytesMut::new();
        Self { permit, timer, patience_ms, exchange, head: None, gathered, body: None, ended: false }
    }

    /// What is left of both halves.
    pub fn into_ends(self, answered: AnsweredStream<'_>) -> Ends {
        Ends { body: self.body, content: answered.into_content() }
    }

    fn send_head(&mut self, end: bool) -> Result<(), Fault> {
        let Some(head) = self.head.take() else { return Ok(()) };
        let Some(mut sender) = self.permit.sender() else { return Err(Fault::Unprocessed) };
        let sent = sender.send_request(head, end);
        let (response, body) = sent.map_err(|error| {
            // After a goodbye it takes no further request, however long those that it has may last.
            self.permit.retire();
            unsent(&error)
        })?;
        self.body = Some(body);
        self.ended = end;
        self.exchange.response.replace(Some(response));
        if let Some(waker) = self.exchange.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    /// Sends what was gathered, with which the request ends where `end` says so.
    async fn push(&mut self, end: bool) -> Result<(), Fault> {
        self.send_head(end && self.gathered.is_empty())?;
        while !self.gathered.is_empty() {
            let room = self.room().await?;
            let piece = self.gathered.split_to(room.min(self.gathered.len())).freeze();
            self.send(piece, end && self.gathered.is_empty())?;
        }
        if end && !self.ended {
            self.send(Bytes::new(), true)?;
        }
        Ok(())
    }

    fn send(&mut self, piece: Bytes, end: bool) -> Result<(), Fault> {
        let body = self.body.as_mut().ok_or(Fault::Reset)?;
        body.send_data(piece, end).map_err(|error| fault_of(&error, false))?;
        self.ended = end;
        Ok(())
    }

    /// Waits until some of what was gathered may go; says how much.
    async fn room(&mut self) -> Result<usize, Fault> {
        let wanted = self.gathered.len();
        let body = self.body.as_mut().ok_or(Fault::Reset)?;
        let (timer, patience_ms) = (self.timer, self.patience_ms);
        let mut give_up = None;
        poll_fn(|cx| {
            body.reserve_capacity(wanted);
            if body.capacity() > 0 {
                return Poll::Ready(Ok(body.capacity()));
            }
            match body.poll_capacity(cx) {
                Poll::Ready(Some(Ok(room))) => Poll::Ready(Ok(room)),
                Poll::Ready(Some(Err(error))) => Poll::Ready(Err(fault_of(&error, false))),
                Poll::Ready(None) => Poll::Ready(Err(Fault::Reset)),
                Poll::Pending => {
                    let at = *give_up.get_or_insert_with(|| timer.after(patience_ms));
                    timer.poll(at, cx).map(|()| Err(Fault::Stalled))
                }
            }
        })
        .await
    }
}

impl WriteContent for AskStream<'_> {
    async fn data(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() < GATHER_BYTES_MAX {
            return Ok(());
        }
        self.push(false).await
    }

    async fn end(&mut self, trailers: Trailers<'_>) -> Result<(), Fault> {
        // What asks for a change of protocol has no content, and no end before that of the tunnel.
        if self.head.is_some() && self.exchange.asking.borrow().is_websocket() {
            return self.push(false).await;
        }
        if trailers.fields.is_empty() {
            return self.push(true).await;
        }
        self.push(false).await?;
        let body = self.body.as_mut().ok_or(Fault::Reset)?;
        body.send_trailers(super::translate::trailer_map(trailers))
            .map_err(|error| fault_of(&error, false))?;
        self.ended = true;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        if self.ended { Ok(()) } else { self.push(false).await }
    }
}

impl Ask for AskStream<'_> {
    fn head(&mut self, request: Parts<'_, RequestHead>, edit: &RequestEdit<'_>) -> usize {
        let websockets =
            self.permit.sender().is_some_and(|sender| sender.is_extended_connect_protocol_enabled());
        let (head, asking, bytes) =
            upward::request(request, edit, Towards { websockets, secure: self.permit.is_secure() });
        self.head = Some(head);
        self.exchange.asking.replace(asking);
        bytes
    }

    fn become_tunnel(&mut self, patience_ms: Option<u64>) {
        self.patience_ms = patience_ms;
    }
}

/// What it means that a request could not even be sent.
fn unsent(error: &h2::Error) -> Fault {
    tracing::debug!(%error, "a request did not find its connection any more");
    Fault::Unprocessed
}

/// What an error on a stream means; `begun` says whether its response has begun.
pub(super) fn fault_of(error: &h2::Error, begun: bool) -> Fault {
    let remote = error.is_remote();
    match error.reason() {
        // The endpoint ends its connection, and has not looked at this stream.
        Some(_) if remote && error.is_go_away() && !begun => Fault::Unprocessed,
        Some(h2::Reason::REFUSED_STREAM) if remote && !begun => Fault::Unprocessed,
        Some(_) if error.is_library() => Fault::Malformed("broke the rules of HTTP/2"),
        _ if begun => Fault::CutShort,
        _ => Fault::Reset,
    }
}
