//! An endpoint's response on a stream.

use super::ask::{Exchange, fault_of};
use super::content::Content;
use super::translate::upward::{self, Asking};
use crate::codec::{Answered, Parts, Piece, ReadContent, Trailers};
use crate::fault::Fault;
use crate::forward::Client;
use crate::free::Lent;
use crate::head::{FieldSpan, Framing, Method, ResponseHead};
use crate::http1::Limits;
use crate::timer::{GiveUp, Timer};
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::Response;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// A response and its content.
#[derive(Debug)]
pub(crate) struct AnsweredStream<'t> {
    exchange: Rc<Exchange>,
    timer: &'t Timer,
    future: Option<ResponseFuture>,
    asking: Asking,
    content: Option<Content>,
    head: Option<ResponseHead>,
    bytes: Lent<u8>,
    fields: Lent<FieldSpan>,
}

/// A head that has come.
enum Came {
    Interim(Response<()>),
    Final(Response<RecvStream>),
}

impl<'t> AnsweredStream<'t> {
    /// Begins to read the response of an exchange.
    pub(super) fn new(client: &Client<'t>, exchange: Rc<Exchange>) -> Self {
        Self {
            exchange,
            timer: client.timer,
            future: None,
            asking: Asking::default(),
            content: None,
            head: None,
            bytes: client.worker.vectors.lend(),
            fields: client.worker.fields.lend(),
        }
    }

    /// Goes on with content that is a tunnel.
    pub(super) fn resume(client: &Client<'t>, exchange: Rc<Exchange>, content: Option<Content>) -> Self {
        Self { content, ..Self::new(client, exchange) }
    }

    /// The content, for a tunnel.
    pub(super) fn into_content(self) -> Option<Content> {
        self.content
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Came, Fault>> {
        if self.future.is_none() {
            self.future = Some(ready!(self.exchange.poll_response(cx)));
            self.asking = self.exchange.asking();
        }
        let Some(future) = &mut self.future else { return Poll::Pending };
        let begun = self.head.is_some();
        if let Poll::Ready(Some(interim)) = future.poll_informational(cx) {
            return Poll::Ready(interim.map(Came::Interim).map_err(|error| fault_of(&error, begun)));
        }
        // What is interim was given out before, so that this cannot pass over any.
        let last = ready!(Pin::new(future).poll(cx));
        Poll::Ready(last.map(Came::Final).map_err(|error| fault_of(&error, begun)))
    }

    fn take_in(&mut self, came: Came, asked: Method) -> Result<ResponseHead, Fault> {
        self.bytes.clear();
        self.fields.clear();
        let limits = Limits::default();
        let (head, body) = match came {
            Came::Interim(response) => (response.into_parts().0, None),
            Came::Final(response) => {
                let (head, body) = response.into_parts();
                (head, Some(body))
            }
        };
        let ended = body.as_ref().is_none_or(RecvStream::is_end_stream);
        let (bytes, fields) = (&mut self.bytes, &mut self.fields);
        let head = upward::response(&head, ended, asked, &self.asking, &limits, bytes, fields)?;
        self.content = body.map(|body| Content::new(body, head.framing == Framing::None));
        self.head = Some(head);
        Ok(head)
    }
}

impl ReadContent for AnsweredStream<'_> {
    fn arrived(&mut self) -> Result<Option<Piece<'_>>, Fault> {
        match &mut self.content {
            Some(content) => content.arrived().map_err(|error| fault_of(&error, true)),
            None => Ok(Some(Piece::End(Trailers::default()))),
        }
    }

    async fn fill(&mut self, give_up: GiveUp) -> Result<(), Fault> {
        let Some(content) = &mut self.content else { return Ok(()) };
        let timer = self.timer;
        poll_fn(|cx| match content.poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome.map_err(|error| fault_of(&error, true))),
            Poll::Pending => timer.poll(give_up, cx).map(|()| Err(Fault::Stalled)),
        })
        .await
    }

    fn is_ended(&self) -> bool {
        self.content.as_ref().is_none_or(Content::is_ended)
    }

    fn has_unread(&self) -> bool {
        self.content.as_ref().is_some_and(Content::has_unread)
    }
}

impl Answered for AnsweredStream<'_> {
    async fn head(&mut self, asked: Method) -> Result<ResponseHead, Fault> {
        let came = poll_fn(|cx| self.poll_head(cx)).await?;
        self.take_in(came, asked)
    }

    fn response(&self) -> Parts<'_, ResponseHead> {
        // The story asks for a head only after it has been read.
        let head = self.head.as_ref().expect("a head was read");
        Parts { head, fields: &self.fields, bytes: &self.bytes }
    }

    fn become_tunnel(&mut self) {
        if let Some(content) = &mut self.content {
            content.become_tunnel();
        }
    }

    fn is_reusable(&self) -> bool {
        true
    }
}
