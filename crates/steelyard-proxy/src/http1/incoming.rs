//! Reading HTTP/1.1 messages from a connection: heads, then content, in one lent buffer.

use super::{Limits, chunked, request, response};
use crate::buffer::{Buffer, Buffers};
use crate::codec::{Answered, Asked, Parts, Piece, ReadContent, Source, Trailers};
use crate::fault::{Fault, Side};
use crate::free::{FreeList, Lent};
use crate::head::{FieldSpan, Framing, Method, RequestHead, ResponseHead};
use crate::timer::{GiveUp, Timer};
use crate::transport::Transport;
use chunked::{Decoder, Step};
use memchr::memchr;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Behind a head that nearly fills the buffer it grows: content that came in a few bytes a read would cost a write for
/// each of them.
const CONTENT_ROOM_BYTES_MIN: usize = 4 * 1024;

/// With less than this still to come it is copied: that costs less than two more calls.
const SOURCE_BYTES_MIN: u64 = 32 * 1024;

/// Where the content stands.
#[derive(Debug)]
enum Content {
    Length(u64),
    Chunked(Decoder),
    UntilClose,
    /// All of it has arrived; the end has not been given out.
    Arrived,
    Ended,
    /// It broke the rules: nobody can say where it ends, and what follows is never read as a message.
    Unsound(&'static str),
}

/// One connection's reading half for one exchange. `H` is the kind of head it reads.
#[derive(Debug)]
pub struct Incoming<'t, H> {
    transport: &'t Transport,
    timer: &'t Timer,
    side: Side,
    limits: Limits,
    buffer: Buffer,
    fields: Lent<FieldSpan>,
    trailers: Lent<FieldSpan>,
    head: Option<H>,
    /// Bytes at the front of the buffer that spans point into.
    kept: usize,
    content: Content,
    /// Whether any byte of the message at hand has come.
    begun: bool,
}

impl<'t, H> Incoming<'t, H> {
    /// Begins to read an exchange.
    pub(crate) fn new(
        transport: &'t Transport,
        timer: &'t Timer,
        side: Side,
        limits: Limits,
        buffers: &Buffers,
        fields: &FreeList<FieldSpan>,
    ) -> Self {
        Self {
            transport,
            timer,
            side,
            limits,
            buffer: buffers.lend(),
            fields: fields.lend(),
            trailers: fields.lend(),
            head: None,
            kept: 0,
            content: Content::Ended,
            begun: false,
        }
    }

    /// Bytes that were read from the connection before, to be read again.
    pub(crate) fn put_back(&mut self, bytes: &[u8]) {
        while self.buffer.room().len() < bytes.len() {
            self.buffer.grow();
        }
        self.buffer.room()[..bytes.len()].copy_from_slice(bytes);
        self.buffer.filled(bytes.len());
    }

    /// Whether any byte of the message at hand has come.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Forgets the last message; what came behind it is the next one's beginning.
    fn begin(&mut self) {
        self.buffer.forget();
        self.kept = 0;
        self.head = None;
        self.content = Content::Ended;
        self.begun = self.has_unread();
    }

    fn begin_content(&mut self, head: H, head_bytes: u32, framing: Framing) {
        self.kept = head_bytes as usize;
        self.buffer.consume(self.kept);
        self.head = Some(head);
        self.content = match framing {
            Framing::None | Framing::Length(0) => Content::Arrived,
            Framing::Length(length) => Content::Length(length),
            Framing::Chunked => Content::Chunked(Decoder::new()),
            Framing::UntilClose => Content::UntilClose,
        };
    }

