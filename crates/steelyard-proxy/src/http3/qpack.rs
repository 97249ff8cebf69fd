//! QPACK (RFC 9204) without a dynamic table: nothing that a peer sends is remembered, so that no stream waits for another and
//! a connection takes no memory for it. Pure functions.

mod huffman;
mod table;

use table::Found;

/// What cannot be decompressed. The connection cannot go on after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// A name or a value, as it was sent.
#[derive(Debug, Clone, Copy)]
pub enum Text<'b> {
    /// As it is meant.
    Plain(&'b [u8]),
    /// Compressed.
    Huffman(&'b [u8]),
}

impl Text<'_> {
    /// Appends it as it is meant.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match self {
            Text::Plain(bytes) => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            Text::Huffman(bytes) => huffman::decode(bytes, out),
        }
    }
}

/// The fields of a section, one after the other.
#[derive(Debug)]
pub struct Section<'b> {
    rest: &'b [u8],
}

impl<'b> Section<'b> {
    /// Begins to read. A section that refers to a table that there is none of is malformed; one that refers to none may have
    /// any base that is not below zero (RFC 9204 section 4.5.1.2).
    pub fn new(bytes: &'b [u8]) -> Result<Self, Malformed> {
        let mut section = Self { rest: bytes };
        let inserted = section.number(8)?;
        let is_below = section.rest.first().is_some_and(|first| first & 0x80 != 0);
        section.number(7)?;
        if inserted == 0 && !is_below { Ok(section) } else { Err(Malformed) }
    }

    /// The next field: its name and its value.
    #[expect(clippy::should_implement_trait, reason = "what is malformed ends it")]
    pub fn next(&mut self) -> Result<Option<(Text<'b>, Text<'b>)>, Malformed> {
        let Some(&first) = self.rest.first() else { return Ok(None) };
        // RFC 9204 section 4.5; what is not matched refers to the dynamic table.
        match first {
            0b1100_0000..=0b1111_1111 => {
                let (name, value) = self.entry(6)?;
                Ok(Some((Text::Plain(name), Text::Plain(value))))
            }
            0b0101_0000..=0b0101_1111 | 0b0111_0000..=0b0111_1111 => {
                let (name, _) = self.entry(4)?;
                Ok(Some((Text::Plain(name), self.text(7)?)))
            }
            0b0010_0000..=0b0011_1111 => {
                let name = self.text(3)?;
                Ok(Some((name, self.text(7)?)))
            }
            _ => Err(Malformed),
        }
    }

    fn entry(&mut self, bits: u32) -> Result<(&'static [u8], &'static [u8]), Malformed> {
        let index = self.number(bits)?;
        usize::try_from(index).ok().and_then(|index| table::ENTRIES.get(index)).copied().ok_or(Malformed)
    }

    /// A text whose length has so many bits in its first byte, behind the one that says how it is written.
    fn text(&mut self, bits: u32) -> Result<Text<'b>, Malformed> {
        let is_huffman = self.rest.first().ok_or(Malformed)? & 1 << bits != 0;
        let length = usize::try_from(self.number(bits)?).map_err(|_| Malformed)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(if is_huffman { Text::Huffman(bytes) } else { Text::Plain(bytes) })
    }

    fn number(&mut self, bits: u32) -> Result<u64, Malformed> {
        let (number, length) = read_number(self.rest, bits)?.ok_or(Malformed)?;
        self.rest = &self.rest[length..];
        Ok(number)
    }
}

/// Reads a number that has so many bits in its first byte (RFC 7541 section 5.1); says how many bytes it has. `None` = there
/// is only a part of it.
pub(super) fn read_number(bytes: &[u8], bits: u32) -> Result<Option<(u64, usize)>, Malformed> {
    /// Beyond this no number is sound here: it counts bytes or entries.
    const SHIFT_MAX: u32 = 56;
    let full = (1u64 << bits) - 1;
    let Some(&first) = bytes.first() else { return Ok(None) };
    let mut number = u64::from(first) & full;
    if number < full {
        return Ok(Some((number, 1)));
    }
    for (index, &byte) in bytes.iter().enumerate().skip(1) {
        let shift = 7 * (index as u32 - 1);
        if shift > SHIFT_MAX {
            return Err(Malformed);
        }
        number += u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(Some((number, index + 1)));
        }
    }
    Ok(None)
}

/// Begins a section that refers to no table but the static one.
pub fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
}

/// Appends a field. Its name is written in lower case.
pub fn write(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let start = out.len();
    match table::find(name, value) {
        Found::Whole(index) => return write_number(out, 0b1100_0000, 6, u64::from(index)),
        Found::Name(index) => write_number(out, 0b0101_0000, 4, u64::from(index)),
        // In lower case it may be there all the same; looked for once more only where it is not so already.
        Found::Nothing if name.iter().any(u8::is_ascii_uppercase) => {
            return write(out, &name.to_ascii_lowercase(), value);
        }
        Found::Nothing => {
            write_number(out, 0b0010_0000, 3, name.len() as u64);
            out.extend_from_slice(name);
        }
    }
    debug_assert!(out.len() > start);
    write_number(out, 0, 7, value.len() as u64);
    out.extend_from_slice(value);
}

fn write_number(out: &mut Vec<u8>, pattern: u8, bits: u32, number: u64) {
    let full = (1u64 << bits) - 1;
    if number < full {
        return out.push(pattern | number as u8);
    }
    out.push(pattern | full as u8);
    let mut rest = number - full;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests;
