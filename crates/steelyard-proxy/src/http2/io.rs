//! What `h2` reads from and writes to: the transport, with the frames of many streams gathered into one write.

use super::meter::Meter;
use crate::free::{FreeList, Lent};
use crate::transport::Transport;
use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Frames are gathered up to this size; beyond it they are written from where they are.
const GATHER_BYTES_MAX: usize = 32 * 1024;
/// Pieces of one write: a frame is a head and a payload.
const PIECES_MAX: usize = 4;

/// A transport under HTTP/2. What is written is gathered until [`Pipe::poll_send`]: `h2` flushes after every larger
/// frame, but whoever drives the connection knows when all streams have had their say.
#[derive(Debug)]
pub(super) struct Pipe<T> {
    transport: T,
    /// What was read of the connection before it was known to be HTTP/2.
    begun: RefCell<Vec<u8>>,
    out: RefCell<Option<Lent<u8>>>,
    vectors: FreeList<u8>,
    meter: RefCell<Meter>,
    sent: Cell<u64>,
    received: Cell<u64>,
}

impl<T: Borrow<Transport>> Pipe<T> {
    pub fn new(transport: T, begun: Vec<u8>, vectors: FreeList<u8>, meter: Meter) -> Rc<Self> {
        Rc::new(Self {
            transport,
            begun: RefCell::new(begun),
            out: RefCell::new(None),
            vectors,
            meter: RefCell::new(meter),
            sent: Cell::new(0),
            received: Cell::new(0),
        })
    }

    /// The end that is given to `h2`.
    pub fn end(self: &Rc<Self>) -> Io<T> {
        Io(Rc::clone(self))
    }

    /// What came over it, counted.
    pub fn meter(&self) -> std::cell::RefMut<'_, Meter> {
        self.meter.borrow_mut()
    }

    /// Bytes that were handed to the system.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Bytes that have come.
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    fn read(&self, room: &mut ReadBuf<'_>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut meter = self.meter.borrow_mut();
        if meter.is_exhausted() {
            // Whoever drives the connection ends it.
            return Poll::Pending;
        }
        let mut begun = self.begun.borrow_mut();
        if !begun.is_empty() {
            let count = begun.len().min(room.remaining());
            room.put_slice(&begun[..count]);
            meter.take_in(&begun[..count]);
            begun.drain(..count);
            if begun.is_empty() {
                *begun = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let free = room.initialize_unfilled();
        let count = ready!(self.transport.borrow().poll_read(free, cx))?;
        meter.take_in(&free[..count]);
        self.received.set(self.received.get() + count as u64);
        room.advance(count);
        Poll::Ready(Ok(()))
    }

    fn write(&self, pieces: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut held = self.out.borrow_mut();
        let out = held.get_or_insert_with(|| self.vectors.lend());
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        if out.len() + length <= GATHER_BYTES_MAX {
            for piece in pieces {
                out.extend_from_slice(piece);
            }
            return Poll::Ready(Ok(length));
        }
        loop {
            let gathered = out.len();
            let mut all = [IoSlice::new(&[]); PIECES_MAX + 1];
            all[0] = IoSlice::new(out);
            let count = pieces.len().min(PIECES_MAX);
            all[1..=count].copy_from_slice(&pieces[..count]);
            let first = usize::from(gathered == 0);
            let written = ready!(self.send(&all[first..=count], cx))?;
            out.drain(..written.min(gathered));
            if written > gathered {
                return Poll::Ready(Ok(written - gathered));
            }
        }
    }

    fn send(&self, pieces: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let written = ready!(self.transport.borrow().poll_write(pieces, cx))?;
        self.sent.set(self.sent.get() + written as u64);
        self.meter.borrow_mut().earn(written);
        Poll::Ready(Ok(written))
    }

    /// Sends what was gathered.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.out.borrow_mut();
        while let Some(out) = held.as_mut().filter(|out| !out.is_empty()) {
            let written = ready!(self.send(&[IoSlice::new(out)], cx))?;
            out.drain(..written);
        }
        *held = None;
        self.transport.borrow().poll_flush(cx)
    }
}

/// The end of a [`Pipe`] that `h2` has.
#[derive(Debug)]
pub(super) struct Io<T>(Rc<Pipe<T>>);

impl<T: Borrow<Transport>> AsyncRead for Io<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.read(room, cx)
    }
}

impl<T: Borrow<Transport>> AsyncWrite for Io<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.write(&[IoSlice::new(bytes)], cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.write(pieces, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_send(cx))?;
        self.0.transport.borrow().end();
        Poll::Ready(Ok(()))
    }
}
