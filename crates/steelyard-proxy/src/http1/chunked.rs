//! The chunked transfer coding (RFC 9112 section 7.1): decoding without copying, and the pieces to encode it anew.
//!
//! The decoder walks over the caller's read buffer and says which bytes of it are data. It keeps numbers only, so a
//! line that is incomplete stays in the caller's buffer until the rest of it comes; a buffer of
//! [`BUFFER_BYTES_MIN`] always suffices.

mod line;

use memchr::memmem;

use super::{Malformed, field};
use crate::head::{FieldKind, FieldSpan, Fields, Span};
use line::ChunkHead;

/// A line with a chunk's size and its extensions, CR LF included.
pub const LINE_BYTES_MAX: usize = 512;
/// The extensions of all chunks of a message; they serve nothing but to keep us busy.
pub const EXTENSION_BYTES_MAX: u32 = 8 << 10;
/// The trailer section, the empty line that ends it included.
pub const TRAILER_BYTES_MAX: usize = 8 << 10;
/// Trailer fields.
pub const TRAILER_COUNT_MAX: usize = 32;
/// A buffer of this size holds whatever the decoder waits for.
pub const BUFFER_BYTES_MIN: usize = TRAILER_BYTES_MAX + 2;

/// What is next in the input. Byte counts are from the start of the input that was given to [`Decoder::step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Drop `consumed` bytes; what remains is incomplete and is to be given again with more behind it.
    NeedMore {
        /// Bytes that are done with.
        consumed: usize,
    },
    /// After `skip` bytes of framing come `len` (never 0) bytes of data; drop both and step again. The data may be
    /// a part of a chunk.
    Data {
        /// Bytes of framing before the data.
        skip: usize,
        /// Bytes of data.
        len: usize,
    },
    /// The message ends `consumed` bytes on. Its trailer section is sound, and empty for most; see
    /// [`trailer_fields`].
    End {
        /// Bytes up to the end of the message.
        consumed: usize,
        /// The field lines of the trailer section, each with its CR LF, in the input.
        trailers: Span,
    },
}

/// Decodes one chunked body. Cheap to make, holds no bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    state: State,
    extension_bytes: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before a chunk's size.
    #[default]
    Size,
    /// Within a chunk's data; never 0.
    Data(u64),
    /// Before the CR LF after a chunk's data.
    DataEnd,
    /// After the last chunk.
    Trailers,
    /// After the message.
    Ended,
}

impl Decoder {
    /// A decoder before the first chunk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds what is next in `input`, which begins where the last step said to drop to.
    ///
    /// After [`Step::End`] or an error there is nothing more to decode; further steps say so again.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Malformed> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match self.state {
                State::Size => {
                    let Some(head) = ChunkHead::parse(rest)? else {
                        return Ok(Step::NeedMore { consumed: at });
                    };
                    self.extension_bytes += head.extension_bytes;
                    if self.extension_bytes > EXTENSION_BYTES_MAX {
                        return Err(Malformed { reason: "too many chunk extensions" });
                    }
                    at += head.line_bytes;
                    self.state = if head.size == 0 { State::Trailers } else { State::Data(head.size) };
                }
                State::Data(_) if rest.is_empty() => return Ok(Step::NeedMore { consumed: at }),
                State::Data(remaining) => {
                    let len = usize::try_from(remaining).unwrap_or(usize::MAX).min(rest.len());
                    let remaining = remaining - len as u64;
                    self.state = if remaining == 0 { State::DataEnd } else { State::Data(remaining) };
                    return Ok(Step::Data { skip: at, len });
                }
                State::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => return Ok(Step::NeedMore { consumed: at }),
                    _ => return Err(Malformed { reason: "chunk data is longer than its size" }),
                },
                State::Trailers => {
                    let Some(length) = trailer_section(rest)? else {
                        return Ok(Step::NeedMore { consumed: at });
                    };
                    self.state = State::Ended;
                    let trailers = Span::new(at, at + length);
                    return Ok(Step::End { consumed: at + length + 2, trailers });
                }
                State::Ended => return Ok(Step::End { consumed: at, trailers: Span::new(at, at) }),
            }
        }
    }
}

