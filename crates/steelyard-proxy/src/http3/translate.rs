//! Heads of HTTP/3 as heads of any version, and back. Pure functions.
//!
//! What RFC 9114 sections 4.2 and 4.3 call malformed is refused here, whole: there is no library below that would have
//! looked at it.

use super::qpack::{self, Section};
use crate::codec::{Parts, Trailers};
use crate::grpc;
use crate::head::{FieldKind, FieldSpan, Framing, Method, RequestHead, ResponseHead, Span, Version};
use crate::http1::chunked::{TRAILER_COUNT_MAX, may_trail};
use crate::http1::encode::{Local, ResponseEdit, is_withheld, passes_to_client};
use crate::http1::field::is_token;
use crate::http1::{Limits, Reject};
use crate::pseudo::websocket::{self, KEY_BYTES};
use crate::pseudo::{Line, Notes, put, write_field, write_target};

/// What a field counts beside its name and its value (RFC 9114 section 4.2.2).
const FIELD_OVERHEAD_BYTES: usize = 32;
const COOKIE: &[u8] = b"cookie";

/// Why a request is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsound {
    /// It cannot be decompressed, and the connection cannot go on.
    Compression,
    /// It is answered.
    Request(Reject),
}

impl From<Reject> for Unsound {
    fn from(reject: Reject) -> Self {
        Self::Request(reject)
    }
}

impl From<qpack::Malformed> for Unsound {
    fn from(_: qpack::Malformed) -> Self {
        Self::Compression
    }
}

fn bad(reason: &'static str) -> Unsound {
    Unsound::Request(Reject { status: 400, reason })
}

/// The pseudo-fields of a request, as they stand in the buffer.
#[derive(Default)]
struct Pseudo {
    method: Option<Span>,
    scheme: Option<Span>,
    authority: Option<Span>,
    path: Option<Span>,
    protocol: Option<Span>,
}

impl Pseudo {
    fn place(&mut self, name: &[u8]) -> Option<&mut Option<Span>> {
        Some(match name {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            b":protocol" => &mut self.protocol,
            _ => return None,
        })
    }
}

/// Reads a request from a section into `out` and `fields`, which are empty, and says what was found. `ended` says that its
/// head was all of it; `key` is used where it asks for a WebSocket.
pub fn request(
    section: &[u8],
    ended: bool,
    limits: &Limits,
    key: impl FnOnce() -> [u8; KEY_BYTES],
    out: &mut Vec<u8>,
    fields: &mut Vec<FieldSpan>,
) -> Result<RequestHead, Unsound> {
    let mut pseudo = Pseudo::default();
    let mut notes = Notes::default();
    let mut crumbs: Option<Vec<u8>> = None;
    let too_many = || Unsound::Request(Reject { status: 431, reason: "too many header fields" });
    read(section, limits.header_bytes_max as usize, out, |out, part| match part {
        Part::Pseudo(name, value) if fields.is_empty() && crumbs.is_none() => {
            let place = pseudo.place(name.of(out)).ok_or(bad("unknown pseudo-field"))?;
            if place.replace(value).is_some() {
                return Err(bad("repeated pseudo-field"));
            }
            Ok(())
        }
        Part::Pseudo(..) => Err(bad("a pseudo-field behind other fields")),
        Part::Field(field) if field.name.of(out) == COOKIE => {
            let (crumbs, value) = (crumbs.get_or_insert_default(), field.value.of(out));
            if !(crumbs.is_empty() || value.is_empty()) {
                crumbs.extend_from_slice(b"; ");
            }
            crumbs.extend_from_slice(value);
            out.truncate(field.name.start as usize);
            Ok(())
        }
        Part::Field(field) => {
            check_for_connection(field, out)?;
            if fields.len() == limits.header_count_max as usize {
                return Err(too_many());
            }
            notes.take(field, out)?;
            fields.push(field);
            Ok(())
        }
    })?;
    if let Some(crumbs) = crumbs {
        if fields.len() == limits.header_count_max as usize {
            return Err(too_many());
        }
        // Those of a cookie that came in crumbs become one again (RFC 9114 section 4.2.1).
        fields.push(write_field(out, COOKIE, &crumbs));
    }
    let line = line(&pseudo, limits, out)?;
    Ok(notes.conclude(&line, ended, key, out, fields)?)
}