    fn parts(&self) -> Parts<'_, H> {
        // The story asks for a head only after it has been read.
        let head = self.head.as_ref().expect("a head was read");
        Parts { head, fields: &self.fields, bytes: self.buffer.whole() }
    }

    /// Reads some bytes behind those there are; 0 at the end of the stream.
    async fn read_more(&mut self, give_up: GiveUp) -> Result<usize, Fault> {
        self.buffer.rewind(self.kept);
        let room_min = if self.kept > 0 { CONTENT_ROOM_BYTES_MIN } else { 1 };
        if self.buffer.room().len() < room_min {
            self.buffer.compact(self.kept);
            while self.buffer.room().len() < room_min {
                self.buffer.grow();
            }
        }
        let count = self
            .transport
            .read(self.buffer.room(), self.timer, give_up)
            .await
            .map_err(|error| Fault::of_read(&error, self.side, self.begun))?;
        self.buffer.filled(count);
        self.begun |= count > 0;
        Ok(count)
    }

    /// Reads until `parse` has found a whole head; `None` when the stream ends before. A head that drips in is not
    /// parsed anew for every byte: only for every line, and whenever it has doubled.
    async fn read_head<T, E>(
        &mut self,
        mut give_up: impl FnMut(&Timer) -> GiveUp,
        mut parse: impl FnMut(&[u8], &mut Vec<FieldSpan>) -> Result<Option<T>, E>,
    ) -> Result<Option<T>, Fault>
    where
        Fault: From<E>,
    {
        let mut parsed = 0;
        loop {
            let unread = self.buffer.unread();
            if unread.len() > parsed
                && (unread.len() >= 2 * parsed || memchr(b'\n', &unread[parsed..]).is_some())
            {
                if let Some(head) = parse(unread, &mut self.fields)? {
                    return Ok(Some(head));
                }
                parsed = unread.len();
            }
            if self.read_more(give_up(self.timer)).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Gives the content up; from here on it is never sound again.
    fn unsound(&mut self, reason: &'static str) -> Fault {
        self.content = Content::Unsound(reason);
        match self.side {
            Side::Client => Fault::BadRequest(super::Reject { status: 400, reason }),
            Side::Endpoint => Fault::Malformed(reason),
        }
    }
}

impl From<super::Reject> for Fault {
    fn from(reject: super::Reject) -> Self {
        Self::BadRequest(reject)
    }
}

impl From<super::Malformed> for Fault {
    fn from(malformed: super::Malformed) -> Self {
        Self::Malformed(malformed.reason)
    }
}

impl Incoming<'_, RequestHead> {
    /// Reads what has arrived of the next request, without waiting; `None` when nothing has after all, which the
    /// runtime's readiness does not rule out.
    pub(crate) async fn read_arrived(&mut self) -> Option<Result<usize, Fault>> {
        self.begin();
        let mut reading = pin!(self.read_more(None));
        poll_fn(|cx| match reading.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// Whether what has arrived begins with these bytes; waits for more while it may.
    pub(crate) async fn begins_with(&mut self, start: &[u8], header_ms: Option<u64>) -> Result<bool, Fault> {
        let mut give_up = None;
        loop {
            let unread = self.buffer.unread();
            if unread.starts_with(start) || !start.starts_with(unread) {
                return Ok(unread.starts_with(start));
            }
            let at = *give_up.get_or_insert_with(|| self.timer.after(header_ms));
            if self.read_more(at).await? == 0 {
                return Ok(false);
            }
        }
    }

    /// Whether nothing has arrived of another request; what some clients send behind a body, an empty line, is none.
    pub fn is_between_requests(&mut self) -> bool {
        let unread = self.buffer.unread();
        if request::is_empty_lines(unread) {
            self.buffer.consume(unread.len());
        }
        !self.has_unread()
    }

    /// Reads the next request head; `None` when the client ended the connection between requests.
    pub(crate) async fn next_request(
        &mut self,
        header_ms: Option<u64>,
    ) -> Result<Option<RequestHead>, Fault> {
        self.begin();
        let limits = self.limits;
        let mut until = None;
        // Set once: the span is for the whole head.
        let give_up = |timer: &Timer| *until.get_or_insert_with(|| timer.after(header_ms));
        let parse = |bytes: &[u8], fields: &mut Vec<FieldSpan>| request::parse(bytes, &limits, fields);
        let Some(head) = self.read_head(give_up, parse).await? else {
            return if self.begun { Err(Fault::ClientGone) } else { Ok(None) };
        };
        self.begin_content(head, head.head_bytes, head.framing);
        Ok(Some(head))
    }
}

impl<H> ReadContent for Incoming<'_, H> {
    fn arrived(&mut self) -> Result<Option<Piece<'_>>, Fault> {
        let at = self.buffer.position();
        let unread = self.buffer.unread();
        let length = match &mut self.content {
            Content::Unsound(reason) => {
                let reason = *reason;
                return Err(self.unsound(reason));
            }
            Content::Arrived | Content::Ended => {
                self.content = Content::Ended;
                return Ok(Some(Piece::End(Trailers::default())));
            }
            Content::Chunked(decoder) => {
                return match decoder.step(unread) {
                    Err(malformed) => Err(self.unsound(malformed.reason)),
                    Ok(Step::NeedMore { consumed }) => {
                        self.buffer.consume(consumed);
                        Ok(None)
                    }
                    Ok(Step::Data { skip, len }) => {
                        self.buffer.consume(skip + len);
                        Ok(Some(Piece::Data(&self.buffer.whole()[at + skip..at + skip + len])))
                    }
                    Ok(Step::End { consumed, trailers }) => {
                        self.buffer.consume(consumed);
                        self.content = Content::Ended;
                        self.end_of_chunks(at + trailers.start as usize, at + trailers.end as usize)
                    }
                };
            }
            Content::Length(_) | Content::UntilClose if unread.is_empty() => return Ok(None),
            Content::UntilClose => unread.len(),
            Content::Length(remaining) => {
                let length = usize::try_from(*remaining).unwrap_or(usize::MAX).min(unread.len());
                *remaining -= length as u64;
                if *remaining == 0 {
                    self.content = Content::Arrived;
                }
                length
            }
        };
        self.buffer.consume(length);
        Ok(Some(Piece::Data(&self.buffer.whole()[at..at + length])))
    }

    async fn fill(&mut self, give_up: GiveUp) -> Result<(), Fault> {
        if self.read_more(give_up).await? > 0 {
            return Ok(());
        }
        match (&self.content, self.side) {
            (Content::UntilClose, _) if !self.transport.is_broken() => {
                self.content = Content::Arrived;
                Ok(())
            }
            (_, Side::Client) => Err(Fault::ClientGone),
            (_, Side::Endpoint) => Err(Fault::CutShort),
        }
    }

    fn source(&self) -> Option<Source<'_>> {
        match self.content {
            Content::Length(left)
                if left >= SOURCE_BYTES_MIN && !self.has_unread() && self.transport.is_clear() =>
            {
                Some(Source { transport: self.transport, side: self.side, left })
            }
            _ => None,
        }
    }

    fn passed(&mut self, count: usize) {
        if let Content::Length(left) = &mut self.content {
            *left = left.saturating_sub(count as u64);
            if *left == 0 {
                self.content = Content::Arrived;
            }
        }
    }

    fn is_ended(&self) -> bool {
        matches!(self.content, Content::Ended)
    }

    fn has_unread(&self) -> bool {
        !self.buffer.unread().is_empty()
    }
}

