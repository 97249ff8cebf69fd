//! One keep-alive connection of the load generator.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// What one read may bring.
pub const READ_BYTES: usize = 64 * 1024;

const HEADERS_MAX: usize = 64;

/// A connection that sends one request at a time and finds the end of each response.
pub struct Client {
    socket: OwnedFd,
    /// The begin of a head that came in pieces; empty on the common path.
    partial: Vec<u8>,
    body_left: u64,
    /// When the request under way was to be sent, in the run's nanoseconds.
    pub intended: u64,
}

/// What a read made of the response under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More is to come.
    Partial,
    /// It is whole and a 200.
    Answered,
}

impl Client {
    /// Connects, waiting for it, and then never waits again.
    pub fn connect(to: SocketAddr) -> io::Result<Self> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        net::sockopt::set_tcp_nodelay(&socket, true)?;
        net::connect(&socket, &to)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket, partial: Vec::new(), body_left: 0, intended: 0 })
    }

    /// Sends a small request in one piece.
    pub fn send(&mut self, request: &[u8]) -> io::Result<()> {
        match net::send(&self.socket, request, SendFlags::NOSIGNAL)? {
            sent if sent == request.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    /// Reads once. Anything but a whole 200 on a connection that stays is an error.
    pub fn receive(&mut self, scratch: &mut [u8]) -> io::Result<Progress> {
        let count = match net::recv(&self.socket, &mut *scratch, RecvFlags::empty()) {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((count, _)) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Progress::Partial),
            Err(error) => return Err(error.into()),
        };
        let bytes = &scratch[..count];
        if self.body_left > 0 {
            return self.body(bytes.len() as u64);
        }
        if self.partial.is_empty() {
            return self.head(bytes);
        }
        self.partial.extend_from_slice(bytes);
        let whole = std::mem::take(&mut self.partial);
        self.head(&whole)
    }

    /// Whether the other end has neither closed nor sent anything unasked.
    pub fn is_quiet(&self) -> bool {
        net::recv(&self.socket, &mut [0; 1], RecvFlags::PEEK) == Err(Errno::AGAIN)
    }

    fn head(&mut self, bytes: &[u8]) -> io::Result<Progress> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(bytes) {
            Ok(httparse::Status::Complete(size)) => {
                self.body_left = body_length(&response)?;
                self.body((bytes.len() - size) as u64)
            }
            Ok(httparse::Status::Partial) => {
                self.partial.extend_from_slice(bytes);
                Ok(Progress::Partial)
            }
            Err(_) => Err(unexpected("malformed response")),
        }
    }

    fn body(&mut self, came: u64) -> io::Result<Progress> {
        self.body_left =
            self.body_left.checked_sub(came).ok_or_else(|| unexpected("more than the response"))?;
        Ok(if self.body_left == 0 { Progress::Answered } else { Progress::Partial })
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn body_length(response: &httparse::Response<'_, '_>) -> io::Result<u64> {
    if response.code != Some(200) {
        return Err(unexpected("status other than 200"));
    }
    let mut length = None;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = str::from_utf8(header.value).ok().and_then(|text| text.parse().ok());
        } else if header.name.eq_ignore_ascii_case("connection")
            && header.value.eq_ignore_ascii_case(b"close")
        {
            return Err(unexpected("connection not kept"));
        }
    }
    length.ok_or_else(|| unexpected("no content-length"))
}

fn unexpected(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
