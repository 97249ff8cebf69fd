//! The fields that tell the endpoint about the client: X-Forwarded-*, Forwarded (RFC 7239) and X-Request-Id.

use std::{io::Write, net::IpAddr};

use super::line;
use crate::{
    head::{FieldKind, FieldSpan, RequestHead},
    http1::field::is_token,
    tls::identity::Identity,
};

/// What is known of the client.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// The address of the other side of the connection; `None` for a Unix socket.
    pub peer: Option<IpAddr>,
    /// How the client reached us: `http` or `https`.
    pub proto: &'static str,
    /// Whether what the peer says about clients before it is believed and added to, rather than replaced.
    pub trusted: bool,
    /// Who the client is, where it has proved that.
    pub identity: Option<&'a Identity>,
    /// Whether the request may be a copy that somebody else has sent, so that it is marked as such (RFC 8470).
    pub early: bool,
    /// The X-Request-Id to set where none is taken from a trusted peer.
    pub request_id: &'a [u8],
}

/// Which kinds of fields were already written, or are not to be.
#[derive(Clone, Copy, Default)]
pub(super) struct Kinds(u32);

impl Kinds {
    pub(super) fn add(&mut self, kind: FieldKind) {
        self.0 |= 1 << kind as u32;
    }

    pub(super) fn has(self, kind: FieldKind) -> bool {
        self.0 & 1 << kind as u32 != 0
    }
}

impl Forwarded<'_> {
    /// Writes the fields whose kind is not in `settled`.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        buffer: &[u8],
        head: &RequestHead,
        fields: &[FieldSpan],
        settled: Kinds,
    ) {
        let host = head.authority.of(buffer);
        let peer = PeerText::of(self.peer);
        if !settled.has(FieldKind::XForwardedFor) {
            out.extend_from_slice(b"x-forwarded-for: ");
            self.write_earlier(out, buffer, fields, FieldKind::XForwardedFor);
            out.extend_from_slice(peer.text());
            out.extend_from_slice(b"\r\n");
        }
        if !settled.has(FieldKind::XForwardedProto) {
            line(out, b"x-forwarded-proto", self.proto.as_bytes());
        }
        if !settled.has(FieldKind::XForwardedHost) && !host.is_empty() {
            line(out, b"x-forwarded-host", host);
        }
        if !settled.has(FieldKind::Forwarded) {
            out.extend_from_slice(b"forwarded: ");
            self.write_earlier(out, buffer, fields, FieldKind::Forwarded);
            self.write_element(out, &peer, host);
            out.extend_from_slice(b"\r\n");
        }
        if !settled.has(FieldKind::XRequestId) {
            line(out, b"x-request-id", self.request_id);
        }
        if self.early && !fields.iter().any(|field| is_early_data(field, buffer)) {
            line(out, b"early-data", b"1");
        }
        if let Some(identity) = self.identity {
            write_identity(out, identity);
        }
    }

    /// What trusted proxies before us wrote, each followed by a comma.
    fn write_earlier(&self, out: &mut Vec<u8>, buffer: &[u8], fields: &[FieldSpan], kind: FieldKind) {
        if !self.trusted {
            return;
        }
        for field in fields.iter().filter(|field| field.kind == kind && !field.value.is_empty()) {
            out.extend_from_slice(field.value.of(buffer));
            out.extend_from_slice(b", ");
        }
    }

    /// RFC 7239 section 4; an IPv6 address is in brackets and therefore quoted (section 6).
    fn write_element(&self, out: &mut Vec<u8>, peer: &PeerText, host: &[u8]) {
        let (open, close): (&[u8], &[u8]) = if peer.is_ipv6 { (b"\"[", b"]\"") } else { (b"", b"") };
        out.extend_from_slice(b"for=");
        out.extend_from_slice(open);
        out.extend_from_slice(peer.text());
        out.extend_from_slice(close);
        if !host.is_empty() {
            // A sound authority has neither quote nor backslash.
            let quote: &[u8] = if is_token(host) { b"" } else { b"\"" };
            out.extend_from_slice(b";host=");
            out.extend_from_slice(quote);
            out.extend_from_slice(host);
            out.extend_from_slice(quote);
        }
        out.extend_from_slice(b";proto=");
        out.extend_from_slice(self.proto.as_bytes());
    }
}

/// A mark that somebody before us has made stays.
fn is_early_data(field: &FieldSpan, buffer: &[u8]) -> bool {
    field.name.of(buffer).eq_ignore_ascii_case(b"early-data")
}

/// What the client's certificate says; what it does not say is not told.
fn write_identity(out: &mut Vec<u8>, identity: &Identity) {
    for (name, value) in [
        (&b"x-client-cert-subject"[..], &identity.subject),
        (b"x-client-cert-san", &identity.names),
        (b"x-client-cert-fingerprint", &identity.fingerprint),
    ] {
        if !value.is_empty() {
            line(out, name, value.as_bytes());
        }
    }
}

/// The longest address in text: eight groups of four digits.
const PEER_BYTES_MAX: usize = 39;

/// The client's address in text, worked out once for all the fields that name it.
struct PeerText {
    bytes: [u8; PEER_BYTES_MAX],
    length: usize,
    is_ipv6: bool,
}

impl PeerText {
    fn of(peer: Option<IpAddr>) -> Self {
        let mut peer_text = Self { bytes: [0; PEER_BYTES_MAX], length: 0, is_ipv6: false };
        match peer.map(|peer| peer.to_canonical()) {
            Some(IpAddr::V4(address)) => peer_text.write_ipv4(address.octets()),
            Some(IpAddr::V6(address)) => {
                let mut room = &mut peer_text.bytes[..];
                // A canonical address that is not IPv4 has room for all of its text.
                let _ = write!(room, "{address}");
                peer_text.length = PEER_BYTES_MAX - room.len();
                peer_text.is_ipv6 = true;
            }
            None => b"unknown".iter().for_each(|&byte| peer_text.push(byte)),
        }
        peer_text
    }

    fn write_ipv4(&mut self, octets: [u8; 4]) {
        for (index, octet) in octets.into_iter().enumerate() {
            if index > 0 {
                self.push(b'.');
            }
            if octet >= 100 {
                self.push(b'0' + octet / 100);
            }
            if octet >= 10 {
                self.push(b'0' + octet / 10 % 10);
            }
            self.push(b'0' + octet % 10);
        }
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
