//! Who is believed: roots, the check of clients, and the lack of a check of endpoints where somebody wants none.

use super::{files, provider};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;
use steelyard_core::document::ClientAuth;
use steelyard_core::problem::Refusal;

/// The authorities in a file.
pub(super) fn roots(path: &str, content: &[u8]) -> Result<RootCertStore, Refusal> {
    let mut roots = RootCertStore::empty();
    for certificate in files::certificates(path, content)? {
        roots.add(certificate).map_err(|_| {
            Refusal::new(format!("{path} holds a certificate that cannot be that of an authority"))
        })?;
    }
    Ok(roots)
}

/// The authorities that the system believes.
pub(super) fn system_roots() -> Result<RootCertStore, Refusal> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(Refusal::new(format!("the system knows no certificate authority{why}"))
            .hint("install them (Debian: apt install ca-certificates) or write ca = \"internal-ca.pem\""));
    }
    Ok(roots)
}

/// What checks the certificates of clients.
pub(super) fn client_verifier(
    roots: RootCertStore,
    auth: ClientAuth,
    path: &str,
) -> Result<Arc<dyn ClientCertVerifier>, Refusal> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider()));
    let builder = match auth {
        ClientAuth::Required => builder,
        ClientAuth::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| Refusal::new(format!("{path} cannot be used: {error}")))
}

/// Takes whoever answers, as `verify = false` asks for. That the other side has the key of the certificate that it shows
/// is still checked.
#[derive(Debug)]
pub(super) struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
