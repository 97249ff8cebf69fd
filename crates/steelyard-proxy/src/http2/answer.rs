//! The response to a client on a stream.

use super::asked::{Back, SharedBack};
use super::translate;
use crate::codec::{Answer, Parts, Trailers, WriteContent};
use crate::fault::Fault;
use crate::head::ResponseHead;
use crate::http1::encode::{Local, ResponseEdit};
use crate::timer::Timer;
use bytes::{Bytes, BytesMut};
use h2::Reason;
use http::Response;
use std::future::poll_fn;
use std::task::Poll;

/// Content is gathered up to this size before it goes to the connection.
const GATHER_BYTES_MAX: usize = 16 * 1024;

/// How much of a response has gone to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fresh,
    Begun,
    Ended,
}

/// A response as it is written.
#[derive(Debug)]
pub(super) struct AnswerStream<'t> {
    back: SharedBack,
    timer: &'t Timer,
    patience_ms: Option<u64>,
    /// The head that was gathered and has not gone.
    head: Option<Response<()>>,
    /// Content that was gathered and has not gone.
    gathered: BytesMut,
    /// Whether what was gathered is all.
    whole: bool,
    stage: Stage,
    /// Whether the client speaks gRPC.
    grpc: bool,
}

impl<'t> AnswerStream<'t> {
    /// Begins a response. A write that moves nothing for `patience_ms` fails.
    pub fn new(back: SharedBack, timer: &'t Timer, patience_ms: Option<u64>, grpc: bool) -> Self {
        let gathered = BytesMut::new();
        Self { back, timer, patience_ms, head: None, gathered, whole: false, stage: Stage::Fresh, grpc }
    }

    /// Whether all of it has gone.
    pub fn is_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Sends the head, with which the response ends where `end` says so.
    fn send_head(&mut self, end: bool) -> Result<(), Fault> {
        let Some(head) = self.head.take() else { return Ok(()) };
        let mut back = self.back.borrow_mut();
        let Back::Respond(respond) = &mut *back else { return Err(Fault::ClientGone) };
        let body = respond.send_response(head, end).map_err(|_| Fault::ClientGone)?;
        *back = Back::Body(body);
        self.stage = if end { Stage::Ended } else { Stage::Begun };
        Ok(())
    }

    /// Sends what was gathered, with which the response ends where `end` says so.
    async fn push(&mut self, end: bool) -> Result<(), Fault> {
        self.send_head(end && self.gathered.is_empty())?;
        while !self.gathered.is_empty() {
            let room = self.room().await?;
            let piece = self.gathered.split_to(room.min(self.gathered.len())).freeze();
            self.send(piece, end && self.gathered.is_empty())?;
        }
        if end && !self.is_ended() {
            self.send(Bytes::new(), true)?;
        }
        Ok(())
    }

    fn send(&mut self, piece: Bytes, end: bool) -> Result<(), Fault> {
        let Back::Body(body) = &mut *self.back.borrow_mut() else { return Err(Fault::ClientGone) };
        body.send_data(piece, end).map_err(|_| Fault::ClientGone)?;
        if end {
            self.stage = Stage::Ended;
        }
        Ok(())
    }

    /// Waits until some of what was gathered may go; says how much.
    async fn room(&mut self) -> Result<usize, Fault> {
        let wanted = self.gathered.len();
        let mut give_up = None;
        poll_fn(|cx| {
            let Back::Body(body) = &mut *self.back.borrow_mut() else {
                return Poll::Ready(Err(Fault::ClientGone));
            };
            body.reserve_capacity(wanted);
            if body.capacity() > 0 {
                return Poll::Ready(Ok(body.capacity()));
            }
            match body.poll_capacity(cx) {
                Poll::Ready(Some(Ok(room))) => Poll::Ready(Ok(room)),
                Poll::Ready(_) => Poll::Ready(Err(Fault::ClientGone)),
                Poll::Pending => {
                    let at = *give_up.get_or_insert_with(|| self.timer.after(self.patience_ms));
                    self.timer.poll(at, cx).map(|()| Err(Fault::ClientStuck))
                }
            }
        })
        .await
    }
}

impl WriteContent for AnswerStream<'_> {
    async fn data(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() < GATHER_BYTES_MAX {
            return Ok(());
        }
        self.push(false).await
    }

    async fn end(&mut self, trailers: Trailers<'_>) -> Result<(), Fault> {
        if trailers.fields.is_empty() {
            return self.push(true).await;
        }
        self.push(false).await?;
        let Back::Body(body) = &mut *self.back.borrow_mut() else { return Err(Fault::ClientGone) };
        body.send_trailers(translate::trailer_map(trailers)).map_err(|_| Fault::ClientGone)?;
        self.stage = Stage::Ended;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        if self.is_ended() { Ok(()) } else { self.push(self.whole).await }
    }
}

impl Answer for AnswerStream<'_> {
    fn head(&mut self, response: Parts<'_, ResponseHead>, edit: &ResponseEdit<'_>) {
        self.head = Some(translate::response(response, edit));
    }

    fn interim(&mut self, response: Parts<'_, ResponseHead>) {
        if let Back::Respond(respond) = &mut *self.back.borrow_mut() {
            // Where the client is gone the next write says so.
            let _ = respond.send_informational(translate::interim(response));
        }
    }

    fn local(&mut self, answer: &Local<'_>) {
        let (head, body) = translate::local(answer, self.grpc);
        self.head = Some(head);
        self.gathered = BytesMut::from(&body[..]);
        self.whole = true;
    }

    fn become_tunnel(&mut self, patience_ms: Option<u64>) {
        self.patience_ms = patience_ms;
    }

    fn is_begun(&self) -> bool {
        self.stage != Stage::Fresh
    }

    fn break_off(&mut self) {
        self.gathered.clear();
        self.back.borrow_mut().reset(Reason::INTERNAL_ERROR);
    }
}
