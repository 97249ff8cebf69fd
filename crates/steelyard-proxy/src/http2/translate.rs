//! Heads of HTTP/2 as heads of any version, and back. Pure functions.
//!
//! A request is written into one buffer, its fields in the form of HTTP/1.1, so that spans of it serve as those of a head
//! that was read. What RFC 9113 sections 8.2 and 8.3 call malformed is refused, as far as `h2` has not done so: it lets
//! no field pass that belongs to a connection, no control byte, no name that is not in lower case, and no pseudo-field
//! that is missing, repeated or behind others. Its names may hold a quote though, which no name of ours does.

use crate::codec::{Parts, Trailers};
use crate::grpc;
use crate::head::{FieldKind, FieldSpan, Framing, Method, RequestHead, ResponseHead, Version};
use crate::http1::chunked::may_trail;
use crate::http1::encode::{Local, ResponseEdit, is_withheld, passes_to_client};
use crate::http1::field::is_token;
use crate::http1::{Limits, Reject};
use crate::pseudo::{Line, Notes, put, websocket, write_field, write_target};
use bytes::Bytes;
use h2::ext::Protocol;
use http::header::{
    ALT_SVC, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY,
};
use http::{Response, StatusCode};

pub(in crate::http2) mod upward;

pub use crate::pseudo::websocket::KEY_BYTES;

/// Writes a request into `out` and `fields`, which are empty, and says what was found. `ended` says that its head was all
/// of it; `key` is used where it asks for a WebSocket, which in HTTP/1.1 needs one.
pub fn request(
    parts: &http::request::Parts,
    ended: bool,
    limits: &Limits,
    key: impl FnOnce() -> [u8; KEY_BYTES],
    out: &mut Vec<u8>,
    fields: &mut Vec<FieldSpan>,
) -> Result<RequestHead, Reject> {
    let bad = |reason| Reject { status: 400, reason };
    let protocol = parts.extensions.get::<Protocol>();
    let websocket = websocket::is_asked_for(protocol.map(|protocol| protocol.as_str().as_bytes()))?;
    let name = if websocket { "GET" } else { parts.method.as_str() };
    let method = Method::of(name.as_bytes());
    if method == Method::Connect {
        return Err(Reject { status: 501, reason: "CONNECT is not implemented" });
    }
    if !is_token(name.as_bytes()) {
        return Err(bad("malformed :method"));
    }
    let method_span = put(out, name.as_bytes());
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let (path, query) = write_target(target.as_bytes(), method, limits, out)?;
    let authority = parts.uri.authority().map(|authority| put(out, authority.as_str().as_bytes()));
    if !matches!(parts.uri.scheme_str(), None | Some("http" | "https")) {
        return Err(bad("the scheme is not http or https"));
    }
    out.extend_from_slice(b"\r\n");
    let notes = write_fields(&parts.headers, limits, out, fields)?;
    let line = Line { version: Version::Http2, method, method_span, path, query, authority, websocket };
    notes.conclude(&line, ended, key, out, fields)
}

/// Writes the fields; those of a cookie that came in crumbs become one again (RFC 9113 section 8.2.3).
fn write_fields(
    headers: &HeaderMap,
    limits: &Limits,
    out: &mut Vec<u8>,
    fields: &mut Vec<FieldSpan>,
) -> Result<Notes, Reject> {
    let mut notes = Notes::default();
    for (name, value) in headers {
        let value = value.as_bytes();
        if !is_token(name.as_str().as_bytes()) {
            return Err(Reject { status: 400, reason: "malformed field name" });
        }
        if matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']) {
            return Err(Reject { status: 400, reason: "white space around a field value" });
        }
        // Values of one name come one after the other.
        if *name == COOKIE
            && let Some(last) =
                fields.last_mut().filter(|last| last.name.of(out) == COOKIE.as_str().as_bytes())
        {
            if value.is_empty() {
                continue;
            }
            out.truncate(last.value.end as usize);
            if !last.value.is_empty() {
                out.extend_from_slice(b"; ");
            }
            out.extend_from_slice(value);
            last.value.end = out.len() as u32;
            out.extend_from_slice(b"\r\n");
            continue;
        }
        if fields.len() == limits.header_count_max as usize {
            return Err(Reject { status: 431, reason: "too many header fields" });
        }
        let field = write_field(out, name.as_str().as_bytes(), value);
        notes.take(field, out)?;
        fields.push(field);
    }
    Ok(notes)
}

/// Writes the fields of a trailer section, but for those that must not be in one (RFC 9110 section 6.5.1).
pub(super) fn trailers(trailers: &HeaderMap, section: &mut Vec<u8>, fields: &mut Vec<FieldSpan>) {
    for (name, value) in trailers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes().trim_ascii());
        if is_token(name) && may_trail(FieldKind::of(name), name) {
            fields.push(write_field(section, name, value));
        }
    }
}

