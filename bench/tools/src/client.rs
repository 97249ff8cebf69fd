//! One connection of the load generator: a socket, TLS or not, and what is spoken over it.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use rustls::client::ClientConnection;

use crate::http1::Http1;
use crate::http2::Http2;
use crate::socket::Socket;
use crate::tls::{SERVER_NAME, Tls};

/// What one read may bring.
pub const READ_BYTES: usize = 256 * 1024;

/// Whom requests are for.
pub const HOST: &str = SERVER_NAME;

/// Who sends them.
pub const USER_AGENT: &str = "loadgen";

/// What is done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// One request at a time.
    Http1,
    /// Several at once, one on each stream.
    Http2,
    /// Nothing: the handshake of TLS is all, and each time a new connection is made for it.
    Handshake,
}

/// How every connection of a run is made.
pub struct Way {
    /// The proxy.
    pub to: SocketAddr,
    /// TLS, if it is to be.
    pub tls: Option<Tls>,
    /// What is spoken.
    pub speaks: Speaks,
    /// What is asked for.
    pub path: String,
}

/// What has come in.
#[derive(Default)]
pub struct Inbox {
    /// When each request that now has its whole answer was due.
    pub answered: Vec<u64>,
    /// Bytes of bodies.
    pub body_bytes: u64,
    /// The bodies themselves, for whoever wants them.
    pub bodies: Option<Vec<u8>>,
}

impl Inbox {
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        if let Some(bodies) = &mut self.bodies {
            bodies.extend_from_slice(bytes);
        }
    }
}

/// A connection.
pub struct Client {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
    exchange: Exchange,
    /// What is to be sent, before TLS.
    out: Vec<u8>,
}

enum Exchange {
    Http1(Http1),
    Http2(Http2),
    /// When it was due, and whether it is done and said to be so.
    Handshake(u64, bool),
}

impl Client {
    /// Connects, waiting for it, and then never waits again.
    pub fn connect(way: &Way) -> io::Result<Self> {
        let tls = way.tls.as_ref().map(|tls| tls.connection().map(Box::new)).transpose()?;
        let mut out = Vec::new();
        let exchange = match way.speaks {
            Speaks::Http1 => Exchange::Http1(Http1::default()),
            Speaks::Http2 => Exchange::Http2(Http2::begin(&way.path, tls.is_some(), &mut out)),
            Speaks::Handshake => Exchange::Handshake(0, false),
        };
        Ok(Self { socket: Socket::connect(way.to)?, tls, exchange, out })
    }

    /// Notes a request that is due; `flush` sends it, with others that were noted since.
    pub fn ask(&mut self, due: u64, request: &[u8]) {
        match &mut self.exchange {
            Exchange::Http1(http) => http.ask(due, request, &mut self.out),
            Exchange::Http2(http) => http.ask(due, &mut self.out),
            Exchange::Handshake(is_due, _) => *is_due = due,
        }
    }

    /// Sends what there is, in one piece unless TLS is still being agreed upon.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(&self.out)?;
            self.out.clear();
            while tls.wants_write() {
                tls.write_tls(&mut &self.socket)?;
            }
        } else if !self.out.is_empty() {
            self.socket.send(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }

    /// Reads once and sends what that asks for.
    pub fn receive(&mut self, way: &Way, scratch: &mut [u8], inbox: &mut Inbox) -> io::Result<()> {
        if self.tls.is_some() {
            self.receive_tls(way, scratch, inbox)
        } else {
            self.receive_plain(scratch, inbox)
        }?;
        if self.out.is_empty() { Ok(()) } else { self.flush() }
    }

    /// Whether the other end has neither closed nor sent anything unasked.
    pub fn is_quiet(&self) -> bool {
        self.socket.is_quiet()
    }

    fn receive_plain(&mut self, scratch: &mut [u8], inbox: &mut Inbox) -> io::Result<()> {
        if let Exchange::Http1(http) = &mut self.exchange
            && http.is_in_body()
            && inbox.bodies.is_none()
        {
            return match self.socket.discard(scratch)? {
                None => Ok(()),
                Some(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Some(count) => http.body(count as u64, inbox),
            };
        }
        match self.socket.receive(scratch)? {
            None => Ok(()),
            Some(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(count) => self.exchange.feed(&scratch[..count], inbox, &mut self.out),
        }
    }

    fn receive_tls(&mut self, way: &Way, scratch: &mut [u8], inbox: &mut Inbox) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let was_handshaking = tls.is_handshaking();
        let count = match tls.read_tls(&mut &self.socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            count => count?,
        };
        if count == 0 {
            return self.exchange.end(inbox);
        }
        tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if was_handshaking && !tls.is_handshaking() {
            way.tls.as_ref().inspect(|settings| settings.note(tls));
            if let Exchange::Handshake(_, is_done) = &mut self.exchange {
                *is_done = true;
                tls.send_close_notify();
                self.flush()?;
                return self.socket.finish();
            }
        }
        loop {
            match tls.reader().read(scratch) {
                Ok(0) => return self.exchange.end(inbox),
                Ok(count) => self.exchange.feed(&scratch[..count], inbox, &mut self.out)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if tls.wants_write() { self.flush() } else { Ok(()) }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Exchange {
    fn feed(&mut self, bytes: &[u8], inbox: &mut Inbox, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Http1(http) => http.feed(bytes, inbox),
            Self::Http2(http) => http.feed(bytes, inbox, out),
            Self::Handshake(..) => Err(unexpected("bytes that nobody asked for")),
        }
    }

    /// The end of the stream: a handshake that was done is complete, anything else is lost.
    fn end(&mut self, inbox: &mut Inbox) -> io::Result<()> {
        match self {
            Self::Handshake(due, true) => {
                inbox.answered.push(*due);
                Ok(())
            }
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

pub(crate) fn unexpected(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
