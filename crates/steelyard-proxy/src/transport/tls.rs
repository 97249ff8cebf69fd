//! TLS over a socket: records in and out, in buffers that are held only while there is something in them.
//!
//! The library's interface without buffers of its own is used: what lies idle holds none.

mod work;

use super::facts::Facts;
use super::socket::Socket;
use crate::buffer::{Buffer, Buffers};
use crate::tls::take_asked;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::{CommonState, Error};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};
use work::{Next, Work, close_notify};

/// Room for the largest record (18 KiB and some) or what is sent at once.
const RECORD_BYTES: usize = 20 * 1024;
/// What is encrypted at once; with what is added to it, it fits.
const ROUND_BYTES: usize = 18 * 1024;
/// The most that may be kept of handshake messages that have not all come: a chain of certificates is up to 64 KiB.
const INCOMING_BYTES_MAX: usize = 160 * 1024;

thread_local! {
    /// The free buffers of this worker.
    static RECORDS: Buffers = Buffers::of(RECORD_BYTES);
}

/// An empty buffer for records.
pub(super) fn lend() -> Buffer {
    RECORDS.with(Buffers::lend)
}

/// Which side of a connection we are.
enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl Side {
    /// What the library knows of the connection.
    fn state(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }
}

/// How the peer's side has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It said so.
    Whole,
    /// The connection ended without that: something may be missing.
    Cut,
    /// It broke the rules.
    Failed,
}

/// A connection whose handshake is over.
pub(super) struct Tls {
    pub facts: Facts,
    session: RefCell<Session>,
    /// Whether the peer is to see that something is missing.
    cut: Cell<bool>,
}

/// The state of a connection, before its handshake is over and after.
pub(super) struct Session {
    side: Side,
    /// Records that have come, of which at most the last is not whole.
    incoming: Option<Buffer>,
    /// Whether they have not been looked at.
    fresh: bool,
    /// What was in them that nobody has read.
    plain: Option<Buffer>,
    /// Records that have not been sent.
    outgoing: Option<Buffer>,
    ended: Option<Ended>,
    /// The name that the client asked for, until the handshake is over.
    asked: Option<Box<str>>,
    /// Whether nothing comes behind what has not been sent.
    ending: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Tls {
    /// Over a session whose handshake is over.
    pub fn new(mut session: Session) -> Self {
        let peer_is_client = matches!(session.side, Side::Server(_));
        let asked = session.asked.take();
        let facts = Facts::of(session.side.state(), asked, peer_is_client);
        Self { facts, session: RefCell::new(session), cut: Cell::new(false) }
    }

    /// Whether there is something to read, the end included, that the socket knows nothing of any more.
    pub fn has_something(&self) -> bool {
        let session = self.session.borrow();
        session.fresh || session.plain.is_some() || session.ended.is_some()
    }

    /// Whether records have not been sent.
    pub fn has_unsent(&self) -> bool {
        self.session.borrow().outgoing.is_some()
    }

    /// Reads into `room`; with none it is ready once there would be something.
    pub fn poll_read(
        &self,
        socket: &Socket,
        room: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.session.borrow_mut().poll_read(socket, room, cx)
    }

    /// Takes some of both parts and sends what it can; ready when anything has moved, or nothing is left to send.
    pub fn poll_write(
        &self,
        socket: &Socket,
        (first, second): (&[u8], &[u8]),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.session.borrow_mut().poll_write(socket, first, second, cx)
    }

    /// Says that nothing more will be written, as far as that can be said without waiting.
    pub fn end(&self, socket: &Socket) {
        self.session.borrow_mut().end(socket, self.cut.get());
    }

    /// Keeps the end from being an orderly one.
    pub fn cut(&self) {
        self.cut.set(true);
    }
}

impl Session {
    /// Of a server, to which this has come.
    pub fn accepted(connection: UnbufferedServerConnection, incoming: Buffer) -> Self {
        Self::new(Side::Server(connection), Some(incoming))
    }

