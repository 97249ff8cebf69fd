//! Writing HTTP/1.1 messages to a connection: heads and small content gathered into one write.

use super::{chunked, encode};
use crate::codec::{Answer, Ask, Parts, Sink, Trailers, WriteContent};
use crate::fault::{Fault, Side};
use crate::free::{FreeList, Lent};
use crate::head::{Framing, RequestHead, ResponseHead};
use crate::http1::encode::{Local, RequestEdit, ResponseEdit};
use crate::timer::Timer;
use crate::transport::Transport;

/// Content up to this size is copied behind what is gathered; larger pieces are written from where they are.
const GATHER_BYTES_MAX: usize = 4 * 1024;

/// How content is framed, or that it goes through a tunnel and ends with its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Framed(Framing),
    Tunnel,
}

/// One connection's writing half for one exchange.
#[derive(Debug)]
pub struct Outgoing<'t> {
    transport: &'t Transport,
    timer: &'t Timer,
    side: Side,
    patience_ms: Option<u64>,
    gathered: Lent<u8>,
    mode: Mode,
    /// Whether anything was sent since the last head was gathered.
    begun: bool,
}

impl<'t> Outgoing<'t> {
    /// Begins to write an exchange. A write that moves nothing for `patience_ms` fails.
    pub(crate) fn new(
        transport: &'t Transport,
        timer: &'t Timer,
        side: Side,
        patience_ms: Option<u64>,
        vectors: &FreeList<u8>,
    ) -> Self {
        let mode = Mode::Framed(Framing::None);
        Self { transport, timer, side, patience_ms, gathered: vectors.lend(), mode, begun: false }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.begun = true;
        let outcome = self.transport.write_all(&self.gathered, bytes, self.timer, self.patience_ms).await;
        self.gathered.clear();
        outcome.map_err(|error| Fault::of_write(&error, self.side))
    }
}

impl WriteContent for Outgoing<'_> {
    async fn data(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let chunked = self.mode == Mode::Framed(Framing::Chunked);
        if chunked {
            let mut line = [0; 18];
            self.gathered.extend_from_slice(chunked::encode_chunk_head(bytes.len(), &mut line));
        }
        if self.gathered.len() + bytes.len() <= GATHER_BYTES_MAX {
            self.gathered.extend_from_slice(bytes);
        } else {
            self.write(bytes).await?;
        }
        if chunked {
            self.gathered.extend_from_slice(chunked::CHUNK_END);
        }
        Ok(())
    }

    async fn end(&mut self, trailers: Trailers<'_>) -> Result<(), Fault> {
        match self.mode {
            Mode::Framed(Framing::Chunked) => {
                encode::trailers(&mut self.gathered, trailers.section, trailers.fields);
            }
            Mode::Framed(_) => {}
            Mode::Tunnel => {
                self.flush().await?;
                self.transport.end();
            }
        }
        Ok(())
    }

    fn sink(&self) -> Option<Sink<'_>> {
        let as_it_is = matches!(self.mode, Mode::Framed(Framing::Length(_)));
        (as_it_is && self.gathered.is_empty() && self.transport.is_clear()).then_some(Sink {
            transport: self.transport,
            side: self.side,
            patience_ms: self.patience_ms,
        })
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.write(&[]).await
    }
}

impl Answer for Outgoing<'_> {
    fn head(&mut self, response: Parts<'_, ResponseHead>, edit: &ResponseEdit<'_>) {
        self.mode = Mode::Framed(edit.framing);
        self.begun = false;
        encode::response(&mut self.gathered, response.bytes, response.head, response.fields, edit);
    }

    fn interim(&mut self, response: Parts<'_, ResponseHead>) {
        encode::interim(&mut self.gathered, response.bytes, response.head, response.fields);
    }

    fn local(&mut self, answer: &Local<'_>) {
        self.gathered.clear();
        encode::local(&mut self.gathered, answer);
    }

    fn become_tunnel(&mut self, patience_ms: Option<u64>) {
        self.mode = Mode::Tunnel;
        self.patience_ms = patience_ms;
    }

    fn is_begun(&self) -> bool {
        self.begun
    }

    fn break_off(&mut self) {
        self.gathered.clear();
        // An orderly end would be the end of such content: only a reset says that there was more.
        if self.mode == Mode::Framed(Framing::UntilClose) {
            self.transport.reset_on_close();
        }
    }
}

impl Ask for Outgoing<'_> {
    fn head(&mut self, request: Parts<'_, RequestHead>, edit: &RequestEdit<'_>) -> usize {
        self.mode = Mode::Framed(edit.framing);
        encode::request(&mut self.gathered, request.bytes, request.head, request.fields, edit);
        self.gathered.len()
    }

    fn become_tunnel(&mut self, patience_ms: Option<u64>) {
        self.mode = Mode::Tunnel;
        self.patience_ms = patience_ms;
    }
}
