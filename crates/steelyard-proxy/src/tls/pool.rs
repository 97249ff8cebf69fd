//! TLS towards the endpoints of one pool, loaded.

use super::certificate::{Loaded, Shown};
use super::findings::Findings;
use super::prepare::{Contents, Digest};
use super::{provider, verify, versions};
use crate::transport::Insecure;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use steelyard_core::document::{self, Protocol};
use steelyard_core::problem::Refusal;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// HTTP/1.1, as it is offered and agreed on.
const HTTP1: &[u8] = b"http/1.1";
/// HTTP/2.
const HTTP2: &[u8] = b"h2";
/// A pool whose handshakes fail says so at most so often.
const TELL_INTERVAL_S: u64 = 10;

/// TLS towards the endpoints of one pool: everything that a handshake needs.
#[derive(Debug)]
pub(crate) struct PoolTls {
    /// What the library that speaks TLS is told.
    pub config: Arc<ClientConfig>,
    /// The same where no protocol is to be agreed on, since what is spoken is carried as it is.
    pub config_carried: Arc<ClientConfig>,
    /// Our own certificate, where there is one.
    pub certificate: Option<Shown>,
    /// How handshakes went.
    pub counts: Arc<Counts>,
    pub(super) settings: document::PoolTls,
    pub(super) purpose: Purpose,
    pub(super) digest: Digest,
}

/// What a pool's connections are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Purpose {
    /// What is to be spoken over them.
    pub protocol: Protocol,
    /// Whether they only carry what clients and endpoints speak among themselves.
    pub carried: bool,
}

impl Purpose {
    /// What is offered, the most wanted first.
    fn offered(self) -> &'static [&'static [u8]] {
        match self.protocol {
            _ if self.carried => &[],
            Protocol::Http1 | Protocol::H2c => &[HTTP1],
            Protocol::H2 => &[HTTP2],
            Protocol::Auto => &[HTTP2, HTTP1],
        }
    }
}

/// What an endpoint has agreed to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http1,
    Http2,
}

/// How the handshakes of a pool went, kept across reloads.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Those that failed, probes included.
    pub failures: AtomicU64,
    told: AtomicU64,
}

impl Counts {
    /// Counts a failure; says whether it is to be told, which is not done for each.
    pub fn fail(&self) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let now = super::unix_now().unsigned_abs();
        let told = self.told.load(Ordering::Relaxed);
        now.saturating_sub(told) >= TELL_INTERVAL_S
            && self.told.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl PoolTls {
    /// Loads and checks everything; `None` where a problem has been found. `before` is what is in force.
    pub(super) fn load(
        (settings, purpose): (&document::PoolTls, Purpose),
        contents: &Contents<'_>,
        before: Option<&Self>,
        findings: &mut Findings,
    ) -> Option<Self> {
        if !settings.verify {
            let refusal = Refusal::new("no endpoint has to prove who it is");
            findings.warn_at("verify", refusal.hint("write ca = \"internal-ca.pem\" instead, if you can"));
        }
        let own = load_own(settings, contents, before, findings);
        let config = configure(settings, contents, findings);
        let (own, mut config) = (own?, config?);
        let certificate = own.map(|Loaded { shown, certified }| {
            let certified: Arc<CertifiedKey> = certified;
            config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
            shown
        });
        let config_carried = Arc::new(config.clone());
        // What is agreed on is told by `Transport::alpn`.
        config.alpn_protocols = purpose.offered().iter().map(|name| name.to_vec()).collect();
        Some(Self {
            config: Arc::new(config),
            config_carried,
            certificate,
            counts: before.map(|before| Arc::clone(&before.counts)).unwrap_or_default(),
            settings: settings.clone(),
            purpose,
            digest: contents.digest(),
        })
    }

    /// Whether each endpoint says for itself what it speaks.
    pub fn leaves_it_open(&self) -> bool {
        self.purpose.protocol == Protocol::Auto
    }

    /// What is spoken with an endpoint that agreed on this in its handshake; `None` where it is not what has to be spoken.
    /// One that knows nothing of agreements speaks HTTP/1.1.
    pub fn spoken(&self, agreed: Option<&[u8]>) -> Option<Spoken> {
        match self.purpose.protocol {
            Protocol::H2 | Protocol::Auto if agreed == Some(HTTP2) => Some(Spoken::Http2),
            Protocol::H2 => None,
            Protocol::Http1 | Protocol::H2c | Protocol::Auto => Some(Spoken::Http1),
        }
    }

    /// What a failed handshake says in truth: that an endpoint knows none of what was offered is an alert like others.
    pub fn refined(&self, error: rustls::Error) -> Insecure {
        let unknown = rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol);
        if self.purpose.protocol == Protocol::H2 && error == unknown {
            Insecure::NoHttp2
        } else {
            error.into()
        }
    }