/// The length of the field lines before the empty line that ends the section, once all of it is there and sound.
fn trailer_section(input: &[u8]) -> Result<Option<usize>, Malformed> {
    match input {
        [b'\r', b'\n', ..] => return Ok(Some(0)),
        [] | [b'\r'] => return Ok(None),
        _ => {}
    }
    let window = &input[..input.len().min(TRAILER_BYTES_MAX)];
    let Some(end) = memmem::find(window, b"\r\n\r\n") else {
        // A section that is already unsound need not be waited for.
        if input.len() >= TRAILER_BYTES_MAX {
            return Err(Malformed { reason: "trailer section is too large" });
        }
        return parse_trailers(window, &mut Fields::new()).map(|()| None);
    };
    parse_trailers(&window[..end + 4], &mut Fields::new())?;
    Ok(Some(end + 2))
}

/// The fields of a trailer section that [`Step::End`] found: `section` is its span of the input, and the spans of
/// the fields are relative to `section`.
pub fn trailer_fields(section: &[u8], fields: &mut Fields) -> Result<(), Malformed> {
    fields.clear();
    if section.is_empty() {
        return Ok(());
    }
    // The parser wants the empty line too; trailers are rare and small.
    let mut whole = Vec::with_capacity(section.len() + 2);
    whole.extend_from_slice(section);
    whole.extend_from_slice(b"\r\n");
    parse_trailers(&whole, fields)
}

fn parse_trailers(section: &[u8], fields: &mut Fields) -> Result<(), Malformed> {
    let mut room = [httparse::EMPTY_HEADER; TRAILER_COUNT_MAX];
    fields.clear();
    let (end, headers) = match httparse::parse_headers(section, &mut room) {
        Ok(httparse::Status::Complete(parsed)) => parsed,
        Ok(httparse::Status::Partial) => return Ok(()),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed { reason: "too many trailer fields" }),
        Err(_) => return Err(Malformed { reason: "malformed trailer field" }),
    };
    field::check_head_end(section, end)?;
    for header in headers {
        let (name, value) = (header.name.as_bytes(), header.value);
        let kind = FieldKind::of(name);
        if !may_trail(kind, name) {
            return Err(Malformed { reason: "field that is forbidden in trailers" });
        }
        let (name, value) = (field::span_in(section, name), field::span_in(section, value));
        // The first line has nothing before it.
        if name.start > 0 {
            field::check_line_end(section, name.start as usize)?;
        }
        fields.push(FieldSpan { name, value, kind });
    }
    Ok(())
}

/// Whether a field may be in trailers. Those for framing, routing, authentication, request modifiers, response control
/// and content processing must not be (RFC 9110 section 6.5.1): software that merges trailers into the head would act
/// on them.
pub(crate) fn may_trail(kind: FieldKind, name: &[u8]) -> bool {
    const OTHERS: [&[u8]; 22] = [
        b"accept",
        b"age",
        b"allow",
        b"authentication-info",
        b"content-range",
        b"expires",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"last-modified",
        b"pragma",
        b"range",
        b"retry-after",
        b"vary",
        b"via",
        b"warning",
        b"origin",
        b"referer",
        b"accept-encoding",
        b"accept-ranges",
    ];
    match kind {
        // Only found out when the whole content was seen, and harmless.
        FieldKind::EndToEnd if name.eq_ignore_ascii_case(b"etag") => true,
        FieldKind::Other => !OTHERS.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden)),
        _ => false,
    }
}

/// The line before a chunk of `len` bytes, written into `out`: `1a\r\n`. The chunk's data and [`CHUNK_END`] follow.
pub fn encode_chunk_head(len: usize, out: &mut [u8; 18]) -> &[u8] {
    debug_assert!(len > 0, "an empty chunk ends the message");
    let mut rest = len;
    let mut start = 16;
    out[16..].copy_from_slice(b"\r\n");
    while rest > 0 || start == 16 {
        start -= 1;
        out[start] = b"0123456789abcdef"[rest & 0xf];
        rest >>= 4;
    }
    &out[start..]
}

/// What follows a chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";

#[cfg(test)]
mod tests;
