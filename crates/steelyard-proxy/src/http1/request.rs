//! The request head (RFC 9112 sections 2, 3, 5 and 6).

use httparse::{Error, Header, Request, Status};
use memchr::memchr;

use super::field::{self, Expect, Notes, span_in};
pub use super::{Limits, Reject};
use crate::head::{
    Fields, Framing, Method, RequestHead, Span, Version, authority_is_valid, path_is_valid, query_is_valid,
};

/// Empty lines before a request that are skipped (RFC 9112 section 2.2), for clients that end a body with one more.
const EMPTY_LINE_COUNT_MAX: usize = 4;

/// Parses the request head at the start of `buffer`.
///
/// `None` means that it is incomplete: read more and call again with the whole. Limits hold for incomplete heads
/// too, so a buffer never needs to grow beyond `header_bytes_max`. `fields` is cleared and filled; after `None` or
/// an error its content means nothing.
pub fn parse(buffer: &[u8], limits: &Limits, fields: &mut Fields) -> Result<Option<RequestHead>, Reject> {
    let Some(start) = skip_empty_lines(buffer)? else { return Ok(None) };
    field::with_room(limits.header_count_max, |room| {
        let mut request = Request::new(&mut []);
        match request.parse_with_uninit_headers(&buffer[start..], room) {
            Ok(Status::Complete(length)) => {
                let end = start + length;
                check_limits(buffer, start, end, limits)?;
                assemble(buffer, start, end, &request, fields).map(Some)
            }
            Ok(Status::Partial) => check_limits(buffer, start, buffer.len() + 1, limits).map(|()| None),
            // What is another version than ours can only be said of a whole one.
            Err(Error::Version) if is_part_of_a_version(&buffer[start..]) => {
                check_limits(buffer, start, buffer.len() + 1, limits).map(|()| None)
            }
            Err(error) => {
                check_limits(buffer, start, 0, limits)?;
                Err(reject(error, buffer, start))
            }
        }
    })
}

/// Whether these bytes are empty lines before a request, as many as may be skipped, and no beginning of one.
pub fn is_empty_lines(bytes: &[u8]) -> bool {
    let (lines, rest) = bytes.as_chunks::<2>();
    rest.is_empty() && lines.len() <= EMPTY_LINE_COUNT_MAX && lines.iter().all(|line| line == b"\r\n")
}

/// The offset of the first byte that is no empty line, if it is there.
fn skip_empty_lines(buffer: &[u8]) -> Result<Option<usize>, Reject> {
    let mut start = 0;
    loop {
        match &buffer[start..] {
            [b'\r', b'\n', ..] if start == 2 * EMPTY_LINE_COUNT_MAX => {
                return Err(Reject::bad("empty lines instead of a request"));
            }
            [b'\r', b'\n', ..] => start += 2,
            [] | [b'\r'] => return Ok(None),
            [b'\r' | b'\n', ..] => return Err(Reject::bad("bare CR or LF before the request")),
            _ => return Ok(Some(start)),
        }
    }
}

/// `end` is where the head ends, or at least ends if it is incomplete.
fn check_limits(buffer: &[u8], start: usize, end: usize, limits: &Limits) -> Result<(), Reject> {
    // A target can only be too long if there are more bytes than that.
    if buffer.len() - start > limits.target_bytes_max as usize
        && target_length(&buffer[start..]) > limits.target_bytes_max as usize
    {
        return Err(Reject { status: 414, reason: "request target is too long" });
    }
    if end > limits.header_bytes_max as usize {
        return Err(Reject { status: 431, reason: "request head is too large" });
    }
    Ok(())
}

/// The length of the target, or of what is there of it.
fn target_length(line: &[u8]) -> usize {
    let Some(space) = memchr(b' ', line) else { return 0 };
    let target = &line[space + 1..];
    target.iter().position(|byte| matches!(byte, b' ' | b'\r' | b'\n')).unwrap_or(target.len())
}

fn reject(error: Error, buffer: &[u8], start: usize) -> Reject {
    match error {
        Error::TooManyHeaders => Reject { status: 431, reason: "too many header fields" },
        Error::Version if another_version(&buffer[start..]) => {
            Reject { status: 505, reason: "HTTP version is not 1.0 or 1.1" }
        }
        Error::HeaderName => {
            Reject::bad("malformed field name, white space before a colon, or a folded line")
        }
        Error::HeaderValue => Reject::bad("control byte in a field value"),
        Error::NewLine => Reject::bad("bare CR"),
        Error::Token | Error::Version | Error::Status => Reject::bad("malformed request line"),
    }
}

/// What follows the target.
fn version_of(line: &[u8]) -> &[u8] {
    line.splitn(3, |&byte| byte == b' ').nth(2).unwrap_or_default()
}

/// Whether the request line ends within what may become a version.
fn is_part_of_a_version(line: &[u8]) -> bool {
    const FORM: &[u8; 8] = b"HTTP/0.0";
    let version = version_of(line);
    let fits = |(&byte, &form): (&u8, &u8)| byte == form || (form == b'0' && byte.is_ascii_digit());
    version.len() <= FORM.len() && version.iter().zip(FORM).all(fits)
}

