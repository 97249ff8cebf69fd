//! What carries bytes: a TCP or a unix socket, with TLS over it or without, read and written without waiting longer than
//! was said.

mod facts;
mod handshake;
mod socket;
mod tls;

use crate::buffer::Buffers;
use crate::pipes::Pipe;
use crate::timer::{GiveUp, Timer};
pub use facts::Facts;
pub(crate) use handshake::Insecure;
use socket::Socket;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};
use tls::Tls;
use tokio::net::{TcpStream, UnixStream};

/// What carries the bytes of one connection.
#[derive(Debug)]
pub struct Transport {
    socket: Socket,
    /// In a box, since most connections in memory may have none.
    tls: Option<Box<Tls>>,
}

impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Self {
        Self { socket: stream.into(), tls: None }
    }
}

impl From<UnixStream> for Transport {
    fn from(stream: UnixStream) -> Self {
        Self { socket: stream.into(), tls: None }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if let Some(tls) = &self.tls {
            tls.end(&self.socket);
        }
    }
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Transport {
    /// The port by which it has come; 0 where there is none.
    pub fn port(&self) -> u16 {
        let name = rustix::net::getsockname(self).ok();
        name.and_then(|name| std::net::SocketAddr::try_from(name).ok()).map_or(0, |address| address.port())
    }

    /// What was agreed on and proved, where TLS is spoken.
    pub fn facts(&self) -> Option<&Facts> {
        self.tls.as_ref().map(|tls| &tls.facts)
    }

    /// The protocol that both sides have agreed on; `None` where they have not spoken of it.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.facts().and_then(|facts| facts.alpn.as_deref())
    }

