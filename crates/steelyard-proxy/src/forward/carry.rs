//! Bytes from one connection to another as they are, both ways at once.
//!
//! Small messages are copied through a lent buffer, one each way at the most; what comes in bulk in clear text is passed on
//! by the kernel, through a lent pipe. While nothing moves neither is held.

use crate::buffer::{Buffer, Buffers};
use crate::fault::{Fault, Side};
use crate::pipes::{Pipe, Pipes};
use crate::transport::Transport;
use std::io::IoSlice;
use std::task::{Context, Poll, ready};

/// What is moved in one direction before others have their turn: who sends as fast as it is sent on never makes us wait.
const TURN_BYTES: usize = 4 << 20;
/// What is moved into a pipe at once.
const BULK_BYTES: usize = 1 << 20;
/// With less than this in a turn it is no bulk any more: a copy costs less than two more calls.
const BULK_BYTES_MIN: usize = 32 * 1024;

/// How a direction ended.
#[derive(Debug)]
enum End {
    /// It is still moving.
    None,
    /// With the sender's side, which the receiver has been told of.
    Whole,
    /// The receiver takes no more. What it has sent may still be on its way.
    Unwanted,
}

/// Whom buffers and pipes are lent by.
pub(super) type Lenders<'a> = (&'a Buffers, &'a Pipes);

/// One direction of two connections.
#[derive(Debug)]
struct Direction<'a> {
    from: &'a Transport,
    to: &'a Transport,
    side: Side,
    buffers: &'a Buffers,
    pipes: &'a Pipes,
    buffer: Option<Buffer>,
    pipe: Option<Pipe>,
    /// Whether so much comes that the kernel is to pass it on by itself.
    bulk: bool,
    /// Bytes that have been passed on so since there was nothing last.
    passed: usize,
    /// Whether the sender's side has ended.
    read: bool,
    /// Whether the receiver is being told of that.
    told: bool,
    end: End,
    /// Bytes that were sent since somebody last asked.
    moved: usize,
}

impl<'a> Direction<'a> {
    fn new(from: &'a Transport, to: &'a Transport, side: Side, (buffers, pipes): Lenders<'a>) -> Self {
        Self {
            from,
            to,
            side,
            buffers,
            pipes,
            buffer: None,
            pipe: None,
            bulk: false,
            passed: 0,
            read: false,
            told: false,
            end: End::None,
            moved: 0,
        }
    }

    /// Puts bytes in front of what comes.
    fn begin_with(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut buffer = self.buffers.lend();
        while buffer.room().len() < bytes.len() {
            buffer.grow();
        }
        buffer.room()[..bytes.len()].copy_from_slice(bytes);
        buffer.filled(bytes.len());
        self.buffer = Some(buffer);
    }

    fn is_over(&self) -> bool {
        !matches!(self.end, End::None)
    }

    /// Moves what can be moved. A fault is that of the sender: it ends both directions.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if self.is_over() {
            return Poll::Ready(Ok(()));
        }
        loop {
            if ready!(self.poll_send(cx)).is_err() {
                self.let_go();
                self.end = End::Unwanted;
                return Poll::Ready(Ok(()));
            }
            if self.moved >= TURN_BYTES {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.told {
                self.end = End::Whole;
                return Poll::Ready(Ok(()));
            }
            if self.read {
                self.let_go();
                self.told = true;
                self.to.end();
                continue;
            }
            let outcome = match self.poll_receive(cx) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => {
                    self.let_go();
                    return Poll::Pending;
                }
            };
            if outcome.is_err() {
                return Poll::Ready(Err(match self.side {
                    Side::Client => Fault::ClientGone,
                    Side::Endpoint => Fault::CutShort,
                }));
            }
        }
    }

    /// Whether nothing that was received has still to be sent.
    fn is_empty(&self) -> bool {
        self.buffer.as_ref().is_none_or(|buffer| buffer.unread().is_empty())
            && self.pipe.as_ref().is_none_or(|pipe| pipe.held() == 0)
    }

    /// There is nothing to move.
    fn let_go(&mut self) {
        self.buffer = None;
        self.pipe = None;
        self.bulk = self.bulk && self.passed >= BULK_BYTES_MIN;
        self.passed = 0;
    }

    /// Ready when everything that was received has been sent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while let Some(buffer) = &mut self.buffer
            && !buffer.unread().is_empty()
        {
            let sent = ready!(self.to.poll_write(&[IoSlice::new(buffer.unread())], cx))?;
            buffer.consume(sent);
            self.moved += sent;
        }
        while let Some(pipe) = &mut self.pipe
            && pipe.held() > 0
        {
            self.moved += ready!(self.to.poll_out_of(pipe, cx))?;
        }
        self.to.poll_flush(cx)
    }

    /// Receives something, or the sender's end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.bulk {
            return self.poll_bulk(cx);
        }
        if self.buffer.is_none() {
            ready!(self.from.poll_readable(cx))?;
        }
        let buffer = self.buffer.get_or_insert_with(|| self.buffers.lend());
        buffer.rewind(0);
        let count = ready!(self.from.poll_read(buffer.room(), cx))?;
        buffer.filled(count);
        self.bulk = buffer.room().is_empty() && self.from.is_clear() && self.to.is_clear();
        Poll::Ready(self.came(count))
    }

    /// The same in bulk.
    fn poll_bulk(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.buffer = None;
        if self.pipe.is_none() {
            let Ok(pipe) = self.pipes.lend() else {
                self.bulk = false;
                return self.poll_receive(cx);
            };
            self.pipe = Some(pipe);
        }
        let Some(pipe) = &mut self.pipe else { return Poll::Pending };
        let count = ready!(self.from.poll_into(pipe, BULK_BYTES, cx))?;
        self.passed += count;
        Poll::Ready(self.came(count))
    }

    fn came(&mut self, count: usize) -> std::io::Result<()> {
        if count == 0 {
            // The system tells of a reset once; what looks like an end may be one that a write was told of.
            if self.from.is_broken() {
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
            self.read = true;
        }
        Ok(())
    }
}

/// Two connections that are one to those at their ends.
#[derive(Debug)]
pub(super) struct Carriage<'a> {
    up: Direction<'a>,
    down: Direction<'a>,
}

impl<'a> Carriage<'a> {
    /// Joins a client's connection and an endpoint's.
    pub fn new(client: &'a Transport, endpoint: &'a Transport, lenders: Lenders<'a>) -> Self {
        Self {
            up: Direction::new(client, endpoint, Side::Client, lenders),
            down: Direction::new(endpoint, client, Side::Endpoint, lenders),
        }
    }

    /// What was read from either before, and goes first.
    pub fn begin_with(&mut self, from_client: &[u8], from_endpoint: &[u8]) {
        self.up.begin_with(from_client);
        self.down.begin_with(from_endpoint);
    }

    /// Moves what can be moved. Ready when both have ended their sides, or one will take no more and has no more to
    /// say.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let up = self.up.poll(cx);
        let down = self.down.poll(cx);
        match (up, down) {
            (Poll::Ready(Err(fault)), _) | (_, Poll::Ready(Err(fault))) => Poll::Ready(Err(fault)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.up.is_empty() && self.down.is_empty()
    }

    /// Bytes that went to the client and to the endpoint since somebody last asked.
    pub fn take_moved(&mut self) -> (usize, usize) {
        (std::mem::take(&mut self.down.moved), std::mem::take(&mut self.up.moved))
    }
}