    /// Of a client.
    pub fn connected(connection: UnbufferedClientConnection) -> Self {
        Self::new(Side::Client(connection), None)
    }

    fn new(side: Side, incoming: Option<Buffer>) -> Self {
        // A client too, since it has something to say before anything has come.
        let fresh = true;
        Self { side, incoming, fresh, plain: None, outgoing: None, ended: None, ending: false, asked: None }
    }

    /// Moves a handshake on by what has come, and sends what is to be sent; ready when it is over.
    pub fn poll_handshake(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            if self.fresh {
                let outcome = self.turn(&mut [], [&[], &[]]).1;
                self.asked = take_asked().or(self.asked.take());
                if let Err(error) = outcome {
                    // The peer is told why, if it will listen.
                    let _ = self.poll_flush(socket, cx);
                    return Poll::Ready(Err(Stopped::Refused(error)));
                }
            }
            let over = !self.side.state().is_handshaking();
            // What comes at the end goes out with what follows: the client's request, or the answer to it.
            let later = over && (matches!(self.side, Side::Client(_)) || self.plain.is_some());
            while !later && self.outgoing.is_some() {
                ready!(self.poll_flush(socket, cx)).map_err(Stopped::Gone)?;
            }
            if over {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_receive(socket, cx)).map_err(Stopped::Gone)?;
            if self.ended.is_some() {
                return Poll::Ready(Err(Stopped::Gone(io::ErrorKind::UnexpectedEof.into())));
            }
        }
    }

