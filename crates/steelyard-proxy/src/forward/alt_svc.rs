//! What clients are told of HTTP/3 (`Alt-Svc`, RFC 7838), so that they come back by it.

use super::Client;
use crate::head::Version;
use std::io::Write;
use steelyard_core::listener::Listener;

/// How long a client remembers it, in seconds.
const MAX_AGE_S: u32 = 86_400;
/// `h3=":65535"; ma=86400`.
const BYTES_MAX: usize = 21;

/// The value of the field.
pub(super) struct AltSvc {
    bytes: [u8; BYTES_MAX],
    length: usize,
}

impl AltSvc {
    /// `None` where there is nothing to tell: no HTTP/3, none that is to be told of, or a client that speaks it already.
    pub fn of(client: &Client<'_>, listener: &Listener, version: Version) -> Option<Self> {
        let http3 = listener.http3.as_ref().filter(|http3| http3.advertise)?;
        // Only who came over TLS has come by a port of its own.
        (version != Version::Http3 && client.port != 0)
            .then(|| Self::naming(http3.port.unwrap_or(client.port)))
    }

    fn naming(port: u16) -> Self {
        let mut bytes = [0; BYTES_MAX];
        let mut room = &mut bytes[..];
        // There is room for the largest port.
        let _ = write!(room, "h3=\":{port}\"; ma={MAX_AGE_S}");
        let length = BYTES_MAX - room.len();
        Self { bytes, length }
    }

    pub fn value(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::AltSvc;

    #[test]
    fn every_port_has_room() {
        assert_eq!(AltSvc::naming(443).value(), b"h3=\":443\"; ma=86400");
        assert_eq!(AltSvc::naming(65_535).value(), b"h3=\":65535\"; ma=86400");
    }
}
