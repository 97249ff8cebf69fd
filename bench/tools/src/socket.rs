//! A TCP socket that never waits once it is connected.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType};

/// One end of a connection.
pub struct Socket(OwnedFd);

impl Socket {
    /// Connects, waiting for it, and then never waits again.
    pub fn connect(to: SocketAddr) -> io::Result<Self> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        net::sockopt::set_tcp_nodelay(&socket, true)?;
        net::connect(&socket, &to)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self(socket))
    }

    /// Sends something small in one piece.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match net::send(&self.0, bytes, SendFlags::NOSIGNAL)? {
            sent if sent == bytes.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    /// Reads once: `None` when nothing is there, zero at the end of the stream.
    pub fn receive(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        self.take(into, RecvFlags::empty())
    }

    /// The same for bytes that nobody looks at: the kernel counts them and copies none.
    pub fn discard(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        self.take(into, RecvFlags::TRUNC)
    }

    /// Says that nothing more is sent.
    pub fn finish(&self) -> io::Result<()> {
        Ok(net::shutdown(&self.0, Shutdown::Write)?)
    }

    /// Whether the other end has neither closed nor sent anything unasked.
    pub fn is_quiet(&self) -> bool {
        net::recv(&self.0, &mut [0; 1], RecvFlags::PEEK) == Err(Errno::AGAIN)
    }

    fn take(&self, into: &mut [u8], flags: RecvFlags) -> io::Result<Option<usize>> {
        match net::recv(&self.0, into, flags) {
            Ok((count, _)) => Ok(Some(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl io::Read for &Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.receive(into)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}

impl io::Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(net::send(&self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(rustix::io::writev(&self.0, pieces)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
