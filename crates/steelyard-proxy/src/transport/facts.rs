//! What is known of a connection once its handshake is over.

use crate::tls::identity::Identity;
use rustls::CommonState;

/// What two sides have agreed on, and what they have proved.
#[derive(Debug)]
pub struct Facts {
    /// As `TLSv1.3`.
    pub version: &'static str,
    /// As IANA writes it: `TLS13_AES_256_GCM_SHA384`.
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
            cipher: state
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or_default(),
            resumed: state.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            server_name,
            alpn: state.alpn_protocol().map(Into::into),
            identity: certificate.map(|der| Box::new(Identity::of(der))),
        }
    }
}
