//! Response heads towards a client: an endpoint's, and our own.

use super::{CHUNKED, Copier, content_length, decimal, line};
use crate::head::{FieldKind, FieldSpan, Framing, ResponseHead, Version};

/// How the response goes to the client.
#[derive(Clone, Copy, Debug)]
pub struct ResponseEdit<'a> {
    /// The version the client speaks.
    pub version: Version,
    /// How the content is framed towards the client; [`Framing::UntilClose`] implies `close`.
    pub framing: Framing,
    /// Whether the client's connection ends after this response.
    pub close: bool,
    /// Whether a 101 is passed on, with the protocol it changes to.
    pub upgrade: bool,
    /// The Date to set where the endpoint sent none (RFC 9110 section 6.6.1); empty for none.
    pub date: &'a [u8],
    /// The name of a field that is not for the client, in lower case; empty for none.
    pub without: &'a [u8],
    /// The Strict-Transport-Security to set where the endpoint sent none; empty for none.
    pub hsts: &'a [u8],
    /// The Alt-Svc to set where the endpoint sent none; empty for none.
    pub alt_svc: &'a [u8],
    /// A cookie to set beside the endpoint's own; empty for none.
    pub set_cookie: &'a [u8],
}

/// Writes the head of an endpoint's final response, or of its 101.
pub fn response(
    out: &mut Vec<u8>,
    buffer: &[u8],
    head: &ResponseHead,
    fields: &[FieldSpan],
    edit: &ResponseEdit<'_>,
) {
    let dated = pass(out, buffer, head, fields, edit.framing == Framing::Chunked, edit.without);
    if !edit.hsts.is_empty() && !fields.iter().any(|field| field.kind == FieldKind::StrictTransportSecurity) {
        line(out, b"strict-transport-security", edit.hsts);
    }
    if !edit.alt_svc.is_empty() && !fields.iter().any(|field| field.kind == FieldKind::AltSvc) {
        line(out, b"alt-svc", edit.alt_svc);
    }
    if !dated && !edit.date.is_empty() {
        line(out, b"date", edit.date);
    }
    if !edit.set_cookie.is_empty() {
        line(out, b"set-cookie", edit.set_cookie);
    }
    match (edit.framing, head.content_length) {
        (Framing::Length(length), _) => content_length(out, length),
        (Framing::Chunked, _) => out.extend_from_slice(CHUNKED),
        // What the content would have been, after HEAD or for a 304; 1xx and 204 must not say (RFC 9110 section 8.6).
        (Framing::None, Some(length)) if !matches!(head.status, 100..=199 | 204) => {
            content_length(out, length);
        }
        _ => {}
    }
    if let Some(protocol) = head.upgrade.filter(|_| edit.upgrade) {
        out.extend_from_slice(b"connection: upgrade\r\n");
        line(out, b"upgrade", protocol.of(buffer));
    } else {
        connection(out, edit.version, edit.close || edit.framing == Framing::UntilClose);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of an interim response (100, 103). Not for HTTP/1.0 clients (RFC 9110 section 15.2).
pub fn interim(out: &mut Vec<u8>, buffer: &[u8], head: &ResponseHead, fields: &[FieldSpan]) {
    pass(out, buffer, head, fields, false, b"");
    out.extend_from_slice(b"\r\n");
}

/// Writes the status line and the fields that may pass; says whether Date is among them.
#[inline]
fn pass(
    out: &mut Vec<u8>,
    buffer: &[u8],
    head: &ResponseHead,
    fields: &[FieldSpan],
    chunked: bool,
    without: &[u8],
) -> bool {
    out.reserve(head.head_bytes as usize + 128);
    let mut copier = Copier::new(buffer, 0, 0);
    let reason_end = head.reason.end as usize;
    // The status line as it came, if it is as we would write it: then it and the fields behind it are one piece.
    if buffer.starts_with(b"HTTP/1.1 ")
        && head.reason.start == 13
        && buffer.get(reason_end..reason_end + 2) == Some(b"\r\n")
    {
        copier = Copier::new(buffer, 0, reason_end + 2);
    } else {
        out.extend_from_slice(b"HTTP/1.1 ");
        decimal(out, head.status.into());
        out.push(b' ');
        out.extend_from_slice(head.reason.of(buffer));
        out.extend_from_slice(b"\r\n");
    }
    let mut dated = false;
    for field in fields {
        if passes_to_client(field.kind, chunked) && !is_withheld(field, buffer, without) {
            dated |= field.kind == FieldKind::Date;
            copier.keep(out, field);
        }
    }
    copier.flush(out);
    dated
}

/// Whether a field is one that is not for the client; `without` is its name, empty for none.
pub(crate) fn is_withheld(field: &FieldSpan, buffer: &[u8], without: &[u8]) -> bool {
    !without.is_empty() && field.name.of(buffer).eq_ignore_ascii_case(without)
}

/// Whether a field of an endpoint's response is for the client. `chunked` = trailers may follow, so that their
/// announcement is.
#[inline]
pub(crate) fn passes_to_client(kind: FieldKind, chunked: bool) -> bool {
    match kind {
        FieldKind::Trailer => chunked,
        FieldKind::Lookalike => true,
        FieldKind::ProxyAuthentication => false,
        kind => !kind.belongs_to_the_connection(),
    }
}

/// Persistence is the default of HTTP/1.1 only (RFC 9112 section 9.3).
fn connection(out: &mut Vec<u8>, version: Version, close: bool) {
    if close {
        out.extend_from_slice(b"connection: close\r\n");
    } else if version == Version::Http10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
}

/// An answer of our own.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// A final status.
    pub status: u16,
    /// Further fields, such as Retry-After or Location; valid as such.
    pub fields: &'a [(&'a str, &'a str)],
    /// The content, sent as plain text; empty for none.
    pub body: &'a str,
    /// The version the client speaks.
    pub version: Version,
    /// Whether the client's connection ends after this response.
    pub close: bool,
    /// Whether it answers HEAD, and so goes without its content.
    pub head_request: bool,
    /// Whether it is given because the time that the client gave is over, which gRPC tells apart.
    pub overdue: bool,
    /// The Date.
    pub date: &'a [u8],
}

/// Writes an answer of our own, content included.
pub fn local(out: &mut Vec<u8>, answer: &Local<'_>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(out, answer.status.into());
    out.push(b' ');
    out.extend_from_slice(reason(answer.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    if !answer.date.is_empty() {
        line(out, b"date", answer.date);
    }
    for (name, value) in answer.fields {
        line(out, name.as_bytes(), value.as_bytes());
    }
    let bodiless = matches!(answer.status, 204 | 304);
    if !bodiless {
        if !answer.body.is_empty() {
            out.extend_from_slice(b"content-type: text/plain; charset=utf-8\r\n");
        }
        content_length(out, answer.body.len() as u64);
    }
    connection(out, answer.version, answer.close);
    out.extend_from_slice(b"\r\n");
    if !bodiless && !answer.head_request {
        out.extend_from_slice(answer.body.as_bytes());
    }
}

/// The reason phrase of the statuses that a proxy answers with.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// Writes the end of a chunked message: the last chunk, the trailer fields (spans of `section`), the empty line.
pub fn trailers(out: &mut Vec<u8>, section: &[u8], fields: &[FieldSpan]) {
    out.extend_from_slice(b"0\r\n");
    for field in fields {
        line(out, field.name.of(section), field.value.of(section));
    }
    out.extend_from_slice(b"\r\n");
}
