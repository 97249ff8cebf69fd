//! Writing heads: appended to the caller's reused buffer, without allocation once it has grown.
//!
//! A head is not passed on, it is written anew: one version, one framing, one form of white space, and nothing that
//! concerned only the connection it came on.

mod forwarded;
mod request;
mod response;

pub use forwarded::Forwarded;
pub(crate) use request::Passing;
pub use request::{RequestEdit, SetField, request};
pub use response::{Local, ResponseEdit, interim, local, response, trailers};
pub(crate) use response::{is_withheld, passes_to_client};

use crate::head::FieldSpan;

/// Copies fields, those that stand one behind the other in one piece.
struct Copier<'a> {
    buffer: &'a [u8],
    start: usize,
    end: usize,
}

impl<'a> Copier<'a> {
    /// Begins with the bytes from `start` to `end` to copy.
    fn new(buffer: &'a [u8], start: usize, end: usize) -> Self {
        Self { buffer, start, end }
    }

    /// Passes a field on: as part of the piece if it is already in the form that we write.
    #[inline]
    fn keep(&mut self, out: &mut Vec<u8>, field: &FieldSpan) {
        let (start, end) = (field.name.start as usize, field.value.end as usize);
        let canonical = field.value.start == field.name.end + 2
            && self.buffer.get(field.name.end as usize..field.value.start as usize) == Some(b": ")
            && self.buffer.get(end..end + 2) == Some(b"\r\n");
        if canonical && start == self.end {
            self.end = end + 2;
            return;
        }
        self.flush(out);
        if canonical {
            (self.start, self.end) = (start, end + 2);
        } else {
            line(out, field.name.of(self.buffer), field.value.of(self.buffer));
        }
    }

    /// Writes the piece. To be called once more at the end.
    #[inline]
    fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.buffer[self.start..self.end]);
        self.start = self.end;
    }
}

/// One field line.
#[inline]
fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(!name.is_empty() && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A number in decimal digits.
fn decimal(out: &mut Vec<u8>, mut number: u64) {
    if number < 10 {
        return out.push(b'0' + number as u8);
    }
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// A field line whose value is a number.
fn number(out: &mut Vec<u8>, name: &[u8], number: u64) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    decimal(out, number);
    out.extend_from_slice(b"\r\n");
}

fn content_length(out: &mut Vec<u8>, length: u64) {
    number(out, b"content-length", length);
}

const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n";

#[cfg(test)]
mod tests;