/// A trailer section as `h2` wants it.
pub(super) fn trailer_map(trailers: Trailers<'_>) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(trailers.fields.len());
    for field in trailers.fields {
        append(
            &mut map,
            field.name.of(trailers.section),
            HeaderValue::from_bytes(field.value.of(trailers.section)),
        );
    }
    map
}

/// Adds a field. What a codec of ours has read is a name and a value for every version.
fn append(map: &mut HeaderMap, name: &[u8], value: Result<HeaderValue, http::header::InvalidHeaderValue>) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
        map.append(name, value);
    }
}

/// The head of an endpoint's final response, or of its agreement to a WebSocket.
pub(super) fn response(response: Parts<'_, ResponseHead>, edit: &ResponseEdit<'_>) -> Response<()> {
    let status = if edit.upgrade { 200 } else { response.head.status };
    let mut head = bare(status);
    let map = head.headers_mut();
    pass(map, response, edit.framing == Framing::Chunked, edit.upgrade, edit.without);
    if !edit.date.is_empty() && !map.contains_key(DATE) {
        append(map, DATE.as_str().as_bytes(), HeaderValue::from_bytes(edit.date));
    }
    if !edit.hsts.is_empty() && !map.contains_key(STRICT_TRANSPORT_SECURITY) {
        append(map, STRICT_TRANSPORT_SECURITY.as_str().as_bytes(), HeaderValue::from_bytes(edit.hsts));
    }
    if !edit.alt_svc.is_empty() && !map.contains_key(ALT_SVC) {
        append(map, ALT_SVC.as_str().as_bytes(), HeaderValue::from_bytes(edit.alt_svc));
    }
    if !edit.set_cookie.is_empty() {
        append(map, SET_COOKIE.as_str().as_bytes(), HeaderValue::from_bytes(edit.set_cookie));
    }
    if let Some(length) =
        response.head.content_length.filter(|_| !edit.upgrade && !matches!(status, 100..=199 | 204))
    {
        map.insert(CONTENT_LENGTH, length.into());
    }
    head
}

/// The head of an interim response.
pub(super) fn interim(response: Parts<'_, ResponseHead>) -> Response<()> {
    let mut head = bare(response.head.status);
    pass(head.headers_mut(), response, false, false, b"");
    head
}

fn bare(status: u16) -> Response<()> {
    let mut head = Response::new(());
    // Statuses are 100 to 599.
    *head.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    head
}

/// Passes on what may pass. The values share one copy of the head.
fn pass(
    map: &mut HeaderMap,
    response: Parts<'_, ResponseHead>,
    chunked: bool,
    upgrade: bool,
    without: &[u8],
) {
    let Parts { head, fields, bytes } = response;
    let shared = Bytes::copy_from_slice(&bytes[..(head.head_bytes as usize).min(bytes.len())]);
    map.reserve(fields.len() + 2);
    for field in fields {
        let of_upgrade = upgrade && websocket::is_of_http1(field.name.of(bytes));
        if !passes_to_client(field.kind, chunked) || of_upgrade || is_withheld(field, bytes, without) {
            continue;
        }
        let value = shared.slice(field.value.start as usize..field.value.end as usize);
        append(map, field.name.of(bytes), HeaderValue::from_maybe_shared(value));
    }
}

/// An answer of our own, and its content. Clients of gRPC get it as their status, in a response that is all trailers.
pub(super) fn local(answer: &Local<'_>, grpc: bool) -> (Response<()>, Bytes) {
    let mut head = bare(if grpc { 200 } else { answer.status });
    let map = head.headers_mut();
    if !answer.date.is_empty() {
        append(map, DATE.as_str().as_bytes(), HeaderValue::from_bytes(answer.date));
    }
    for (name, value) in answer.fields {
        append(map, name.as_bytes(), HeaderValue::from_bytes(value.as_bytes()));
    }
    if grpc {
        map.insert(CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
        for (name, value) in grpc::status_of(answer) {
            append(map, name.as_bytes(), HeaderValue::from_bytes(&value));
        }
        return (head, Bytes::new());
    }
    if matches!(answer.status, 204 | 304) {
        return (head, Bytes::new());
    }
    if !answer.body.is_empty() {
        map.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    map.insert(CONTENT_LENGTH, answer.body.len().into());
    let body =
        if answer.head_request { Bytes::new() } else { Bytes::copy_from_slice(answer.body.as_bytes()) };
    (head, body)
}

#[cfg(test)]
mod tests;
