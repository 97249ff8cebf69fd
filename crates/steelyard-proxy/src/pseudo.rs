//! What is common to the heads of HTTP/2 and HTTP/3, which say with pseudo-fields what HTTP/1.1 says in its first line.
//!
//! A request is written into one buffer, its fields in the form of HTTP/1.1, so that spans of it serve as those of a head
//! that was read. What makes one sound (RFC 9113 sections 8.2 and 8.3, RFC 9114 sections 4.2 and 4.3) is decided here, as far
//! as it does not hang on how fields are compressed.

use crate::head::{
    FieldKind, FieldSpan, Framing, Method, RequestHead, Span, Version, authority_is_valid, path_is_valid,
    query_is_valid,
};
use crate::http1::field::{Expect, content_length, expect};
use crate::http1::{Limits, Reject};
use websocket::KEY_BYTES;

pub(crate) mod websocket;

/// What the fields of a request say about it.
#[derive(Default)]
pub(crate) struct Notes {
    content_length: Option<u64>,
    host: Option<Span>,
    te_trailers: bool,
    expect: Expect,
}

/// What stands in the place of a first line, written down already.
pub(crate) struct Line {
    pub version: Version,
    pub method: Method,
    pub method_span: Span,
    pub path: Span,
    pub query: Option<Span>,
    pub authority: Option<Span>,
    /// Whether it asks for a WebSocket.
    pub websocket: bool,
}

impl Notes {
    /// Takes in one field, which stands in `out`.
    pub fn take(&mut self, field: FieldSpan, out: &[u8]) -> Result<(), Reject> {
        let bad = |reason| Err(Reject { status: 400, reason });
        let value = field.value.of(out);
        match field.kind {
            FieldKind::Host if self.host.is_some() => return bad("repeated Host"),
            FieldKind::Host => self.host = Some(field.value),
            FieldKind::ContentLength if self.content_length.is_some() => {
                return bad("repeated Content-Length");
            }
            FieldKind::ContentLength => self.content_length = Some(content_length(value)?),
            FieldKind::TransferEncoding => return bad("Transfer-Encoding beyond HTTP/1.1"),
            FieldKind::Te => self.te_trailers = true,
            FieldKind::Expect => self.expect = expect(value),
            _ => {}
        }
        Ok(())
    }

    /// The head of a request whose fields these were. `ended` says that its head was all of it; `key` is used where it
    /// asks for a WebSocket, which in HTTP/1.1 needs one.
    pub fn conclude(
        &self,
        line: &Line,
        ended: bool,
        key: impl FnOnce() -> [u8; KEY_BYTES],
        out: &mut Vec<u8>,
        fields: &mut Vec<FieldSpan>,
    ) -> Result<RequestHead, Reject> {
        let bad = |reason| Reject { status: 400, reason };
        let authority = match (line.authority, self.host) {
            (Some(one), Some(other)) if !one.of(out).eq_ignore_ascii_case(other.of(out)) => {
                return Err(bad("Host and :authority differ"));
            }
            (Some(authority), _) | (None, Some(authority)) => authority,
            (None, None) => return Err(bad("missing :authority")),
        };
        if !authority_is_valid(authority.of(out)) {
            return Err(bad("malformed :authority"));
        }
        let framing = match self.content_length {
            _ if line.websocket => Framing::None,
            Some(length) => Framing::Length(length),
            None if ended => Framing::None,
            None => Framing::Chunked,
        };
        if line.method == Method::Trace && framing != Framing::None {
            return Err(bad("TRACE with content"));
        }
        if self.expect == Expect::Unknown {
            return Err(Reject { status: 417, reason: "unknown expectation" });
        }
        let upgrade = line.websocket.then(|| websocket::complete(out, fields, &key()));
        Ok(RequestHead {
            method: line.method,
            method_span: line.method_span,
            path: line.path,
            query: line.query,
            authority,
            version: line.version,
            framing,
            keep_alive: true,
            expect_continue: self.expect == Expect::Continue
                && !matches!(framing, Framing::None | Framing::Length(0)),
            upgrade,
            te_trailers: self.te_trailers,
            head_bytes: out.len() as u32,
        })
    }
}

/// Appends bytes and says where they are.
pub(crate) fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Span {
    let start = out.len();
    out.extend_from_slice(bytes);
    Span::new(start, out.len())
}

/// Appends a field in the form of HTTP/1.1.
pub(crate) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> FieldSpan {
    let kind = FieldKind::of(name);
    let name = put(out, name);
    out.extend_from_slice(b": ");
    let value = put(out, value);
    out.extend_from_slice(b"\r\n");
    FieldSpan { name, value, kind }
}

/// Appends a target; says where its path and its query are.
pub(crate) fn write_target(
    target: &[u8],
    method: Method,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(Span, Option<Span>), Reject> {
    if target.len() > limits.target_bytes_max as usize {
        return Err(Reject { status: 414, reason: "request target is too long" });
    }
    let length = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(length);
    let asterisk = target == b"*" && method == Method::Options;
    if !(asterisk || path_is_valid(path)) || !query.get(1..).is_none_or(query_is_valid) {
        return Err(Reject { status: 400, reason: "malformed :path" });
    }
    let path = put(out, path);
    Ok((path, query.get(1..).map(|query| put(out, query))))
}
