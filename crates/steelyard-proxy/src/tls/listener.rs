//! TLS towards the clients of one listener, loaded.

use super::certificate::{Loaded, Shown};
use super::findings::Findings;
use super::prepare::{Contents, Digest};
use super::resolver::Resolver;
use super::resumption::Resumption;
use super::{provider, verify, versions};
use crate::http3;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::ServerConfig;
use rustls::server::NoClientAuth;
use rustls::server::danger::ClientCertVerifier;
use std::fmt;
use std::sync::Arc;
use steelyard_core::document::{self, TlsVersion};
use steelyard_core::problem::Refusal;

/// TLS towards the clients of one listener: everything that a handshake needs.
pub(crate) struct ListenerTls {
    /// What the library that speaks TLS is told.
    pub config: Arc<ServerConfig>,
    /// In the order of the document.
    pub certificates: Vec<Shown>,
    /// The same for QUIC, where HTTP/3 is spoken.
    pub quic: Option<Arc<QuicServerConfig>>,
    pub(super) settings: document::ListenerTls,
    pub(super) http3: Option<document::Http3>,
    pub(super) digest: Digest,
    resolver: Arc<Resolver>,
    resumption: Resumption,
    /// That of QUIC is another: what was agreed on over TCP is not taken up over UDP, nor the other way round.
    quic_resumption: Option<Resumption>,
}

impl fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerTls").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl ListenerTls {
    /// Loads and checks everything; `None` where a problem has been found. `before` is what is in force.
    pub(super) fn load(
        (settings, http3): (&document::ListenerTls, Option<&document::Http3>),
        contents: &Contents<'_>,
        before: Option<&Self>,
        findings: &mut Findings,
    ) -> Option<Self> {
        let certificates = findings.at("certificates", |findings| {
            let pairs = settings.certificates.iter().enumerate();
            pairs
                .map(|(index, pair)| {
                    findings.at(index, |findings| load_pair(pair, contents, before, findings))
                })
                .collect::<Vec<_>>()
        });
        let verifier = client_verifier(settings, contents, findings);
        let certificates: Vec<Loaded> = certificates.into_iter().collect::<Option<_>>()?;
        let (verifier, client_auth) = verifier?;
        let resolver = Arc::new(Resolver::new(&certificates));
        let quic_resumption = http3.map(|http3| {
            let before = before.and_then(|before| before.quic_resumption.as_ref());
            Resumption::of_quic(settings, http3, client_auth.clone(), before).map_err(|error| broken(&error))
        });
        let quic_resumption = findings.keep("tickets", quic_resumption.transpose())?;
        let resumption = Resumption::of(settings, client_auth, before.map(|before| &before.resumption))
            .map_err(|error| broken(&error));
        let resumption = findings.keep("tickets", resumption)?;
        let quic = quic_resumption
            .as_ref()
            .map(|resumption| quic(Arc::clone(&verifier), &resolver, resumption).map_err(|refusal| *refusal));
        let quic = findings.keep("min_version", quic.transpose())?;
        let config = configure(settings, verifier, &resolver, &resumption).map_err(|error| broken(&error));
        Some(Self {
            config: Arc::new(findings.keep("min_version", config)?),
            quic,
            http3: http3.cloned(),
            quic_resumption,
            certificates: certificates.into_iter().map(|loaded| loaded.shown).collect(),
            settings: settings.clone(),
            digest: contents.digest(),
            resolver,
            resumption,
        })
    }

    /// Whether a certificate stands for this host, or for all below a domain.
    pub(super) fn covers(&self, host: &str) -> bool {
        self.resolver.covers(host)
    }
}

/// What only goes wrong where cryptography itself does.
fn broken(error: &rustls::Error) -> Refusal {
    Refusal::new(format!("this cannot be: {error}"))
}

fn load_pair(
    pair: &document::Certificate,
    contents: &Contents<'_>,
    before: Option<&ListenerTls>,
    findings: &mut Findings,
) -> Option<Loaded> {
    let cert = findings.keep("cert", contents.of(&pair.cert));
    let key = findings.keep("key", contents.of(&pair.key));
    let (shown, loaded) = Loaded::of((&pair.cert, cert?), (&pair.key, key?));
    let shown = findings.keep("cert", shown)?;
    check_time(&shown, before, findings)?;
    if shown.names.is_empty() {
        let refusal = Refusal::new(format!("{} names no host (it has no subjectAltName)", pair.cert));
        findings
            .warn_at("cert", refusal.hint("clients will refuse it; have it made anew, with the names in it"));
    }
    findings.keep("key", loaded)
}

/// One that is in force already must not keep anything else from changing when its time is over.
fn check_time(shown: &Shown, before: Option<&ListenerTls>, findings: &mut Findings) -> Option<()> {
    if let Some(refusal) = shown.out_of_time() {
        let in_force = |one: &Shown| one.fingerprint == shown.fingerprint;
        if !before.is_some_and(|before| before.certificates.iter().any(in_force)) {
            findings.refuse_at("cert", refusal);
            return None;
        }
        findings.warn_at("cert", refusal);
    } else if let Some(message) = shown.ends_soon() {
        findings.warn_at("cert", Refusal::new(message).hint("renew it; it is loaded once its file changes"));
    }
    Some(())
}

/// What checks clients, and what stands for it: sessions are resumed under the same alone.
fn client_verifier(
    settings: &document::ListenerTls,
    contents: &Contents<'_>,
    findings: &mut Findings,
) -> Option<(Arc<dyn ClientCertVerifier>, Vec<u8>)> {
    let Some(path) = &settings.client_ca else { return Some((Arc::new(NoClientAuth), Vec::new())) };
    let content = findings.keep("client_ca", contents.of(path))?;
    let auth = settings.client_auth.unwrap_or_default();
    let verifier = verify::roots(path, content).and_then(|roots| verify::client_verifier(roots, auth, path));
    let mut terms = vec![auth as u8];
    terms.extend_from_slice(content);
    Some((findings.keep("client_ca", verifier)?, terms))
}

/// What QUIC needs, which knows TLS 1.3 alone.
fn quic(
    verifier: Arc<dyn ClientCertVerifier>,
    resolver: &Arc<Resolver>,
    resumption: &Resumption,
) -> Result<Arc<QuicServerConfig>, Box<Refusal>> {
    let config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(versions(TlsVersion::Tls13))
        .map_err(|error| Box::new(broken(&error)))?;
    let mut config =
        config.with_client_cert_verifier(verifier).with_cert_resolver(Arc::<Resolver>::clone(resolver));
    config.alpn_protocols = vec![http3::PROTOCOL.to_vec()];
    resumption.apply(&mut config);
    let config = QuicServerConfig::try_from(config);
    Ok(Arc::new(config.map_err(|error| Box::new(Refusal::new(format!("this cannot be: {error}"))))?))
}

fn configure(
    settings: &document::ListenerTls,
    verifier: Arc<dyn ClientCertVerifier>,
    resolver: &Arc<Resolver>,
    resumption: &Resumption,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(versions(settings.min_version))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::<Resolver>::clone(resolver));
    config.alpn_protocols = settings.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    resumption.apply(&mut config);
    Ok(config)
}
