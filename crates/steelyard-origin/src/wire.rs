//! One connection as two buffers: bytes that came and are not consumed, bytes that wait to be written.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::shared::{Counts, Shared};

/// What one read may bring.
const READ_BYTES: usize = 16 * 1024;

/// The most that is buffered in either direction.
pub(crate) const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// How long a connection that closes waits for the client to do so too, when it has sent more than was read.
const LINGER: Duration = Duration::from_secs(2);

pub(crate) struct Wire {
    stream: TcpStream,
    shared: Arc<Shared>,
    input: Vec<u8>,
    consumed: usize,
    /// What is to be sent; goes out when the origin next waits for the client, or by `flush`.
    pub(crate) output: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, shared: Arc<Shared>) -> Self {
        // Fails only on a socket that is already dead, which the first read tells.
        let _ = stream.set_nodelay(true);
        Counts::add(&shared.counts.open);
        Self { stream, shared, input: Vec::new(), consumed: 0, output: Vec::new() }
    }

    /// Bytes that were read and not consumed.
    pub(crate) fn input(&self) -> &[u8] {
        &self.input[self.consumed..]
    }

    pub(crate) fn consume(&mut self, bytes: usize) {
        self.consumed += bytes;
        debug_assert!(self.consumed <= self.input.len());
        if self.consumed == self.input.len() {
            self.input.clear();
            self.consumed = 0;
        }
    }

    /// Writes what waits, then reads more; `false` at the end of the stream. Cancel-safe once nothing waits
    /// to be written.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        self.flush().await?;
        if self.consumed > 0 {
            self.input.drain(..self.consumed);
            self.consumed = 0;
        }
        if self.input.len() >= BUFFER_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more than the buffer holds"));
        }
        self.input.reserve(READ_BYTES);
        Ok(self.stream.read_buf(&mut self.input).await? > 0)
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.output.clear();
        }
        Ok(())
    }

    /// Writes a long body's bytes without letting them pile up.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.extend_from_slice(bytes);
        if self.output.len() >= BUFFER_BYTES_MAX { self.flush().await } else { Ok(()) }
    }

    /// Waits for the client to leave, and keeps what it sends meanwhile.
    pub(crate) async fn gone(&mut self) -> io::Error {
        loop {
            if self.input.len() >= BUFFER_BYTES_MAX {
                std::future::pending::<()>().await;
            }
            match self.fill().await {
                Ok(true) => {}
                Ok(false) => return io::ErrorKind::ConnectionAborted.into(),
                Err(error) => return error,
            }
        }
    }

    /// Waits, unless the client leaves first, which is an error.
    pub(crate) async fn pause(&mut self, time: Duration) -> io::Result<()> {
        self.flush().await?;
        tokio::select! {
            biased;
            () = tokio::time::sleep(time) => Ok(()),
            error = self.gone() => Err(error),
        }
    }

    /// Ends the stream towards the client and waits a little for the other end, so that bytes which were
    /// not read do not turn the end into a reset.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown().await?;
        let rest = async {
            let mut scrap = vec![0; READ_BYTES];
            while self.stream.read(&mut scrap).await? > 0 {}
            io::Result::Ok(())
        };
        tokio::time::timeout(LINGER, rest).await.unwrap_or(Ok(()))
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        zero_linger(&self.stream);
    }

    /// Sends back what comes until the client ends its side.
    pub(crate) async fn echo(mut self) -> io::Result<()> {
        loop {
            self.output.extend_from_slice(&self.input[self.consumed..]);
            self.consume(self.input().len());
            if !self.fill().await? {
                return self.close().await;
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.counts.open.fetch_sub(1, Ordering::Relaxed);
        if self.shared.stopping.load(Ordering::Relaxed) {
            zero_linger(&self.stream);
        }
    }
}

fn zero_linger(stream: &TcpStream) {
    // Without it the socket closes in the ordinary way; there is nothing else to do about it.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