    fn poll_read(
        &mut self,
        socket: &Socket,
        room: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(plain) = &mut self.plain {
                let count = plain.unread().len().min(room.len());
                room[..count].copy_from_slice(&plain.unread()[..count]);
                plain.consume(count);
                self.plain.take_if(|plain| plain.unread().is_empty());
                return Poll::Ready(Ok(count));
            }
            match self.ended {
                None => {}
                Some(Ended::Whole) => return Poll::Ready(Ok(0)),
                Some(Ended::Cut) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Some(Ended::Failed) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            }
            if self.fresh {
                let (count, outcome) = self.turn(room, [&[], &[]]);
                if let Err(error) = outcome {
                    tracing::debug!(%error, "a connection broke the rules of TLS");
                    // The peer is told why, if it will listen.
                    let _ = self.poll_flush(socket, cx);
                }
                if count > 0 {
                    return Poll::Ready(Ok(count));
                }
                continue;
            }
            if self.poll_receive(socket, cx)?.is_pending() {
                // What the library has to say (tickets, an alert) waits for nothing more.
                if self.outgoing.is_some() {
                    let _ = self.poll_flush(socket, cx);
                }
                return Poll::Pending;
            }
        }
    }

    fn poll_receive(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let incoming = self.incoming.get_or_insert_with(lend);
        incoming.forget();
        if incoming.room().is_empty() {
            if incoming.unread().len() >= INCOMING_BYTES_MAX {
                self.ended = Some(Ended::Failed);
                return Poll::Ready(Ok(()));
            }
            incoming.grow();
        }
        let outcome = socket.poll_read(incoming.room(), cx);
        match outcome {
            Poll::Ready(Ok(0)) => self.ended = Some(Ended::Cut),
            Poll::Ready(Ok(count)) => {
                incoming.filled(count);
                self.fresh = true;
            }
            _ => {}
        }
        self.incoming.take_if(|incoming| incoming.unread().is_empty());
        outcome.map_ok(|_| ())
    }

    fn poll_write(
        &mut self,
        socket: &Socket,
        first: &[u8],
        second: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let waiting = self.outgoing.as_ref().map_or(0, |outgoing| outgoing.unread().len());
        let first = &first[..first.len().min(ROUND_BYTES)];
        let second = &second[..second.len().min(ROUND_BYTES - first.len())];
        let mut taken = 0;
        let wanted = first.len() + second.len();
        if wanted > 0 && (waiting == 0 || waiting + wanted <= ROUND_BYTES) {
            if let (_, Err(error)) = self.turn(&mut [], [first, second]) {
                return Poll::Ready(Err(io::Error::other(error)));
            }
            taken = wanted;
        }
        if self.outgoing.is_none() {
            return Poll::Ready(Ok(taken));
        }
        match self.poll_flush(socket, cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => Poll::Ready(Ok(taken)),
            Poll::Pending if taken > 0 => Poll::Ready(Ok(taken)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Sends some of what is to be sent; only to be called where there is something.
    fn poll_flush(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(outgoing) = &mut self.outgoing else { return Poll::Ready(Ok(())) };
        let sent = ready!(socket.poll_write(&[IoSlice::new(outgoing.unread())], cx))?;
        outgoing.consume(sent);
        if self.outgoing.take_if(|outgoing| outgoing.unread().is_empty()).is_some() && self.ending {
            socket.end();
        }
        Poll::Ready(Ok(()))
    }

    fn end(&mut self, socket: &Socket, cut: bool) {
        if self.ended == Some(Ended::Failed) || self.ending {
            return;
        }
        self.ending = true;
        if !cut {
            self.close_notify();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            while self.outgoing.is_some() {
                match self.poll_flush(socket, &mut cx) {
                    Poll::Ready(Ok(())) => {}
                    // Sent when there is room, should anybody still read then.
                    Poll::Pending => return,
                    Poll::Ready(Err(_)) => break,
                }
            }
        }
        socket.end();
    }

    fn close_notify(&mut self) {
        if self.fresh && self.turn(&mut [], [&[], &[]]).1.is_err() {
            return;
        }
        let outgoing = self.outgoing.get_or_insert_with(lend);
        let bytes = self.incoming.as_mut().map_or(&mut [][..], Buffer::unread_mut);
        match &mut self.side {
            Side::Server(connection) => close_notify(connection.process_tls_records(bytes), outgoing),
            Side::Client(connection) => close_notify(connection.process_tls_records(bytes), outgoing),
        }
        self.outgoing.take_if(|outgoing| outgoing.unread().is_empty());
    }

    /// Goes through the records that have come, content into `room` as far as it goes, and encrypts `data`; says how much
    /// of `room` was filled. After a failure nothing is ever gone through again.
    fn turn(&mut self, room: &mut [u8], data: [&[u8]; 2]) -> (usize, Result<(), Error>) {
        if self.ended == Some(Ended::Failed) {
            return (0, Err(Error::EncryptError));
        }
        let Self { side, incoming, plain, outgoing, .. } = self;
        let mut work = Work { room, filled: 0, plain, outgoing, data };
        let mut outcome = Ok(());
        loop {
            let bytes = incoming.as_mut().map_or(&mut [][..], Buffer::unread_mut);
            let (discard, next) = match side {
                Side::Server(connection) => work.step(connection.process_tls_records(bytes)),
                Side::Client(connection) => work.step(connection.process_tls_records(bytes)),
            };
            if let Some(incoming) = incoming {
                incoming.consume(discard);
            }
            let failed = outcome.is_err();
            match next {
                Next::Again => {}
                Next::PeerClosed => self.ended = Some(Ended::Whole),
                Next::Failed(error) if !failed => outcome = Err(error),
                Next::Done | Next::Failed(_) => break,
            }
            // The alert that tells the peer why; the library must not be asked for more than that.
            if outcome.is_err() && !side.state().wants_write() {
                break;
            }
        }
        let filled = work.filled;
        self.fresh = false;
        self.incoming.take_if(|incoming| incoming.unread().is_empty());
        if outcome.is_err() {
            self.ended = Some(Ended::Failed);
            self.incoming = None;
        }
        (filled, outcome)
    }
}

/// Why a handshake ended too soon.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The connection ended.
    Gone(io::Error),
    /// One side would not have the other.
    Refused(Error),
}
