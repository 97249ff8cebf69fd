//! A connected stream of bytes: a TCP or a unix socket, without a wait.

use crate::sys;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};
use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What carries the bytes of one connection as they are on the wire.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    /// Whether readiness was taken back though bytes were left: the next look must ask the socket itself.
    left_unread: Cell<bool>,
    /// Whether a write has met a reset, which a read is then not told of any more.
    broken: Cell<bool>,
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        sys::connection_opened(&stream);
        Stream::Tcp(stream).into()
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        sys::connection_opened(&stream);
        Stream::Unix(stream).into()
    }
}

impl From<Stream> for Socket {
    fn from(stream: Stream) -> Self {
        Self { stream, left_unread: Cell::new(false), broken: Cell::new(false) }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        sys::connection_closes(self);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Socket {
    fn try_io<R>(&self, interest: Interest, run: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        match &self.stream {
            Stream::Tcp(stream) => stream.try_io(interest, run),
            Stream::Unix(stream) => stream.try_io(interest, run),
        }
    }

    /// Ready when there may be something to read, the end included.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.left_unread.get() {
            return Poll::Ready(Ok(()));
        }
        self.poll_event(cx)
    }

    fn poll_event(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.stream {
            Stream::Tcp(stream) => stream.poll_read_ready(cx),
            Stream::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Ready when something can be written.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.stream {
            Stream::Tcp(stream) => stream.poll_write_ready(cx),
            Stream::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// A socket's own call: `read` would take the way of files to the same end.
    fn receive(&self, room: &mut [u8]) -> rustix::io::Result<usize> {
        rustix::net::recv(self.as_fd(), room, RecvFlags::empty()).map(|(count, _)| count)
    }

    /// Reads what there is; `room` must not be empty.
    pub fn poll_read(&self, room: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.left_unread.take() {
            match self.receive(room) {
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                outcome => {
                    self.left_unread.set(true);
                    return Poll::Ready(Ok(outcome?));
                }
            }
        }
        loop {
            ready!(self.poll_event(cx))?;
            let mut short = None;
            let outcome = self.try_io(Interest::READABLE, || {
                let count = self.receive(room)?;
                // A short read has emptied the socket: saying so here spares the read that would find it empty.
                if count > 0 && count < room.len() {
                    short = Some(count);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(count)
            });
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(count) = short {
                        return Poll::Ready(Ok(count));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Writes what there is room for.
    pub fn poll_write(&self, parts: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            let outcome = self.try_io(Interest::WRITABLE, || {
                Ok(match parts {
                    [one] => rustix::net::send(self.as_fd(), one, SendFlags::NOSIGNAL)?,
                    parts => {
                        let mut nothing = SendAncillaryBuffer::default();
                        rustix::net::sendmsg(self.as_fd(), parts, &mut nothing, SendFlags::NOSIGNAL)?
                    }
                })
            });
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.poll_writable(cx))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // A broken pipe is no more than an end: the peer had ended its side before it reset the rest.
                    self.broken.set(self.broken.get() || error.kind() != io::ErrorKind::BrokenPipe);
                    return Poll::Ready(Err(error));
                }
                written => return Poll::Ready(written),
            }
        }
    }

    /// Whether the connection has failed under a write. The system tells of a reset once: a read that comes after that
    /// sees what had arrived and then an end, as if the peer had ended its side in good order.
    pub fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Waits until the peer has ended its side or the connection, even behind bytes that nobody has read.
    pub async fn hung_up(&self) {
        poll_fn(|cx| {
            loop {
                if ready!(self.poll_event(cx)).is_err() || self.has_hung_up() {
                    return Poll::Ready(());
                }
                // There are unread bytes, but no end. Readiness is taken back so that the next event wakes this task.
                self.left_unread.set(true);
                let _: io::Result<()> =
                    self.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
            }
        })
        .await;
    }

    /// Waits until the connection has failed. A peer that has ended its side may still be listening.
    pub async fn reset(&self) {
        // The runtime has nothing else to say of it.
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.ready(Interest::ERROR).await,
            Stream::Unix(stream) => stream.ready(Interest::ERROR).await,
        };
    }

    /// Whether the peer has ended its side or the connection.
    pub fn has_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(self, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match rustix::event::poll(&mut fds, Some(&now)) {
            Ok(0) => false,
            Ok(_) => true,
            Err(error) => error != rustix::io::Errno::INTR,
        }
    }

    /// Whether anything has arrived, the end included, as far as the runtime has heard: no system call when not.
    pub fn is_quiet(&self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        // Readiness may be left over from a read that just filled its buffer.
        self.poll_readable(&mut cx).is_pending() || self.is_silent()
    }

    /// Whether anything has arrived, the end included, by asking the socket itself.
    pub fn is_silent(&self) -> bool {
        let mut byte = [0u8];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(
            rustix::net::recv(self.as_fd(), &mut byte, flags),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR)
        )
    }

    /// Makes the next read ask the socket itself, though the runtime has not heard of anything.
    pub fn ask(&self) {
        self.left_unread.set(true);
    }

    /// Says that nothing more will be written.
    pub fn end(&self) {
        // An error means that the connection is gone already.
        let _ = rustix::net::shutdown(self.as_fd(), Shutdown::Write);
    }

    /// Makes closing this connection a reset, so that the peer sees that something is missing.
    pub fn reset_on_close(&self) {
        // An error means that the connection is gone already.
        let _ = rustix::net::sockopt::set_socket_linger(self.as_fd(), Some(std::time::Duration::ZERO));
    }
}