/// What stands for the first line (RFC 9114 section 4.3.1).
fn line(pseudo: &Pseudo, limits: &Limits, out: &mut Vec<u8>) -> Result<Line, Unsound> {
    let name = pseudo.method.ok_or(bad("missing :method"))?;
    let connects = name.of(out) == b"CONNECT";
    if !connects && pseudo.protocol.is_some() {
        return Err(bad(":protocol without CONNECT"));
    }
    let websocket = websocket::is_asked_for(pseudo.protocol.map(|protocol| protocol.of(out)))?;
    if connects && !websocket {
        return Err(Reject { status: 501, reason: "CONNECT is not implemented" }.into());
    }
    let method_span = if websocket { put(out, b"GET") } else { name };
    let method = Method::of(method_span.of(out));
    if !is_token(method_span.of(out)) {
        return Err(bad("malformed :method"));
    }
    let scheme = pseudo.scheme.ok_or(bad("missing :scheme"))?.of(out);
    if !scheme.eq_ignore_ascii_case(b"https") && !scheme.eq_ignore_ascii_case(b"http") {
        return Err(bad("the scheme is not http or https"));
    }
    let target = pseudo.path.filter(|path| !path.is_empty()).ok_or(bad("missing :path"))?.of(out).to_vec();
    let (path, query) = write_target(&target, method, limits, out)?;
    if pseudo.authority.is_some_and(Span::is_empty) {
        return Err(bad("empty :authority"));
    }
    let authority = pseudo.authority;
    Ok(Line { version: Version::Http3, method, method_span, path, query, authority, websocket })
}

/// A field as it was found.
enum Part {
    Pseudo(Span, Span),
    Field(FieldSpan),
}

/// Reads the fields of a section into `out`, in the form of HTTP/1.1, and hands them out one by one.
fn read(
    section: &[u8],
    bytes_max: usize,
    out: &mut Vec<u8>,
    mut take: impl FnMut(&mut Vec<u8>, Part) -> Result<(), Unsound>,
) -> Result<(), Unsound> {
    let mut section = Section::new(section)?;
    let mut bytes = 0;
    while let Some((name, value)) = section.next()? {
        let start = out.len();
        name.write(out)?;
        let name = Span::new(start, out.len());
        out.extend_from_slice(b": ");
        let start = out.len();
        value.write(out)?;
        let value = Span::new(start, out.len());
        out.extend_from_slice(b"\r\n");
        bytes += name.len() + value.len() + FIELD_OVERHEAD_BYTES;
        if bytes > bytes_max {
            return Err(Reject { status: 431, reason: "the header fields are too large" }.into());
        }
        if !is_value(value.of(out)) {
            return Err(bad("malformed field value"));
        }
        if name.of(out).first() == Some(&b':') {
            take(out, Part::Pseudo(name, value))?;
            continue;
        }
        if !is_name(name.of(out)) {
            return Err(bad("malformed field name"));
        }
        let kind = FieldKind::of(name.of(out));
        take(out, Part::Field(FieldSpan { name, value, kind }))?;
    }
    Ok(())
}

/// In lower case alone (RFC 9114 section 4.2).
fn is_name(name: &[u8]) -> bool {
    is_token(name) && !name.iter().any(u8::is_ascii_uppercase)
}

/// Without control bytes, and without white space around it (RFC 9110 section 5.5).
fn is_value(value: &[u8]) -> bool {
    !matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
        && !value.iter().any(|byte| *byte < b' ' && *byte != b'\t' || *byte == 0x7f)
}

/// What belongs to a connection of HTTP/1.1 makes a request malformed (RFC 9114 section 4.2).
fn check_for_connection(field: FieldSpan, out: &[u8]) -> Result<(), Unsound> {
    match field.kind {
        FieldKind::Connection
        | FieldKind::KeepAlive
        | FieldKind::ProxyConnection
        | FieldKind::TransferEncoding
        | FieldKind::Upgrade => Err(bad("a field that belongs to a connection")),
        FieldKind::Te if !field.value.of(out).eq_ignore_ascii_case(b"trailers") => {
            Err(bad("te is not trailers"))
        }
        _ => Ok(()),
    }
}

