//! What is known of a connection once its handshake is over.

use crate::tls::identity::Identity;
use rustls::{CipherSuite, CommonState};

/// What two sides have agreed on, and what they have proved.
#[derive(Debug)]
pub struct Facts {
    /// As `TLSv1.3`.
    pub version: &'static str,
    /// As IANA writes it: `TLS_AES_256_GCM_SHA384`. Empty where nobody tells.
    pub cipher: &'static str,
    /// Whether a session was taken up again.
    pub resumed: bool,
    /// The name that the client asked for.
    pub server_name: Option<Box<str>>,
    /// The protocol that is spoken over it, where one was agreed on.
    pub alpn: Option<Box<[u8]>>,
    /// Who the client is, where it has proved that.
    pub identity: Option<Box<Identity>>,
}

impl Facts {
    /// What the library knows.
    pub(super) fn of(state: &CommonState, server_name: Option<Box<str>>, peer_is_client: bool) -> Self {
        let certificate = state.peer_certificates().and_then(<[_]>::first).filter(|_| peer_is_client);
        Self {
            version: match state.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: state.negotiated_cipher_suite().map_or("", |suite| name_of(suite.suite())),
            resumed: state.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            server_name,
            alpn: state.alpn_protocol().map(Into::into),
            identity: certificate.map(|der| Box::new(Identity::of(der))),
        }
    }
}

/// What IANA calls a cipher suite. The library has a prefix of its own for those of TLS 1.3.
fn name_of(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or_default(),
    }
}
