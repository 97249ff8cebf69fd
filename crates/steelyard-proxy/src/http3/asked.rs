//! A client's request on a stream.

use super::code::{Code, Failure};
use super::content::{Content, DECOMPRESSION, UNEXPECTED, is_out_of_place};
use super::frames::{self, Frames};
use super::peer::Peer;
use super::stream::SharedBack;
use super::translate::{self, Unsound};
use crate::codec::{Asked, Parts, Piece, ReadContent};
use crate::fault::Fault;
use crate::forward::Client;
use crate::free::Lent;
use crate::head::{FieldSpan, Framing, RequestHead};
use crate::http1::{Limits, Reject};
use crate::pseudo::websocket;
use crate::timer::{GiveUp, Timer};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

/// Why there is no request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refused {
    /// It is answered.
    Answered(Reject),
    /// There is nothing to answer, or no way to.
    Failed(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A request and its content.
#[derive(Debug)]
pub(super) struct AskedStream<'t> {
    content: Content<'t>,
    back: SharedBack,
    timer: &'t Timer,
    head: RequestHead,
    bytes: Lent<u8>,
    fields: Lent<FieldSpan>,
    /// What the client has done wrong since.
    failure: Cell<Option<Failure>>,
}

impl<'t> AskedStream<'t> {
    /// Reads the head of a request; the whole of it has until `give_up` to come.
    pub async fn read(
        client: &Client<'t>,
        peer: &'t Peer,
        frames: &mut Option<Frames>,
        back: &SharedBack,
        limits: &Limits,
        give_up: GiveUp,
    ) -> Result<Self, Refused> {
        let Some(coming) = frames.as_mut() else { return Err(Failure::Gone.into()) };
        let mut section = client.worker.vectors.lend();
        let ended = {
            let mut reading = pin!(read_section(coming, peer, limits, &mut section));
            poll_fn(|cx| match reading.as_mut().poll(cx) {
                Poll::Ready(outcome) => Poll::Ready(outcome),
                Poll::Pending => client.timer.poll(give_up, cx).map(|()| Err(LATE)),
            })
            .await?
        };
        let mut bytes = client.worker.vectors.lend();
        let mut fields = client.worker.fields.lend();
        let key = || websocket::key_of(client.worker.random());
        let head = translate::request(&section, ended, limits, key, &mut bytes, &mut fields);
        let head = head.map_err(|unsound| match unsound {
            Unsound::Compression => Refused::Failed(DECOMPRESSION),
            Unsound::Request(reject) => Refused::Answered(reject),
        })?;
        let announced = match head.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        };
        // What is left of a stream that was refused is stopped by whoever holds it.
        let Some(frames) = frames.take() else { return Err(Failure::Gone.into()) };
        let content = Content::new(frames, peer, announced, head.framing == Framing::None);
        let (back, timer) = (Rc::clone(back), client.timer);
        Ok(Self { content, back, timer, head, bytes, fields, failure: Cell::new(None) })
    }

    /// What the client has done wrong, if anything.
    pub fn failure(&self) -> Option<Failure> {
        self.failure.get()
    }

    /// Asks the client to send no more.
    pub fn stop(&mut self, code: Code) {
        self.content.stop(code);
    }

    fn note(&self, failure: Failure) -> Fault {
        if failure == Failure::Gone {
            self.back.has_left();
        }
        self.failure.set(Some(failure));
        Fault::ClientGone
    }
}

const LATE: Refused = Refused::Answered(Reject { status: 408, reason: "the request took too long" });

/// Reads the frame that a request begins with; says whether nothing follows it, as far as that is known already.
async fn read_section(
    frames: &mut Frames,
    peer: &Peer,
    limits: &Limits,
    section: &mut Vec<u8>,
) -> Result<bool, Refused> {
    loop {
        let Some(head) = frames.head().await? else {
            return Err(Failure::Stream(Code::RequestIncomplete).into());
        };
        match head.kind {
            frames::HEADERS => {
                // Fields are never longer than they are written, but for those that a table knows.
                if head.length > u64::from(limits.header_bytes_max) {
                    let reason = "the header fields are too large";
                    return Err(Refused::Answered(Reject { status: 431, reason }));
                }
                poll_fn(|cx| frames.poll_whole(section, cx)).await?;
                return Ok(poll_fn(|cx| Poll::Ready(frames.is_at_end(cx))).await);
            }
            kind if is_out_of_place(kind) => return Err(UNEXPECTED.into()),
            _ => peer.spend_frame(),
        }
    }
}

impl ReadContent for AskedStream<'_> {
    fn arrived(&mut self) -> Result<Option<Piece<'_>>, Fault> {
        let Self { content, back, failure, .. } = self;
        content.arrived().map_err(|failed| {
            if failed == Failure::Gone {
                back.has_left();
            }
            failure.set(Some(failed));
            Fault::ClientGone
        })
    }

    async fn fill(&mut self, give_up: GiveUp) -> Result<(), Fault> {
        let (content, timer) = (&mut self.content, self.timer);
        let filled = poll_fn(|cx| match content.poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
            Poll::Pending => timer.poll(give_up, cx).map(|()| Err(Fault::ClientSlow)),
        })
        .await?;
        filled.map_err(|failed| self.note(failed))
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
        self.back.gone().await;
    }

    fn given_up(&self) -> impl Future<Output = ()> + use<'t> {
        let back = Rc::clone(&self.back);
        async move { back.gone().await }
    }

    fn become_tunnel(&mut self) {
        self.content.become_tunnel();
    }
}