/// Whether the request line ends with a well-formed version, which then is none of ours (RFC 9110 section 15.6.6).
fn another_version(line: &[u8]) -> bool {
    matches!(version_of(line), [b'H', b'T', b'T', b'P', b'/', major, b'.', minor, b'\r' | b'\n', ..]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

fn assemble(
    buffer: &[u8],
    start: usize,
    end: usize,
    request: &Request<'_, '_>,
    fields: &mut Fields,
) -> Result<RequestHead, Reject> {
    // httparse sets these three before it calls a request complete.
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Reject::bad("malformed request line"));
    };
    let headers: &[Header<'_>] = request.headers;
    let notes = field::read(buffer, end, headers, fields)?;
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let method_span = Span::new(start, start + method.len());
    let method = Method::of(method.as_bytes());
    if method == Method::Connect {
        return Err(Reject { status: 501, reason: "CONNECT is not implemented" });
    }
    let target_span = span_in(buffer, target.as_bytes());
    let target = Target::parse(target.as_bytes(), method, target_span.start as usize)?;
    let host = check_host(buffer, &notes, version)?;
    let framing = framing(&notes, version)?;
    if method == Method::Trace && framing != Framing::None {
        return Err(Reject::bad("TRACE with content"));
    }
    if notes.expect == Expect::Unknown {
        return Err(Reject { status: 417, reason: "unknown expectation" });
    }
    let http11 = version == Version::Http11;
    Ok(RequestHead {
        method,
        method_span,
        path: target.path,
        query: target.query,
        authority: target.authority.unwrap_or(host),
        version,
        framing,
        keep_alive: !notes.close && (http11 || notes.keep_alive),
        // RFC 9110 section 10.1.1: an HTTP/1.0 client's is ignored, and there is nothing to wait for without content.
        expect_continue: http11
            && notes.expect == Expect::Continue
            && !matches!(framing, Framing::None | Framing::Length(0)),
        upgrade: notes.upgrade().filter(|upgrade| http11 && !hides_http(upgrade.of(buffer))),
        te_trailers: http11 && notes.te_trailers,
        head_bytes: end as u32,
    })
}

struct Target {
    path: Span,
    query: Option<Span>,
    authority: Option<Span>,
}

impl Target {
    /// The four forms of RFC 9112 section 3.2, but for the authority form, which only CONNECT has. `at` is the offset
    /// of `target` in the buffer.
    fn parse(target: &[u8], method: Method, at: usize) -> Result<Self, Reject> {
        if target == b"*" && method == Method::Options {
            return Ok(Self { path: Span::new(at, at + 1), query: None, authority: None });
        }
        if target.first() == Some(&b'/') {
            return Self::parse_path(target, at);
        }
        let Some(scheme_bytes) = scheme_length(target) else {
            return Err(Reject::bad("malformed request target"));
        };
        let rest = &target[scheme_bytes..];
        let length = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        if !authority_is_valid(&rest[..length]) {
            return Err(Reject::bad("malformed authority in the request target"));
        }
        let start = at + scheme_bytes;
        let authority = Some(Span::new(start, start + length));
        Ok(Self { authority, ..Self::parse_path(&rest[length..], start + length)? })
    }

    fn parse_path(target: &[u8], at: usize) -> Result<Self, Reject> {
        let length = memchr(b'?', target).unwrap_or(target.len());
        let (path, query) = target.split_at(length);
        // An absolute form may go without a path.
        if !(path.is_empty() || path_is_valid(path)) || !query.get(1..).is_none_or(query_is_valid) {
            return Err(Reject::bad("malformed request target"));
        }
        let end = at + target.len();
        let query = (!query.is_empty()).then(|| Span::new(at + length + 1, end));
        Ok(Self { path: Span::new(at, at + length), query, authority: None })
    }
}

fn scheme_length(target: &[u8]) -> Option<usize> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        target
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            .then_some(scheme.len())
    })
}

/// RFC 9112 section 3.2: exactly one sound Host, which only HTTP/1.0 may lack.
fn check_host(buffer: &[u8], notes: &Notes, version: Version) -> Result<Span, Reject> {
    match notes.host {
        Some(host) if authority_is_valid(host.of(buffer)) => Ok(host),
        Some(_) => Err(Reject::bad("malformed Host")),
        None if version == Version::Http10 => Ok(Span::default()),
        None => Err(Reject::bad("missing Host")),
    }
}

/// RFC 9112 sections 6.1 and 6.3.
fn framing(notes: &Notes, version: Version) -> Result<Framing, Reject> {
    match notes.content_length {
        _ if notes.transfer.any() => {
            if notes.content_length.is_some() {
                return Err(Reject::bad("both Transfer-Encoding and Content-Length"));
            }
            if version == Version::Http10 {
                return Err(Reject::bad("Transfer-Encoding in HTTP/1.0"));
            }
            notes.transfer.check().map(|()| Framing::Chunked)
        }
        Some(length) => Ok(Framing::Length(length)),
        None => Ok(Framing::None),
    }
}

/// Whether an upgrade to one of these would carry requests past us: HTTP/2 in clear text, another HTTP, or TLS.
fn hides_http(protocols: &[u8]) -> bool {
    field::list(protocols).any(|protocol| {
        let name = protocol.split(|&byte| byte == b'/').next().unwrap_or_default();
        name.is_empty()
            || [&b"h2c"[..], b"h2", b"h3", b"http", b"tls"]
                .iter()
                .any(|hidden| name.eq_ignore_ascii_case(hidden))
    })
}

#[cfg(test)]
mod tests;