/// Reads a trailer section; fields that must not be in one (RFC 9110 section 6.5.1) are left out.
pub fn trailers(
    section: &[u8],
    bytes_max: usize,
    out: &mut Vec<u8>,
    fields: &mut Vec<FieldSpan>,
) -> Result<(), Unsound> {
    let mut count = 0;
    read(section, bytes_max, out, |out, part| match part {
        Part::Pseudo(..) => Err(bad("a pseudo-field in trailers")),
        Part::Field(_) if count == TRAILER_COUNT_MAX => {
            Err(Reject { status: 431, reason: "too many trailer fields" }.into())
        }
        Part::Field(field) => {
            count += 1;
            if may_trail(field.kind, field.name.of(out)) {
                fields.push(field);
            }
            Ok(())
        }
    })
}

/// Writes a trailer section.
pub(super) fn write_trailers(trailers: Trailers<'_>, out: &mut Vec<u8>) {
    qpack::begin(out);
    for field in trailers.fields {
        qpack::write(out, field.name.of(trailers.section), field.value.of(trailers.section));
    }
}

/// Writes the head of an endpoint's final response, or of its agreement to a WebSocket.
pub(super) fn response(response: Parts<'_, ResponseHead>, edit: &ResponseEdit<'_>, out: &mut Vec<u8>) {
    let status = if edit.upgrade { 200 } else { response.head.status };
    begin(status, out);
    pass(out, response, edit.framing == Framing::Chunked, edit.upgrade, edit.without);
    let has = |kind| response.fields.iter().any(|field| field.kind == kind);
    if !edit.date.is_empty() && !has(FieldKind::Date) {
        qpack::write(out, b"date", edit.date);
    }
    if !edit.hsts.is_empty() && !has(FieldKind::StrictTransportSecurity) {
        qpack::write(out, b"strict-transport-security", edit.hsts);
    }
    if !edit.set_cookie.is_empty() {
        qpack::write(out, b"set-cookie", edit.set_cookie);
    }
    if let Some(length) =
        response.head.content_length.filter(|_| !edit.upgrade && !matches!(status, 100..=199 | 204))
    {
        qpack::write(out, b"content-length", length.to_string().as_bytes());
    }
}

/// Writes the head of an interim response.
pub(super) fn interim(response: Parts<'_, ResponseHead>, out: &mut Vec<u8>) {
    begin(response.head.status, out);
    pass(out, response, false, false, b"");
}

fn begin(status: u16, out: &mut Vec<u8>) {
    qpack::begin(out);
    qpack::write(out, b":status", status.to_string().as_bytes());
}

/// Passes on what may pass.
fn pass(out: &mut Vec<u8>, response: Parts<'_, ResponseHead>, chunked: bool, upgrade: bool, without: &[u8]) {
    let Parts { fields, bytes, .. } = response;
    for field in fields {
        let of_upgrade = upgrade && websocket::is_of_http1(field.name.of(bytes));
        if passes_to_client(field.kind, chunked) && !of_upgrade && !is_withheld(field, bytes, without) {
            qpack::write(out, field.name.of(bytes), field.value.of(bytes));
        }
    }
}

/// Writes the head of an answer of our own; says what its content is. Clients of gRPC get it as their status, in a response
/// that is all trailers.
pub(super) fn local<'a>(answer: &Local<'a>, is_grpc: bool, out: &mut Vec<u8>) -> &'a [u8] {
    begin(if is_grpc { 200 } else { answer.status }, out);
    if !answer.date.is_empty() {
        qpack::write(out, b"date", answer.date);
    }
    for (name, value) in answer.fields {
        qpack::write(out, name.as_bytes(), value.as_bytes());
    }
    if is_grpc {
        qpack::write(out, b"content-type", grpc::CONTENT_TYPE.as_bytes());
        for (name, value) in grpc::status_of(answer) {
            qpack::write(out, name.as_bytes(), &value);
        }
        return b"";
    }
    if matches!(answer.status, 204 | 304) {
        return b"";
    }
    if !answer.body.is_empty() {
        qpack::write(out, b"content-type", b"text/plain; charset=utf-8");
    }
    qpack::write(out, b"content-length", answer.body.len().to_string().as_bytes());
    if answer.head_request { b"" } else { answer.body.as_bytes() }
}

#[cfg(test)]
mod tests;
