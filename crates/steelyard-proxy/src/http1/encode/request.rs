//! The request head towards an endpoint.

use super::{CHUNKED, Copier, Forwarded, content_length, forwarded::Kinds, line, number};
use crate::head::{FieldKind, FieldSpan, Framing, RequestHead, names_read_alike};

/// The name and value of a field to set.
pub type SetField = (Box<[u8]>, Box<[u8]>);

/// What is to be different from what the client sent.
#[derive(Clone, Copy, Debug)]
pub struct RequestEdit<'a> {
    /// The path and query to send, or `*`; valid as such, since it is written as it is.
    pub target: &'a [u8],
    /// Fields to set, in the place of those of the same name. Valid names and values. Names that belong to the
    /// connection or the framing are ignored.
    pub set: &'a [SetField],
    /// Names of fields to remove. Host stays, since HTTP/1.1 cannot do without.
    pub remove: &'a [Box<[u8]>],
    /// What the endpoint is told about the client.
    pub forwarded: Forwarded<'a>,
    /// Sent as Host if the client named none, which HTTP/1.0 allows: the endpoint's address.
    pub host_fallback: &'a [u8],
    /// How the content is framed towards the endpoint.
    pub framing: Framing,
    /// Whether to ask for the client's upgrade.
    pub upgrade: bool,
    /// Whether to ask for `100 Continue`.
    pub expect_continue: bool,
    /// The Max-Forwards to send in the place of the client's; `None` leaves that as it is.
    pub max_forwards: Option<u64>,
}

impl RequestEdit<'_> {
    /// Whether the route sets Host.
    fn sets_host(&self) -> bool {
        self.set.iter().any(|(name, _)| FieldKind::of(name) == FieldKind::Host)
    }

    /// The host that the endpoint is told.
    pub(crate) fn host<'h>(&'h self, head: &RequestHead, buffer: &'h [u8]) -> &'h [u8] {
        let is_host = |(name, _): &&SetField| FieldKind::of(name) == FieldKind::Host;
        match self.set.iter().find(is_host) {
            Some((_, host)) => host,
            None if head.authority.is_empty() => self.host_fallback,
            None => head.authority.of(buffer),
        }
    }

    /// Whether fields of this name are not to pass as the client sent them: it is set or removed, or reads like one that
    /// is to software that takes `_` for `-`.
    #[cold]
    pub fn edits(&self, name: &[u8]) -> bool {
        let set = self.set.iter().map(|(name, _)| name);
        set.chain(self.remove).any(|edited| names_read_alike(edited, name))
    }
}

/// Writes the head of a request: HTTP/1.1, origin form, Host first.
///
/// Fields pass in their order, but for those that belong to one connection; framing, Connection and what the endpoint
/// is told about the client come last.
pub fn request(
    out: &mut Vec<u8>,
    buffer: &[u8],
    head: &RequestHead,
    fields: &[FieldSpan],
    edit: &RequestEdit<'_>,
) {
    debug_assert!(!edit.target.is_empty() && edit.target.iter().all(u8::is_ascii_graphic));
    // All that is added beside what is copied, for common lengths; more only grows the buffer once.
    out.reserve(head.head_bytes as usize + edit.target.len() + 512);
    out.extend_from_slice(head.method_span.of(buffer));
    out.push(b' ');
    out.extend_from_slice(edit.target);
    out.extend_from_slice(b" HTTP/1.1\r\n");

    let mut passing = Passing::new(edit);
    if !edit.sets_host() {
        line(out, b"host", edit.host(head, buffer));
    }
    let mut copier = Copier::new(buffer, 0, 0);
    for field in fields {
        if passing.passes(field, buffer) {
            copier.keep(out, field);
        }
    }
    copier.flush(out);
    for (name, value) in edit.set {
        if !FieldKind::of(name).belongs_to_the_connection() {
            line(out, name, value);
        }
    }
    if let Some(max) = passing.max_forwards() {
        number(out, b"max-forwards", max);
    }
    match edit.framing {
        Framing::Length(length) => content_length(out, length),
        Framing::Chunked => out.extend_from_slice(CHUNKED),
        Framing::None | Framing::UntilClose => {}
    }
    connection(out, buffer, head, edit);
    passing.write_forwarded(out, buffer, head, fields);
    out.extend_from_slice(b"\r\n");
}

/// Which of a client's fields pass, and what is then still to be written.
pub(crate) struct Passing<'e> {
    edit: &'e RequestEdit<'e>,
    edited: bool,
    /// Kinds that need not be written any more.
    settled: Kinds,
}

impl<'e> Passing<'e> {
    /// Before the first field.
    pub fn new(edit: &'e RequestEdit<'e>) -> Self {
        let mut settled = Kinds::default();
        for name in edit.set.iter().map(|(name, _)| name).chain(edit.remove) {
            settled.add(FieldKind::of(name));
        }
        Self { edit, edited: !(edit.set.is_empty() && edit.remove.is_empty()), settled }
    }

    /// Whether a field passes as it is.
    #[inline]
    pub fn passes(&mut self, field: &FieldSpan, buffer: &[u8]) -> bool {
        let trusted = self.edit.forwarded.trusted;
        match field.kind {
            FieldKind::Other
            | FieldKind::EndToEnd
            | FieldKind::Date
            | FieldKind::Server
            | FieldKind::StrictTransportSecurity
            | FieldKind::AltSvc => {}
            FieldKind::XForwardedProto | FieldKind::XForwardedHost | FieldKind::XRequestId
                if trusted && !field.value.is_empty() =>
            {
                self.settled.add(field.kind);
            }
            FieldKind::XForwardedOther if trusted => {}
            FieldKind::ClientCertificate if trusted && self.edit.forwarded.identity.is_none() => {}
            FieldKind::MaxForwards if self.edit.max_forwards.is_none() => {}
            // The announcement of trailers; they pass only with a body that can carry them.
            FieldKind::Trailer if self.edit.framing == Framing::Chunked => {}
            _ => return false,
        }
        !(self.edited && self.edit.edits(field.name.of(buffer)))
    }

    /// The Max-Forwards to write, if one is to be.
    pub fn max_forwards(&self) -> Option<u64> {
        self.edit.max_forwards.filter(|_| !self.settled.has(FieldKind::MaxForwards))
    }

    /// Writes what the endpoint is told about the client, as lines.
    pub fn write_forwarded(
        &self,
        out: &mut Vec<u8>,
        buffer: &[u8],
        head: &RequestHead,
        fields: &[FieldSpan],
    ) {
        self.edit.forwarded.write(out, buffer, head, fields, self.settled);
    }
}

/// What we say about our own connection.
fn connection(out: &mut Vec<u8>, buffer: &[u8], head: &RequestHead, edit: &RequestEdit<'_>) {
    if let Some(protocols) = head.upgrade.filter(|_| edit.upgrade) {
        let options: &[u8] = if head.te_trailers { b"upgrade, te" } else { b"upgrade" };
        line(out, b"connection", options);
        line(out, b"upgrade", protocols.of(buffer));
    } else if head.te_trailers {
        out.extend_from_slice(b"connection: te\r\n");
    }
    if head.te_trailers {
        out.extend_from_slice(b"te: trailers\r\n");
    }
    if edit.expect_continue {
        out.extend_from_slice(b"expect: 100-continue\r\n");
    }
}
