//! What QUIC is told of a listener: whom to show which certificate, and how much a client may send.

use super::{CONNECTION_IDLE_MAX, KEEP_ALIVE, SEND_WINDOW_BYTES_MAX, STRAY_STREAMS_MAX};
use crate::http2::{STREAM_WINDOW_BYTES, connection_window};
use crate::tls::ListenerTls;
use aws_lc_rs::{hkdf, hmac, rand};
use quinn::{EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use std::fmt;
use std::sync::Arc;
use steelyard_core::document::ListenerLimits;
use steelyard_core::listener::Listener;

/// Handshakes that wait to be looked at, and what may be kept of what they send meanwhile.
const WAITING_MAX: usize = 1024;
const WAITING_BYTES_MAX: u64 = 64 * 1024;
const WAITING_BYTES_TOTAL_MAX: u64 = 16 << 20;

/// What every socket of an engine signs with, so that a client whose packets come to another worker all of a sudden is told
/// by that one that its connection is not there, and need not wait.
pub struct Keys {
    reset: Arc<hmac::Key>,
    names: u64,
    token: Arc<hkdf::Prk>,
}

impl Keys {
    /// Keys that nobody else has.
    pub fn new() -> Self {
        let mut secret = [0; 104];
        // It fails where the system has no randomness at all, and then no handshake goes well either.
        let _ = rand::fill(&mut secret);
        let (reset, others) = secret.split_at(64);
        let (token, names) = others.split_at(32);
        Self {
            reset: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset)),
            names: names.iter().fold(0, |names, byte| names << 8 | u64::from(*byte)),
            token: Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(token)),
        }
    }

    /// How a socket names its connections, and what it resets those with that are not there: alike on all sockets, since
    /// what bears a name that is none is taken for noise and not answered.
    pub fn endpoint(&self) -> EndpointConfig {
        let mut config = EndpointConfig::new(Arc::<hmac::Key>::clone(&self.reset));
        let names = self.names;
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(names)));
        config
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// The rules of one listener, for the connections that begin under them.
pub(super) struct Rules {
    pub listener: Arc<Listener>,
    pub config: Arc<ServerConfig>,
    /// Whether requests are served before the handshake is complete.
    pub early: bool,
}

impl Rules {
    /// `None` where the listener does not speak HTTP/3.
    pub fn of(listener: &Arc<Listener>, keys: &Keys) -> Option<Self> {
        let http3 = listener.http3.as_ref()?;
        let crypto = listener.prepared.get::<Arc<ListenerTls>>()?.quic.clone()?;
        let mut config = ServerConfig::new(crypto, Arc::<hkdf::Prk>::clone(&keys.token));
        config
            .transport_config(Arc::new(transport(&listener.limits)))
            .max_incoming(WAITING_MAX)
            .incoming_buffer_size(WAITING_BYTES_MAX)
            .incoming_buffer_size_total(WAITING_BYTES_TOTAL_MAX);
        // Who has to say who it is cannot be served before it has.
        let anonymous = listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_none());
        let early = http3.early_data && anonymous;
        Some(Self { listener: Arc::clone(listener), config: Arc::new(config), early })
    }
}

fn transport(limits: &ListenerLimits) -> TransportConfig {
    let mut config = TransportConfig::default();
    let streams = limits.streams_max;
    let strays = STRAY_STREAMS_MAX * STREAM_WINDOW_BYTES;
    config
        .max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(STRAY_STREAMS_MAX.into())
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(VarInt::from_u32(connection_window(streams).saturating_add(strays)))
        .send_window(SEND_WINDOW_BYTES_MAX)
        .max_idle_timeout(IdleTimeout::try_from(CONNECTION_IDLE_MAX).ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .datagram_receive_buffer_size(None);
    config
}
