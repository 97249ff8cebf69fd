//! Heads towards an endpoint that speaks HTTP/2, and its answers.

use super::append;
use crate::codec::Parts;
use crate::fault::Fault;
use crate::head::{FieldKind, FieldSpan, Framing, Method, RequestHead, ResponseHead, Span, Version};
use crate::http1::Limits;
use crate::http1::encode::{Passing, RequestEdit};
use crate::http1::field::{content_length, is_token};
use crate::pseudo::websocket::{self, ACCEPT_BYTES, WEBSOCKET};
use crate::pseudo::{put, write_field};
use bytes::Bytes;
use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderValue, MAX_FORWARDS, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri};

/// What was asked, as far as the answer must be read by it.
#[derive(Debug, Default)]
pub(in crate::http2) struct Asking {
    /// The proof that a client of HTTP/1.1 waits for, where a WebSocket was asked for.
    accept: Option<[u8; ACCEPT_BYTES]>,
}

impl Asking {
    /// Whether a WebSocket was asked for.
    pub fn is_websocket(&self) -> bool {
        self.accept.is_some()
    }
}

/// What a connection to an endpoint lets a request be.
#[derive(Debug, Clone, Copy)]
pub(in crate::http2) struct Towards {
    /// Whether the endpoint takes an extended CONNECT. One that does not is asked without an upgrade, which it may answer as
    /// it likes.
    pub websockets: bool,
    /// Whether it is one over TLS.
    pub secure: bool,
}

/// The head of a request, what of it the answer must be read by, and about how many bytes it has.
pub(in crate::http2) fn request(
    request: Parts<'_, RequestHead>,
    edit: &RequestEdit<'_>,
    towards: Towards,
) -> (Request<()>, Asking, usize) {
    let Parts { head, fields, bytes } = request;
    let mut asked = Request::new(());
    let upgrade = edit.upgrade && towards.websockets;
    let asking = Asking { accept: key(request).filter(|_| upgrade).map(websocket::accept_of) };
    let map = asked.headers_mut();
    map.reserve(fields.len() + 8);
    write_fields(map, request, edit, asking.is_websocket());
    let host = edit.host(head, bytes);
    let uri = uri(if towards.secure { Scheme::HTTPS } else { Scheme::HTTP }, host, edit.target);
    if uri.authority().is_none() {
        append(map, HOST.as_str().as_bytes(), HeaderValue::from_bytes(host));
        // Only so may a request go without `:authority`.
        *asked.version_mut() = http::Version::HTTP_11;
    } else {
        *asked.version_mut() = http::Version::HTTP_2;
    }
    *asked.uri_mut() = uri;
    *asked.method_mut() = if asking.is_websocket() {
        asked.extensions_mut().insert(Protocol::from_static("websocket"));
        http::Method::CONNECT
    } else {
        // A codec of ours has found it to be a token.
        http::Method::from_bytes(head.method_span.of(bytes)).unwrap_or_default()
    };
    let size: usize = asked.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    (asked, asking, size + edit.target.len())
}

/// The key of a request for a WebSocket.
fn key(request: Parts<'_, RequestHead>) -> Option<&[u8]> {
    request.head.upgrade.filter(|protocol| protocol.of(request.bytes).eq_ignore_ascii_case(WEBSOCKET))?;
    let is_key = |field: &&FieldSpan| websocket::is_key(field.name.of(request.bytes));
    request.fields.iter().find(is_key).map(|field| field.value.of(request.bytes))
}

fn write_fields(map: &mut HeaderMap, request: Parts<'_, RequestHead>, edit: &RequestEdit<'_>, upgrade: bool) {
    let Parts { head, fields, bytes } = request;
    let mut passing = Passing::new(edit);
    let shared = Bytes::copy_from_slice(&bytes[..(head.head_bytes as usize).min(bytes.len())]);
    for field in fields {
        let name = field.name.of(bytes);
        if passing.passes(field, bytes) && !(upgrade && websocket::is_of_http1(name)) {
            let value = shared.slice(field.value.start as usize..field.value.end as usize);
            append(map, name, HeaderValue::from_maybe_shared(value));
        }
    }
    for (name, value) in edit.set {
        if !matches!(FieldKind::of(name), FieldKind::Host) && !FieldKind::of(name).belongs_to_the_connection()
        {
            append(map, name, HeaderValue::from_bytes(value));
        }
    }
    if let Some(max) = passing.max_forwards() {
        map.insert(MAX_FORWARDS, max.into());
    }
    if let Framing::Length(length) = edit.framing {
        map.insert(CONTENT_LENGTH, length.into());
    }
    if head.te_trailers {
        map.insert(TE, HeaderValue::from_static("trailers"));
    }
    if edit.expect_continue {
        map.insert(EXPECT, HeaderValue::from_static("100-continue"));
    }
    let mut lines = Vec::with_capacity(256);
    passing.write_forwarded(&mut lines, bytes, head, fields);
    for line in lines.split(|&byte| byte == b'\n') {
        // Lines of our own: a name, a colon, a space, a value and a CR.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(colon) = memchr::memchr(b':', line) {
            append(map, &line[..colon], HeaderValue::from_bytes(line[colon + 1..].trim_ascii()));
        }
    }
}