    /// Ready when there may be something to read, the end included.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tls.as_ref().is_some_and(|tls| tls.has_something()) {
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_readable(cx)
    }

    /// Reads at least one byte, or 0 at the end of the stream, when there is something.
    pub(crate) fn poll_read(&self, room: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match &self.tls {
            None => self.socket.poll_read(room, cx),
            Some(tls) => tls.poll_read(&self.socket, room, cx),
        }
    }

    /// Writes some of these parts when there is room. Over TLS it may be taken in without having left: see
    /// [`Transport::poll_flush`].
    pub(crate) fn poll_write(&self, parts: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(tls) = &self.tls else { return self.socket.poll_write(parts, cx) };
        let mut some = parts.iter().filter(|part| !part.is_empty()).map(|part| &part[..]);
        tls.poll_write(&self.socket, (some.next().unwrap_or(&[]), some.next().unwrap_or(&[])), cx)
    }

    /// Ready when what was written has left.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.has_unsent() {
            ready!(self.poll_write(&[], cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether something that was to be written has not left.
    fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_unsent())
    }

    /// Whether the kernel could pass its bytes on by itself.
    pub(crate) fn is_clear(&self) -> bool {
        self.tls.is_none()
    }

    /// Moves what there is into a pipe, at most so many bytes; 0 at the end of the stream. Only for clear text.
    pub(crate) fn poll_into(
        &self,
        pipe: &mut Pipe,
        bytes_max: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.is_clear(), "records are not content");
        self.socket.poll_into(pipe, bytes_max, cx)
    }

    /// Moves what there is room for out of a pipe. Only for clear text.
    pub(crate) fn poll_out_of(&self, pipe: &mut Pipe, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        debug_assert!(self.is_clear(), "content is not records");
        self.socket.poll_out_of(pipe, cx)
    }

    /// Looks at what has come, before TLS begins, until `read` has found what it looks for in it; `None` when the peer has
    /// ended its side before. Nothing is taken, and nothing is held while nothing comes. `give_up` says until when that may
    /// take; it is asked whenever nothing moves.
    pub(crate) async fn look<T, E>(
        &self,
        bytes_max: usize,
        buffers: &Buffers,
        timer: &Timer,
        mut give_up: impl FnMut(&mut Context<'_>) -> GiveUp,
        mut read: impl FnMut(&[u8]) -> Result<Option<T>, E>,
    ) -> io::Result<Option<Result<T, E>>> {
        let mut seen = 0;
        poll_fn(|cx| {
            loop {
                let mut buffer = buffers.lend();
                let room = buffer.room();
                let size = room.len().min(bytes_max);
                let Poll::Ready(outcome) = self.socket.poll_peek(&mut room[..size], seen, cx) else {
                    let give_up = give_up(cx);
                    return timer.poll(give_up, cx).map(|()| Err(timed_out()));
                };
                let count = outcome?;
                match read(&room[..count]).transpose() {
                    Some(found) => return Poll::Ready(Ok(Some(found))),
                    None if count <= seen || count == size => return Poll::Ready(Ok(None)),
                    None => seen = count,
                }
            }
        })
        .await
    }

    /// Takes so many bytes, which have been looked at.
    pub(crate) fn take(&self, count: usize) -> io::Result<()> {
        self.socket.take(count)
    }

    /// Whether the connection has failed under a write. The system tells of a reset once: a read that comes after that
    /// sees what had arrived and then an end, as if the peer had ended its side in good order.
    pub fn is_broken(&self) -> bool {
        self.socket.is_broken()
    }

    /// Reads at least one byte, or 0 at the end of the stream. `room` must not be empty. Nothing is lost when the
    /// future is dropped. Over TLS an end that was not announced is an error: something may be missing.
    pub async fn read(&self, room: &mut [u8], timer: &Timer, give_up: GiveUp) -> io::Result<usize> {
        poll_fn(|cx| match self.poll_read(room, cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => timer.poll(give_up, cx).map(|()| Err(timed_out())),
        })
        .await
    }

    /// Writes all of both parts. When it fails or is dropped, any prefix may have been written. The moment to give
    /// up is set anew by `patience` whenever some bytes got through.
    pub async fn write_all(
        &self,
        mut first: &[u8],
        mut second: &[u8],
        timer: &Timer,
        patience_ms: Option<u64>,
    ) -> io::Result<()> {
        let mut give_up = None;
        while !first.is_empty() || !second.is_empty() || self.has_unsent() {
            let parts = [IoSlice::new(first), IoSlice::new(second)];
            let parts = match (first.is_empty(), second.is_empty()) {
                (false, true) => &parts[..1],
                (true, _) => &parts[1..],
                _ => &parts[..],
            };
            let written = poll_fn(|cx| match self.poll_write(parts, cx) {
                Poll::Ready(outcome) => Poll::Ready(outcome),
                Poll::Pending => {
                    let at = *give_up.get_or_insert_with(|| timer.after(patience_ms));
                    timer.poll(at, cx).map(|()| Err(timed_out()))
                }
            })
            .await?;
            give_up = None;
            let of_first = written.min(first.len());
            first = &first[of_first..];
            second = &second[written - of_first..];
        }
        Ok(())
    }

    /// Waits until the peer has ended its side or the connection, even behind bytes that nobody has read.
    pub async fn hung_up(&self) {
        self.socket.hung_up().await;
    }

    /// Waits until the connection has failed. A peer that has ended its side may still be listening.
    pub async fn reset(&self) {
        self.socket.reset().await;
    }

    /// Whether the peer has ended its side or the connection.
    pub fn has_hung_up(&self) -> bool {
        self.socket.has_hung_up()
    }

    /// Whether anything has arrived, the end included, as far as the runtime has heard: no system call when not.
    pub fn is_quiet(&self) -> bool {
        match &self.tls {
            None => self.socket.is_quiet(),
            Some(tls) => self.is_quiet_over(tls),
        }
    }

    /// Whether anything has arrived, the end included, by asking the socket itself.
    pub fn is_silent(&self) -> bool {
        match &self.tls {
            None => self.socket.is_silent(),
            Some(_) if self.socket.is_silent() => true,
            Some(tls) => {
                self.socket.ask();
                self.is_quiet_over(tls)
            }
        }
    }

    /// What arrives over TLS may be for TLS alone: tickets for other sessions come when the peer likes.
    fn is_quiet_over(&self, tls: &Tls) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        tls.poll_read(&self.socket, &mut [], &mut cx).is_pending()
    }

    /// Says that nothing more will be written.
    pub fn end(&self) {
        match &self.tls {
            None => self.socket.end(),
            Some(tls) => tls.end(&self.socket),
        }
    }

    /// Makes closing this connection a reset, so that the peer sees that something is missing.
    pub fn reset_on_close(&self) {
        if let Some(tls) = &self.tls {
            tls.cut();
        }
        self.socket.reset_on_close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream as StdStream};

    #[test]
    fn what_the_runtime_has_not_heard_of_is_seen_by_asking_the_socket() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let near = StdStream::connect(listener.local_addr().expect("bound")).expect("connected");
            let (mut far, _) = listener.accept().expect("accepted");
            near.set_nonblocking(true).expect("a flag");
            let transport = Transport::from(TcpStream::from_std(near).expect("registered"));
            // The first news of a socket is that it can be written.
            poll_fn(|cx| transport.socket.poll_writable(cx)).await.expect("writable");
            assert!(transport.is_quiet() && transport.is_silent());
            // Nothing is awaited from here on, so that the runtime does not look.
            far.write_all(b"x").expect("sent");
            while transport.is_silent() {}
            assert!(transport.is_quiet(), "this is what it spares a system call for");
            drop(far);
            assert!(!transport.is_silent());
        });
    }
}
