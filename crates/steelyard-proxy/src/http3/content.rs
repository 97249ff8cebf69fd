//! The content of a request on a stream, given out piece by piece. The client may send more only once a piece has been taken
//! off the stream, and there is never more than one off it.

use super::code::{Code, Failure};
use super::frames::{self, Frames};
use super::peer::Peer;
use super::translate::{self, Unsound};
use crate::codec::{Piece, Trailers};
use crate::head::FieldSpan;
use crate::http1::chunked::TRAILER_BYTES_MAX;
use bytes::Bytes;
use std::task::{Context, Poll, Waker, ready};

/// Where content stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is none, whatever comes, until it becomes a tunnel.
    Shut,
    /// There may be more.
    Open,
    /// Trailers are coming.
    Trailing,
    /// Trailers have come, and nothing may follow them.
    Trailed,
    /// Its end has come.
    Arrived,
    /// Its end has been given out.
    Ended,
}

/// What a stream carries towards us behind the head of its request.
#[derive(Debug)]
pub(super) struct Content<'c> {
    frames: Frames,
    peer: &'c Peer,
    /// How much is still to come, where the head has said so.
    announced: Option<u64>,
    /// What has come and was not given out.
    next: Bytes,
    /// What was given out last.
    given: Bytes,
    state: State,
    /// Trailers as they come.
    compressed: Vec<u8>,
    section: Vec<u8>,
    fields: Vec<FieldSpan>,
}

impl<'c> Content<'c> {
    /// The content of a message; `shut` = its head says that there is none.
    pub fn new(frames: Frames, peer: &'c Peer, announced: Option<u64>, shut: bool) -> Self {
        let state = if shut { State::Shut } else { State::Open };
        Self {
            frames,
            peer,
            announced,
            next: Bytes::new(),
            given: Bytes::new(),
            state,
            compressed: Vec::new(),
            section: Vec::new(),
            fields: Vec::new(),
        }
    }

    /// From here on it is whatever comes.
    pub fn become_tunnel(&mut self) {
        self.announced = None;
        self.state = State::Open;
    }

    /// Whether its end has been given out.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether some has come that was not given out.
    pub fn has_unread(&self) -> bool {
        !self.next.is_empty()
    }

    /// Asks the client to send no more.
    pub fn stop(&mut self, code: Code) {
        self.frames.stop(code);
    }

    /// What has already come; `None` = [`Content::poll`] must bring more.
    pub fn arrived(&mut self) -> Result<Option<Piece<'_>>, Failure> {
        self.given = Bytes::new();
        match self.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => return Ok(None),
            Poll::Ready(outcome) => outcome?,
        }
        if self.next.is_empty() {
            self.state = State::Ended;
            return Ok(Some(Piece::End(Trailers { section: &self.section, fields: &self.fields })));
        }
        self.given = std::mem::take(&mut self.next);
        Ok(Some(Piece::Data(&self.given)))
    }

    /// Ready when there is something to give out.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while self.next.is_empty() && matches!(self.state, State::Open | State::Trailing | State::Trailed) {
            ready!(self.poll_more(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.state == State::Trailing {
            ready!(self.frames.poll_whole(&mut self.compressed, cx))?;
            let read =
                translate::trailers(&self.compressed, TRAILER_BYTES_MAX, &mut self.section, &mut self.fields);
            self.state = State::Trailed;
            return Poll::Ready(read.map_err(|unsound| match unsound {
                Unsound::Compression => DECOMPRESSION,
                Unsound::Request(_) => Failure::Stream(Code::MessageError),
            }));
        }
        if let Some(bytes) = ready!(self.poll_data(cx))? {
            self.count(bytes.len() as u64)?;
            self.next = bytes;
            return Poll::Ready(Ok(()));
        }
        match ready!(self.frames.poll_head(cx))? {
            None if self.announced.is_some_and(|left| left > 0) => {
                return Poll::Ready(Err(Failure::Stream(Code::MessageError)));
            }
            None => self.state = State::Arrived,
            Some(head) => self.begin(head)?,
        }
        Poll::Ready(Ok(()))
    }

    /// Content, but for that of frames whose payload is thrown away.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        if self.frames.is_within(frames::DATA) { self.frames.poll_payload(cx) } else { Poll::Ready(Ok(None)) }
    }

    fn begin(&mut self, head: frames::Head) -> Result<(), Failure> {
        match head.kind {
            frames::DATA if self.state == State::Open => {
                if head.length == 0 {
                    self.peer.spend_frame();
                }
            }
            frames::HEADERS if self.state == State::Open => {
                self.peer.spend_frame();
                if head.length > TRAILER_BYTES_MAX as u64 {
                    return Err(Failure::Stream(Code::ExcessiveLoad));
                }
                self.state = State::Trailing;
            }
            kind if is_out_of_place(kind) => return Err(UNEXPECTED),
            _ => self.peer.spend_frame(),
        }
        Ok(())
    }

    /// Content that is longer than was said is as wrong as one that is shorter (RFC 9114 section 4.1.2).
    fn count(&mut self, bytes: u64) -> Result<(), Failure> {
        self.peer.earn(bytes);
        if let Some(left) = &mut self.announced {
            *left = left.checked_sub(bytes).ok_or(Failure::Stream(Code::MessageError))?;
        }
        Ok(())
    }
}

/// Whether frames of this kind, behind a head, break the order of frames or are for another stream.
pub(super) fn is_out_of_place(kind: u64) -> bool {
    matches!(
        kind,
        frames::DATA
            | frames::HEADERS
            | frames::CANCEL_PUSH
            | frames::SETTINGS
            | frames::PUSH_PROMISE
            | frames::GOAWAY
            | frames::MAX_PUSH_ID
    ) || frames::is_of_http2(kind)
}

pub(super) const UNEXPECTED: Failure =
    Failure::Connection(Code::FrameUnexpected, "a frame that is not for a request, or not there");
pub(super) const DECOMPRESSION: Failure =
    Failure::Connection(Code::DecompressionFailed, "a section that cannot be decompressed");