/// Scheme, authority and path; without the first two where the authority is one that `http` does not know.
fn uri(scheme: Scheme, host: &[u8], target: &[u8]) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.authority = Authority::try_from(host).ok();
    parts.scheme = parts.authority.is_some().then_some(scheme);
    parts.path_and_query = PathAndQuery::try_from(target).or_else(|_| escaped(target)).ok();
    // There is a path whenever the target is one, which it was found to be.
    Uri::from_parts(parts).unwrap_or_default()
}

/// A target with what `http` does not take for part of one escaped.
fn escaped(target: &[u8]) -> Result<PathAndQuery, http::uri::InvalidUri> {
    let mut text = Vec::with_capacity(target.len() + 16);
    for &byte in target {
        match byte {
            b'`' => text.extend_from_slice(b"%60"),
            byte => text.push(byte),
        }
    }
    PathAndQuery::try_from(text)
}

/// Writes an answer into `out` and `fields`, which are empty, in the form of HTTP/1.1. `ended` says that its head is all of
/// it.
pub(in crate::http2) fn response(
    parts: &http::response::Parts,
    ended: bool,
    asked: Method,
    asking: &Asking,
    limits: &Limits,
    out: &mut Vec<u8>,
    fields: &mut Vec<FieldSpan>,
) -> Result<ResponseHead, Fault> {
    let status = match parts.status.as_u16() {
        101 => return Err(Fault::Malformed("101 in HTTP/2")),
        200..=299 if asking.is_websocket() => 101,
        status @ 100..=599 => status,
        _ => return Err(Fault::Malformed("status outside of 100 to 599")),
    };
    // As HTTP/1.1 would be written, without a reason.
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.to_string().as_bytes());
    out.push(b' ');
    let reason = put(out, b"");
    out.extend_from_slice(b"\r\n");
    let length = write_response_fields(&parts.headers, limits, out, fields)?;
    let upgrade = asking.accept.filter(|_| status == 101).map(|accept| {
        let field = write_field(out, websocket::ACCEPT, &accept);
        fields.push(field);
        write_field(out, b"upgrade", WEBSOCKET).value
    });
    let framing = match length {
        _ if asked == Method::Head || matches!(status, 100..=199 | 204 | 304) => Framing::None,
        Some(length) => Framing::Length(length),
        None if ended => Framing::Length(0),
        None => Framing::Chunked,
    };
    Ok(ResponseHead {
        status,
        reason,
        version: Version::Http2,
        framing,
        content_length: length,
        keep_alive: true,
        keep_alive_timeout_s: None,
        upgrade: upgrade.filter(|span: &Span| !span.is_empty()),
        head_bytes: out.len() as u32,
    })
}

/// Writes the fields; says how long the content is to be.
fn write_response_fields(
    headers: &HeaderMap,
    limits: &Limits,
    out: &mut Vec<u8>,
    fields: &mut Vec<FieldSpan>,
) -> Result<Option<u64>, Fault> {
    let mut length = None;
    for (name, value) in headers {
        if fields.len() == limits.header_count_max as usize {
            return Err(Fault::Malformed("too many header fields"));
        }
        let value = value.as_bytes();
        if !is_token(name.as_str().as_bytes()) {
            return Err(Fault::Malformed("malformed field name"));
        }
        if matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']) {
            return Err(Fault::Malformed("white space around a field value"));
        }
        let field = write_field(out, name.as_str().as_bytes(), value);
        match field.kind {
            FieldKind::ContentLength if length.is_some() => {
                return Err(Fault::Malformed("repeated Content-Length"));
            }
            FieldKind::ContentLength => {
                length = Some(content_length(value).map_err(|bad| Fault::Malformed(bad.reason))?);
            }
            FieldKind::TransferEncoding => return Err(Fault::Malformed("Transfer-Encoding in HTTP/2")),
            _ => {}
        }
        fields.push(field);
    }
    Ok(length)
}

#[cfg(test)]
mod tests;