    /// The name that the endpoint has to prove which was configured as `configured`.
    pub fn server_name(&self, configured: &str) -> Result<ServerName<'static>, rustls::Error> {
        let name = self.settings.name_for(configured);
        ServerName::try_from(name.to_owned())
            .map_err(|_| rustls::Error::General(format!("{name:?} is no name that a certificate could hold")))
    }

    /// Begins TLS over a stream of the control thread's; says what is spoken over it.
    pub async fn connect<S>(&self, configured: &str, stream: S) -> io::Result<(TlsStream<S>, Spoken)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = self.server_name(configured).map_err(io::Error::other)?;
        let connecting = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream);
        let stream = connecting.await.map_err(|error| match tls_error(&error) {
            Some(why) => self.refined(why.clone()).into(),
            None => error,
        })?;
        let spoken = self.spoken(stream.get_ref().1.alpn_protocol()).ok_or(Insecure::NoHttp2)?;
        Ok((stream, spoken))
    }

    /// Counts a handshake that failed, and tells of it, though not of each.
    pub fn handshake_failed(&self, configured: &str, why: &dyn fmt::Display) {
        if self.counts.fail() {
            let name = self.settings.name_for(configured);
            tracing::warn!(endpoint = configured, name, %why, "no TLS with an endpoint");
        }
    }
}

/// Whether two mean the same TLS, or both clear text.
pub(crate) fn same(one: Option<&Arc<PoolTls>>, other: Option<&Arc<PoolTls>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

/// What the library that speaks TLS said, where it did.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Our own certificate, if there is one; `None` where it is not what it should be.
#[expect(clippy::option_option, reason = "three states that live for two lines")]
fn load_own(
    settings: &document::PoolTls,
    contents: &Contents<'_>,
    before: Option<&PoolTls>,
    findings: &mut Findings,
) -> Option<Option<Loaded>> {
    let (Some(cert_path), Some(key_path)) = (&settings.cert, &settings.key) else { return Some(None) };
    let cert = findings.keep("cert", contents.of(cert_path));
    let key = findings.keep("key", contents.of(key_path));
    let (shown, loaded) = Loaded::of((cert_path, cert?), (key_path, key?));
    let shown = findings.keep("cert", shown)?;
    if let Some(refusal) = shown.out_of_time() {
        let in_force = before.and_then(|before| before.certificate.as_ref());
        if in_force.is_none_or(|in_force| in_force.fingerprint != shown.fingerprint) {
            findings.refuse_at("cert", refusal);
            return None;
        }
        findings.warn_at("cert", refusal);
    } else if let Some(message) = shown.ends_soon() {
        findings.warn_at("cert", Refusal::new(message).hint("renew it; it is loaded once its file changes"));
    }
    findings.keep("key", loaded).map(Some)
}

fn configure(
    settings: &document::PoolTls,
    contents: &Contents<'_>,
    findings: &mut Findings,
) -> Option<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(versions(settings.min_version))
        .map_err(|error| Refusal::new(format!("this cannot be: {error}")));
    let builder = findings.keep("min_version", builder)?;
    if !settings.verify {
        let anyone = Arc::new(verify::AnyServer);
        return Some(builder.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth());
    }
    let roots = match &settings.ca {
        Some(path) => contents.of(path).and_then(|content| verify::roots(path, content)),
        None => contents.system_roots(),
    };
    let roots = findings.keep("ca", roots)?;
    Some(builder.with_root_certificates(roots).with_no_client_auth())
}
