//! Bytes from one connection to another as they are, both ways at once.
//!
//! Small messages are copied through a lent buffer, one each way at the most; while nothing moves none is held.

use crate::buffer::{Buffer, Buffers};
use crate::fault::{Fault, Side};
use crate::transport::Transport;
use std::io::IoSlice;
use std::task::{Context, Poll, ready};

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

/// One direction of two connections.
#[derive(Debug)]
struct Direction<'a> {
    from: &'a Transport,
    to: &'a Transport,
    side: Side,
    buffers: &'a Buffers,
    buffer: Option<Buffer>,
    /// Whether the sender's side has ended.
    read: bool,
    /// Whether the receiver is being told of that.
    told: bool,
    end: End,
    /// Bytes that were sent since somebody last asked.
    moved: usize,
}

impl<'a> Direction<'a> {
    fn new(from: &'a Transport, to: &'a Transport, side: Side, buffers: &'a Buffers) -> Self {
        Self { from, to, side, buffers, buffer: None, read: false, told: false, end: End::None, moved: 0 }
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
                self.buffer = None;
                self.end = End::Unwanted;
                return Poll::Ready(Ok(()));
            }
            if self.told {
                self.end = End::Whole;
                return Poll::Ready(Ok(()));
            }
            if self.read {
                self.buffer = None;
                self.told = true;
                self.to.end();
                continue;
            }
            let outcome = match self.poll_receive(cx) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => {
                    self.buffer = None;
                    return Poll::Pending;
                }
            };
            if let Err(error) = outcome {
                return Poll::Ready(Err(Fault::of_read(&error, self.side, true)));
            }
        }
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
        self.to.poll_flush(cx)
    }

    /// Receives something, or the sender's end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.buffer.is_none() {
            ready!(self.from.poll_readable(cx))?;
        }
        let buffer = self.buffer.get_or_insert_with(|| self.buffers.lend());
        buffer.rewind(0);
        let count = ready!(self.from.poll_read(buffer.room(), cx))?;
        buffer.filled(count);
        if count == 0 {
            // The system tells of a reset once; what looks like an end may be one that a write was told of.
            if self.from.is_broken() {
                return Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
            }
            self.read = true;
        }
        Poll::Ready(Ok(()))
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
    pub fn new(client: &'a Transport, endpoint: &'a Transport, buffers: &'a Buffers) -> Self {
        Self {
            up: Direction::new(client, endpoint, Side::Client, buffers),
            down: Direction::new(endpoint, client, Side::Endpoint, buffers),
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

    /// Bytes that went to the client and to the endpoint since somebody last asked.
    pub fn take_moved(&mut self) -> (usize, usize) {
        (std::mem::take(&mut self.down.moved), std::mem::take(&mut self.up.moved))
    }
}
