//! The body of a request, in pieces as they come.

use std::io;

use crate::head::Framing;
use crate::wire::Wire;

const TRAILERS_MAX: usize = 32;

pub(crate) struct Body {
    state: State,
    /// Bytes of content so far.
    pub(crate) bytes: u64,
    pub(crate) trailers: Vec<(String, String)>,
}

enum State {
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    Done,
}

impl Body {
    pub(crate) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
        };
        Self { state, bytes: 0, trailers: Vec::new() }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Puts the next piece in place of what `piece` holds; `false` once there is none.
    pub(crate) async fn read(&mut self, wire: &mut Wire, piece: &mut Vec<u8>) -> io::Result<bool> {
        piece.clear();
        while piece.is_empty() {
            if self.is_done() {
                return Ok(false);
            }
            if !self.step(wire, piece)? && !wire.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(true)
    }

    pub(crate) async fn drain(&mut self, wire: &mut Wire) -> io::Result<()> {
        if self.is_done() {
            return Ok(());
        }
        let mut piece = Vec::new();
        while self.read(wire, &mut piece).await? {}
        Ok(())
    }

    /// Goes on as far as the bytes at hand allow; `false` when more must be read.
    fn step(&mut self, wire: &mut Wire, piece: &mut Vec<u8>) -> io::Result<bool> {
        let input = wire.input();
        let (used, next) = match self.state {
            State::Done => return Ok(true),
            State::Length(left) | State::ChunkData(left) => {
                let take = left.min(input.len() as u64);
                if take == 0 {
                    return Ok(false);
                }
                piece.extend_from_slice(&input[..take as usize]);
                self.bytes += take;
                let next = match (&self.state, left - take) {
                    (State::Length(_), 0) => State::Done,
                    (State::Length(_), left) => State::Length(left),
                    (_, 0) => State::ChunkEnd,
                    (_, left) => State::ChunkData(left),
                };
                (take as usize, next)
            }
            State::ChunkSize => match httparse::parse_chunk_size(input) {
                Ok(httparse::Status::Complete((used, 0))) => (used, State::Trailers),
                Ok(httparse::Status::Complete((used, size))) => (used, State::ChunkData(size)),
                Ok(httparse::Status::Partial) => return Ok(false),
                Err(_) => return Err(malformed("chunk size")),
            },
            State::ChunkEnd => match input {
                [b'\r', b'\n', ..] => (2, State::ChunkSize),
                [] | [b'\r'] => return Ok(false),
                _ => return Err(malformed("chunk end")),
            },
            State::Trailers => match trailers(input)? {
                Some((used, fields)) => {
                    self.trailers = fields;
                    (used, State::Done)
                }
                None => return Ok(false),
            },
        };
        self.state = next;
        wire.consume(used);
        Ok(true)
    }
}

type Fields = Vec<(String, String)>;

fn trailers(input: &[u8]) -> io::Result<Option<(usize, Fields)>> {
    let mut headers = [httparse::EMPTY_HEADER; TRAILERS_MAX];
    match httparse::parse_headers(input, &mut headers) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete((used, fields))) => {
            let text = |field: &httparse::Header<'_>| {
                (field.name.to_owned(), String::from_utf8_lossy(field.value).into_owned())
            };
            Ok(Some((used, fields.iter().map(text).collect())))
        }
        Err(_) => Err(malformed("trailer")),
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {what}"))
}
