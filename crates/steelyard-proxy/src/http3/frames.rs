//! Frames on a stream (RFC 9114 section 7), read as they come: never more than one piece of a payload is held.

use super::code::{Code, Failure};
use super::varint;
use bytes::{Buf, Bytes};
use quinn::RecvStream;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, ready};

pub(super) const DATA: u64 = 0x0;
/// A head, or trailers.
pub const HEADERS: u64 = 0x1;
pub(super) const CANCEL_PUSH: u64 = 0x3;
/// What holds for a connection.
pub const SETTINGS: u64 = 0x4;
pub(super) const PUSH_PROMISE: u64 = 0x5;
pub(super) const GOAWAY: u64 = 0x7;
pub(super) const MAX_PUSH_ID: u64 = 0xd;

/// Whether frames of this kind are of HTTP/2 alone, and so nowhere to be sent (RFC 9114 section 7.2.8).
pub(super) fn is_of_http2(kind: u64) -> bool {
    matches!(kind, 0x2 | 0x6 | 0x8 | 0x9)
}

/// A piece of a payload is no larger, so that what is held of a stream has a bound.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What it is for.
    pub kind: u64,
    /// The bytes of its payload.
    pub length: u64,
}

/// What frames come on.
pub trait Source {
    /// The next piece, of no more than so many bytes; `None` = the end.
    fn poll_piece(&mut self, bytes_max: usize, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>>;
    /// Asks the peer to send no more.
    fn stop(&mut self, code: Code);
}

impl Source for RecvStream {
    fn poll_piece(&mut self, bytes_max: usize, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        let read = ready!(pin!(self.read_chunk(bytes_max, true)).poll(cx));
        Poll::Ready(read.map(|chunk| chunk.map(|chunk| chunk.bytes)).map_err(|_| Failure::Gone))
    }

    fn stop(&mut self, code: Code) {
        // One that has sent all, or has given up, need not be asked.
        let _ = RecvStream::stop(self, code.into());
    }
}

/// What comes on a stream.
#[derive(Debug)]
pub struct Frames<S = RecvStream> {
    stream: S,
    /// What has come and was not taken.
    piece: Bytes,
    ended: bool,
    /// What has come of a number or of the head of a frame.
    begun: [u8; 2 * varint::BYTES_MAX],
    begun_bytes: usize,
    /// The kind of the frame whose head was read last.
    kind: u64,
    /// What is still to come, or to be taken, of its payload.
    left: u64,
}

impl<S: Source> Frames<S> {
    /// Begins to read.
    pub fn new(stream: S) -> Self {
        Self { stream, piece: Bytes::new(), ended: false, begun: [0; 16], begun_bytes: 0, kind: 0, left: 0 }
    }

    /// Asks the peer to send no more.
    pub fn stop(&mut self, code: Code) {
        self.stream.stop(code);
    }

    /// The first number on the stream, which says what it is for. `None` = it has ended before that.
    pub async fn kind(&mut self) -> Result<Option<u64>, Failure> {
        poll_fn(|cx| {
            loop {
                if let Some((kind, length)) = varint::read(&self.begun[..self.begun_bytes]) {
                    debug_assert_eq!(length, self.begun_bytes);
                    self.begun_bytes = 0;
                    return Poll::Ready(Ok(Some(kind)));
                }
                if !ready!(self.poll_byte(cx))? {
                    return Poll::Ready(Ok(None));
                }
            }
        })
        .await
    }

    /// The head of the next frame; what is left of the one before is thrown away. `None` = the stream has ended behind it.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Head>, Failure>> {
        while self.left > 0 {
            ready!(self.poll_payload(cx))?;
        }
        loop {
            let begun = &self.begun[..self.begun_bytes];
            if let Some((kind, first)) = varint::read(begun)
                && let Some((length, _)) = varint::read(&begun[first..])
            {
                self.begun_bytes = 0;
                (self.kind, self.left) = (kind, length);
                return Poll::Ready(Ok(Some(Head { kind, length })));
            }
            if !ready!(self.poll_byte(cx))? {
                return Poll::Ready(if self.begun_bytes == 0 { Ok(None) } else { Err(CUT_SHORT) });
            }
        }
    }

    /// As [`poll_head`](Self::poll_head).
    pub async fn head(&mut self) -> Result<Option<Head>, Failure> {
        poll_fn(|cx| self.poll_head(cx)).await
    }

    /// Whether the stream is known to have ended behind what was taken of it.
    pub fn is_at_end(&mut self, cx: &mut Context<'_>) -> bool {
        self.left == 0 && matches!(self.poll_piece(cx), Poll::Ready(Ok(false)))
    }

    /// Whether the payload of a frame of this kind has not been taken to its end.
    pub fn is_within(&self, kind: u64) -> bool {
        self.left > 0 && self.kind == kind
    }

    /// Some of the payload of the frame whose head was read last; `None` = that was all.
    pub fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        if self.left == 0 {
            return Poll::Ready(Ok(None));
        }
        if !ready!(self.poll_piece(cx))? {
            return Poll::Ready(Err(CUT_SHORT));
        }
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.piece.len());
        self.left -= length as u64;
        Poll::Ready(Ok(Some(self.piece.split_to(length))))
    }

    /// Appends the whole payload, which the caller has found to be no longer than it may be.
    pub fn poll_whole(&mut self, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while let Some(bytes) = ready!(self.poll_payload(cx))? {
            out.extend_from_slice(&bytes);
        }
        Poll::Ready(Ok(()))
    }

    /// Something that belongs to no frame; `None` = the end of the stream.
    pub async fn bytes(&mut self) -> Result<Option<Bytes>, Failure> {
        let more = poll_fn(|cx| self.poll_piece(cx)).await?;
        Ok(more.then(|| std::mem::take(&mut self.piece)))
    }

    /// Takes one byte of what is not a payload; `false` = there is none any more.
    fn poll_byte(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Failure>> {
        if !ready!(self.poll_piece(cx))? {
            return Poll::Ready(Ok(false));
        }
        // Two numbers are never longer than there is room, and are taken as soon as they are there.
        self.begun[self.begun_bytes] = self.piece.get_u8();
        self.begun_bytes += 1;
        Poll::Ready(Ok(true))
    }

    /// Ready when something has come that was not taken; `false` = nothing will any more.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Failure>> {
        while self.piece.is_empty() {
            if self.ended {
                return Poll::Ready(Ok(false));
            }
            match ready!(self.stream.poll_piece(PIECE_BYTES_MAX, cx))? {
                Some(piece) => self.piece = piece,
                None => self.ended = true,
            }
        }
        Poll::Ready(Ok(true))
    }
}

/// A stream that ends within a frame (RFC 9114 section 7.1).
const CUT_SHORT: Failure = Failure::Connection(Code::FrameError, "a stream ended within a frame");