impl<H> Incoming<'_, H> {
    /// Takes away what has come and was not consumed: it belongs to another protocol.
    pub(crate) fn take_unread(&mut self) -> Vec<u8> {
        let unread = self.buffer.unread().to_vec();
        self.buffer.consume(unread.len());
        unread
    }

    fn end_of_chunks(&mut self, start: usize, end: usize) -> Result<Option<Piece<'_>>, Fault> {
        let parsed = chunked::trailer_fields(&self.buffer.whole()[start..end], &mut self.trailers);
        if let Err(malformed) = parsed {
            return Err(self.unsound(malformed.reason));
        }
        let section = &self.buffer.whole()[start..end];
        Ok(Some(Piece::End(Trailers { section, fields: &self.trailers })))
    }
}

impl<'c> Asked for Incoming<'c, RequestHead> {
    fn request(&self) -> Parts<'_, RequestHead> {
        self.parts()
    }

    async fn gone(&self) {
        self.transport.hung_up().await;
    }

    /// What is unread may be the rest of the request, or the next one.
    fn given_up(&self) -> impl Future<Output = ()> + use<'c> {
        pending()
    }

    fn become_tunnel(&mut self) {
        self.content = Content::UntilClose;
    }
}

impl Answered for Incoming<'_, ResponseHead> {
    async fn head(&mut self, asked: Method) -> Result<ResponseHead, Fault> {
        self.begin();
        let limits = self.limits;
        let parse =
            |bytes: &[u8], fields: &mut Vec<FieldSpan>| response::parse(bytes, asked, &limits, fields);
        let Some(head) = self.read_head(|_| None, parse).await? else {
            return Err(if self.begun { Fault::CutShort } else { Fault::Reset });
        };
        self.begin_content(head, head.head_bytes, head.framing);
        Ok(head)
    }

    fn response(&self) -> Parts<'_, ResponseHead> {
        self.parts()
    }

    fn become_tunnel(&mut self) {
        self.content = Content::UntilClose;
    }

    fn is_reusable(&self) -> bool {
        self.head.is_some_and(|head| head.keep_alive && head.framing != Framing::UntilClose)
            && self.is_ended()
            && !self.has_unread()
    }
}
