//! The response head (RFC 9112 sections 4, 5 and 6).

use httparse::{Error, ParserConfig, Response, Status};
use memchr::memchr;

use super::field::{self, Notes};
use super::{Limits, Malformed};
use crate::head::{Fields, Framing, Method, ResponseHead, Span, Version};

/// Bytes of a status line up to the end of the status: `HTTP/1.1 200`.
const STATUS_END: usize = 12;

/// Parses the response head at the start of `buffer`, the answer to a request with this method.
///
/// `None` means that it is incomplete: read more and call again with the whole. Limits hold for incomplete heads
/// too. A 101 is only sound for a request that asked for it: see [`upgrade_agreed`].
pub fn parse(
    buffer: &[u8],
    request_method: Method,
    limits: &Limits,
    fields: &mut Fields,
) -> Result<Option<ResponseHead>, Malformed> {
    if matches!(buffer.first(), Some(b'\r' | b'\n')) {
        return Err(Malformed { reason: "empty line before the status line" });
    }
    field::with_room(limits.header_count_max, |room| {
        let mut response = Response::new(&mut []);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, buffer, room);
        let end = match parsed {
            Ok(Status::Complete(end)) => end,
            Ok(Status::Partial) => buffer.len() + 1,
            Err(error) => return Err(malformed(error)),
        };
        if end > limits.header_bytes_max as usize {
            return Err(Malformed { reason: "response head is too large" });
        }
        if end > buffer.len() {
            return Ok(None);
        }
        let notes = field::read(buffer, end, response.headers, fields)?;
        assemble(buffer, end, response.version, response.code, request_method, &notes).map(Some)
    })
}

/// Whether a 101 changes to what the request asked for: every protocol in the answer is one of those asked for.
pub fn upgrade_agreed(asked: &[u8], answered: &[u8]) -> bool {
    !answered.is_empty()
        && field::list(answered).all(|answer| field::list(asked).any(|ask| ask.eq_ignore_ascii_case(answer)))
}

fn malformed(error: Error) -> Malformed {
    let reason = match error {
        Error::TooManyHeaders => "too many header fields",
        Error::HeaderName => "malformed field name, white space before a colon, or a folded line",
        Error::HeaderValue => "control byte in a field value",
        Error::NewLine => "bare CR",
        Error::Version | Error::Status | Error::Token => "malformed status line",
    };
    Malformed { reason }
}

fn assemble(
    buffer: &[u8],
    end: usize,
    minor: Option<u8>,
    status: Option<u16>,
    method: Method,
    notes: &Notes,
) -> Result<ResponseHead, Malformed> {
    // httparse sets both before it calls a response complete.
    let (Some(minor), Some(status)) = (minor, status) else {
        return Err(Malformed { reason: "malformed status line" });
    };
    if !(100..=599).contains(&status) {
        return Err(Malformed { reason: "status outside of 100 to 599" });
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let framing = framing(notes, version, status, method)?;
    let upgrade = notes.upgrade().filter(|_| status == 101);
    if status == 101 && (upgrade.is_none() || version == Version::Http10) {
        return Err(Malformed { reason: "101 without an upgrade" });
    }
    let persistent = !notes.close && (version == Version::Http11 || notes.keep_alive);
    Ok(ResponseHead {
        status,
        reason: reason(buffer),
        version,
        framing,
        content_length: notes.content_length,
        keep_alive: persistent && framing != Framing::UntilClose,
        keep_alive_timeout_s: notes.keep_alive_timeout_s,
        upgrade,
        head_bytes: end as u32,
    })
}

/// The reason phrase, whose space some servers leave out with it. httparse gives none that has bytes beyond ASCII.
fn reason(buffer: &[u8]) -> Span {
    // Every line of a head that was read ends with CR LF, and has no other CR.
    let line_end = memchr(b'\r', buffer).unwrap_or(STATUS_END);
    Span::new(line_end.min(STATUS_END + 1), line_end)
}

/// RFC 9112 section 6.3. Framing that no sound response has is an error even where there is no content to frame: the
/// next response on this connection could not be trusted.
fn framing(notes: &Notes, version: Version, status: u16, method: Method) -> Result<Framing, Malformed> {
    if notes.transfer.any() {
        if notes.content_length.is_some() {
            return Err(Malformed { reason: "both Transfer-Encoding and Content-Length" });
        }
        if version == Version::Http10 {
            return Err(Malformed { reason: "Transfer-Encoding in HTTP/1.0" });
        }
        notes.transfer.check()?;
    }
    Ok(match notes.content_length {
        _ if method == Method::Head || matches!(status, 100..=199 | 204 | 304) => Framing::None,
        _ if notes.transfer.any() => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    })
}

#[cfg(test)]
mod tests;
