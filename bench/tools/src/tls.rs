//! TLS 1.3 for the load generator: one cipher, one group, and an account of what was negotiated.
//!
//! The certificate is compared with the one that is expected and its signature is not verified: the work of a
//! client is not what is measured, and it must not be what limits.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientConfig, ClientConnection, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, Error, HandshakeKind, NamedGroup,
    SignatureScheme,
};
use serde::Serialize;

/// Whom the certificate is for.
pub const SERVER_NAME: &str = "bench.example";

/// Tickets that are kept at most, the newest ones, which are used first; a resumed handshake usually brings another.
const TICKETS_MAX: usize = 256;

/// How connections are secured, and what came of it.
pub struct Tls {
    config: Arc<ClientConfig>,
    account: Arc<Account>,
}

/// What was negotiated since the counts began.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "the names are the definitions")]
pub struct Negotiated {
    pub full: u64,
    pub resumed: u64,
    /// Sessions that the server offered to resume.
    pub tickets: u64,
    /// Version, cipher, group and application protocol of every kind of connection seen.
    pub with: BTreeSet<String>,
}

impl Tls {
    /// Expects exactly this certificate; `resumes` says whether tickets are used.
    pub fn new(certificate: CertificateDer<'static>, alpn: &str, resumes: bool) -> io::Result<Self> {
        let account = Arc::new(Account { resumes, inner: Mutex::default() });
        let provider = CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Expected(certificate)))
            .with_no_client_auth();
        config.resumption = Resumption::store(account.clone());
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        Ok(Self { config: Arc::new(config), account })
    }

    /// The client's side of a new connection.
    pub fn connection(&self) -> io::Result<ClientConnection> {
        let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
        ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)
    }

    /// Takes note of a handshake that has ended well.
    pub fn note(&self, connection: &ClientConnection) {
        let mut inner = self.account.lock();
        match connection.handshake_kind() {
            Some(HandshakeKind::Resumed) => inner.negotiated.resumed += 1,
            _ => inner.negotiated.full += 1,
        }
        if inner.negotiated.with.is_empty() || connection.handshake_kind() != inner.last {
            inner.last = connection.handshake_kind();
            let seen = description(connection);
            inner.negotiated.with.insert(seen);
        }
    }

    /// Begins the counts anew; what kinds of connection were seen stays.
    pub fn restart(&self) {
        let counts = &mut self.account.lock().negotiated;
        *counts = Negotiated { with: std::mem::take(&mut counts.with), ..Negotiated::default() };
    }

    /// The counts so far.
    pub fn negotiated(&self) -> Negotiated {
        self.account.lock().negotiated.clone()
    }
}

fn description(connection: &ClientConnection) -> String {
    let version = connection.protocol_version().and_then(|version| version.as_str());
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    let group = connection.negotiated_key_exchange_group().and_then(|group| group.name().as_str());
    let alpn = connection.alpn_protocol().map(String::from_utf8_lossy);
    let words = [version, suite, group, alpn.as_deref()];
    words.map(|word| word.unwrap_or("none")).join(" ")
}

/// The tickets and the counts.
#[derive(Debug)]
struct Account {
    resumes: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tickets: VecDeque<Tls13ClientSessionValue>,
    negotiated: Negotiated,
    last: Option<HandshakeKind>,
}

impl Account {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Account {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut inner = self.lock();
        inner.negotiated.tickets += 1;
        if self.resumes {
            inner.tickets.truncate(TICKETS_MAX - 1);
            inner.tickets.push_front(ticket);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.lock().tickets.pop_front()
    }
}

/// Accepts one certificate and does not spend time on its proof.
#[derive(Debug)]
struct Expected(CertificateDer<'static>);

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.0 {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::AlertReceived(AlertDescription::ProtocolVersion))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
