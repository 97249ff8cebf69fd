//! A client's request on a stream.

use super::content::Content;
use super::translate;
use crate::codec::{Asked, Parts, Piece, ReadContent};
use crate::fault::Fault;
use crate::forward::Client;
use crate::free::Lent;
use crate::head::{FieldSpan, Framing, RequestHead};
use crate::http1::{Limits, Reject};
use crate::pseudo::websocket;
use crate::timer::{GiveUp, Timer};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Request;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll};

/// The way back of a stream: what the answer is written to, and where the client's departure shows.
#[derive(Debug)]
pub(super) enum Back {
    /// No response yet.
    Respond(SendResponse<Bytes>),
    /// Its head has gone.
    Body(SendStream<Bytes>),
}

/// The way back, for both halves of an exchange.
pub(super) type SharedBack = Rc<RefCell<Back>>;

impl Back {
    /// Ready when the client has reset the stream, or the connection has ended.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let outcome = match self {
            Self::Respond(respond) => respond.poll_reset(cx),
            Self::Body(body) => body.poll_reset(cx),
        };
        outcome.map(drop)
    }

    /// Ends the stream at once.
    pub fn reset(&mut self, reason: Reason) {
        match self {
            Self::Respond(respond) => respond.send_reset(reason),
            Self::Body(body) => body.send_reset(reason),
        }
    }
}

/// A request and its content.
#[derive(Debug)]
pub(super) struct AskedStream<'t> {
    content: Content,
    back: SharedBack,
    timer: &'t Timer,
    head: RequestHead,
    bytes: Lent<u8>,
    fields: Lent<FieldSpan>,
}

impl<'t> AskedStream<'t> {
    /// Takes a request in.
    pub fn new(
        client: &Client<'t>,
        request: Request<RecvStream>,
        back: SharedBack,
        limits: &Limits,
    ) -> Result<Self, Reject> {
        let (parts, body) = request.into_parts();
        let mut bytes = client.worker.vectors.lend();
        let mut fields = client.worker.fields.lend();
        let key = || websocket::key_of(client.worker.random());
        let ended = body.is_end_stream();
        let head = translate::request(&parts, ended, limits, key, &mut bytes, &mut fields)?;
        let content = Content::new(body, head.framing == Framing::None);
        Ok(Self { content, back, timer: client.timer, head, bytes, fields })
    }
}

impl ReadContent for AskedStream<'_> {
    fn arrived(&mut self) -> Result<Option<Piece<'_>>, Fault> {
        self.content.arrived().map_err(|_| Fault::ClientGone)
    }

    async fn fill(&mut self, give_up: GiveUp) -> Result<(), Fault> {
        let (content, timer) = (&mut self.content, self.timer);
        poll_fn(|cx| match content.poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome.map_err(|_| Fault::ClientGone)),
            Poll::Pending => timer.poll(give_up, cx).map(|()| Err(Fault::ClientSlow)),
        })
        .await
    }

    fn is_ended(&self) -> bool {
        self.content.is_ended()
    }

    fn has_unread(&self) -> bool {
        self.content.has_unread()
    }
}

impl<'t> Asked for AskedStream<'t> {
    fn request(&self) -> Parts<'_, RequestHead> {
        Parts { head: &self.head, fields: &self.fields, bytes: &self.bytes }
    }

    async fn gone(&self) {
        self.given_up().await;
    }

    fn given_up(&self) -> impl Future<Output = ()> + use<'t> {
        let back = Rc::clone(&self.back);
        async move { poll_fn(|cx| back.borrow_mut().poll_reset(cx)).await }
    }

    fn become_tunnel(&mut self) {
        self.content.become_tunnel();
    }
}
