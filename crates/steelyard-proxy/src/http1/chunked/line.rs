//! The line before a chunk: its size, and extensions that are checked and dropped.

use super::LINE_BYTES_MAX;
use crate::http1::{Malformed, field::is_token_byte};

/// Hexadecimal digits of a size, leading zeros included: 64 bits.
const SIZE_DIGIT_COUNT_MAX: usize = 16;

/// The line before a chunk.
pub(super) struct ChunkHead {
    /// Bytes of data; 0 for the last chunk.
    pub(super) size: u64,
    /// The whole line, CR LF included.
    pub(super) line_bytes: usize,
    /// What stands between the size and CR LF.
    pub(super) extension_bytes: u32,
}

impl ChunkHead {
    /// Parses the line at the start of `input`; `None` if it is incomplete and sound so far.
    pub(super) fn parse(input: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut size = 0_u64;
        let mut digits = 0;
        while let Some(value) = input.get(digits).and_then(|&byte| char::from(byte).to_digit(16)) {
            if digits == SIZE_DIGIT_COUNT_MAX {
                return Err(Malformed { reason: "chunk size is too large" });
            }
            size = size << 4 | u64::from(value);
            digits += 1;
        }
        let line_end = match &input[digits..] {
            [] => return Ok(None),
            _ if digits == 0 => return Err(Malformed { reason: "malformed chunk size" }),
            [b'\r', b'\n', ..] => digits,
            [b'\r'] => return Ok(None),
            [b';', ..] => match extensions(&input[..input.len().min(LINE_BYTES_MAX)], digits)? {
                Some(line_end) => line_end,
                None if input.len() < LINE_BYTES_MAX => return Ok(None),
                None => return Err(Malformed { reason: "chunk line is too long" }),
            },
            _ => return Err(Malformed { reason: "malformed chunk size" }),
        };
        let extension_bytes = (line_end - digits) as u32;
        Ok(Some(Self { size, line_bytes: line_end + 2, extension_bytes }))
    }
}

#[derive(Clone, Copy)]
enum Part {
    /// After `;`
    NameStart,
    Name,
    /// After `=`
    ValueStart,
    Token,
    Quoted,
    /// After `\` in a quoted string
    Escaped,
    QuotedEnd,
}

/// `*( ";" token [ "=" ( token / quoted-string ) ] )` without the white space that a sender must not write (RFC 9112
/// section 7.1.1). Gives the offset of the CR that ends the line.
fn extensions(input: &[u8], start: usize) -> Result<Option<usize>, Malformed> {
    let mut part = Part::Name;
    for (at, &byte) in input.iter().enumerate().skip(start) {
        part = match (part, byte) {
            (Part::Name | Part::Token | Part::QuotedEnd, b'\r') => {
                return match input.get(at + 1) {
                    Some(b'\n') => Ok(Some(at)),
                    Some(_) => Err(Malformed { reason: "bare CR in a chunk line" }),
                    None => Ok(None),
                };
            }
            (Part::Name | Part::Token | Part::QuotedEnd, b';') => Part::NameStart,
            (Part::Name, b'=') => Part::ValueStart,
            (Part::NameStart | Part::Name, byte) if is_token_byte(byte) => Part::Name,
            (Part::ValueStart, b'"') => Part::Quoted,
            (Part::ValueStart | Part::Token, byte) if is_token_byte(byte) => Part::Token,
            (Part::Quoted, b'"') => Part::QuotedEnd,
            (Part::Quoted, b'\\') => Part::Escaped,
            (Part::Quoted | Part::Escaped, b'\t' | b' '..=b'~' | 0x80..) => Part::Quoted,
            _ => return Err(Malformed { reason: "malformed chunk extension" }),
        };
    }
    Ok(None)
}
