//! `WebSockets` over a stream (RFC 8441, RFC 9220) as over a connection (RFC 6455), and back.
//!
//! Behind the codecs an extended CONNECT is a GET that asks for an upgrade. What HTTP/1.1 has to prove that nobody takes it
//! for something else, a key and the answer to it, a stream does not need: it is made here, and compared here.

use super::write_field;
use crate::codec::Parts;
use crate::head::{FieldSpan, RequestHead, ResponseHead, Span};
use crate::http1::Reject;
use sha1_smol::Sha1;

/// The name of the protocol.
pub(crate) const WEBSOCKET: &[u8] = b"websocket";
/// A key: 16 bytes in Base64.
pub const KEY_BYTES: usize = 24;
/// The answer to a key: 20 bytes in Base64.
pub(crate) const ACCEPT_BYTES: usize = 28;
const KEY: &[u8] = b"sec-websocket-key";
pub(crate) const ACCEPT: &[u8] = b"sec-websocket-accept";
/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether a request asks for a WebSocket; other protocols are refused.
pub(crate) fn is_asked_for(protocol: Option<&[u8]>) -> Result<bool, Reject> {
    match protocol {
        None => Ok(false),
        Some(protocol) if protocol.eq_ignore_ascii_case(WEBSOCKET) => Ok(true),
        Some(_) => Err(Reject { status: 501, reason: "CONNECT is implemented for WebSockets only" }),
    }
}

/// Adds what HTTP/1.1 needs beside to a request for a WebSocket; says where the protocol's name is.
pub(super) fn complete(out: &mut Vec<u8>, fields: &mut Vec<FieldSpan>, key: &[u8; KEY_BYTES]) -> Span {
    fields.retain(|field| field.name.of(out) != KEY);
    let field = write_field(out, KEY, key);
    fields.push(field);
    write_field(out, b"upgrade", WEBSOCKET).value
}

/// Whether a field is the key.
pub(crate) fn is_key(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(KEY)
}

/// Whether a field proves something that needs no proof over a stream.
pub(crate) fn is_of_http1(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(KEY) || name.eq_ignore_ascii_case(ACCEPT)
}

/// What an endpoint has to answer to a request whose key is ours, since it came over a stream.
pub(crate) fn accept_for(request: Parts<'_, RequestHead>) -> Option<[u8; ACCEPT_BYTES]> {
    let is_key = |field: &&FieldSpan| field.name.of(request.bytes) == KEY;
    let key = request.fields.iter().find(is_key).filter(|_| request.head.version.has_streams())?;
    Some(accept_of(key.value.of(request.bytes)))
}

/// Whether an endpoint has answered that.
pub(crate) fn is_accepted(response: Parts<'_, ResponseHead>, accept: &[u8]) -> bool {
    let is_accept = |field: &&FieldSpan| field.name.of(response.bytes).eq_ignore_ascii_case(ACCEPT);
    response.fields.iter().find(is_accept).is_some_and(|field| field.value.of(response.bytes) == accept)
}

/// What an endpoint answers to a key.
pub(crate) fn accept_of(key: &[u8]) -> [u8; ACCEPT_BYTES] {
    let mut digest = Sha1::from(key);
    digest.update(GUID);
    let mut accept = [b'='; ACCEPT_BYTES];
    base64(&digest.digest().bytes(), &mut accept);
    accept
}

/// A key of 16 random bytes.
pub(crate) fn key_of(random: [u8; 16]) -> [u8; KEY_BYTES] {
    let mut key = [b'='; KEY_BYTES];
    base64(&random, &mut key);
    key
}

/// Writes bytes in Base64 over padding that is there already.
fn base64(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (three, four) in bytes.chunks(3).zip(out.chunks_mut(4)) {
        let mut group = [0; 3];
        group[..three.len()].copy_from_slice(three);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for (place, digit) in four.iter_mut().take(three.len() + 1).enumerate() {
            *digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{accept_of, key_of};

    #[test]
    fn the_answer_to_a_key_is_that_of_the_standard() {
        assert_eq!(&accept_of(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_base64() {
        assert_eq!(&key_of(*b"the sample nonce"), b"dGhlIHNhbXBsZSBub25jZQ==");
    }
}
