//! Certificates that prove a name to an authority within a handshake (TLS-ALPN-01, RFC 8737): shown to whoever offers
//! `acme-tls/1` and nothing else, and to nobody else.

use super::{files, provider};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;
use steelyard_core::problem::Refusal;

/// What an authority offers to speak.
pub(crate) const PROTOCOL: &[u8] = b"acme-tls/1";

/// One certificate as it comes, in PEM.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    name: String,
    cert: String,
    key: String,
}

/// Certificates by the names that they prove, in lower case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Certificates(Arc<HashMap<String, Arc<CertifiedKey>>>);

impl Certificates {
    pub fn load(written: &[Written]) -> Result<Self, Refusal> {
        let load = |one: &Written| {
            let chain = files::certificates(&one.name, one.cert.as_bytes())?;
            let key = files::key(&one.name, one.key.as_bytes())?;
            // Whether they belong together is not looked at: what reads certificates for that knows no extension that
            // holds a proof, which is critical, and refuses them.
            let key = provider().key_provider.load_private_key(key);
            let key = key.map_err(|error| Refusal::new(format!("{}: {error}", one.name)))?;
            Ok((one.name.to_ascii_lowercase(), Arc::new(CertifiedKey::new(chain, key))))
        };
        Ok(Self(Arc::new(written.iter().map(load).collect::<Result<_, _>>()?)))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rules of a listener, with these shown beside its own certificates. `None` where there is nothing to add: who
    /// agrees on no protocol at all cannot agree on this one without refusing others.
    pub fn beside(&self, config: &ServerConfig) -> Option<Arc<ServerConfig>> {
        if self.is_empty() || config.alpn_protocols.is_empty() {
            return None;
        }
        let mut config = config.clone();
        config.alpn_protocols.push(PROTOCOL.to_vec());
        config.cert_resolver =
            Arc::new(Beside { proofs: self.clone(), others: Arc::clone(&config.cert_resolver) });
        Some(Arc::new(config))
    }
}

#[derive(Debug)]
struct Beside {
    proofs: Certificates,
    others: Arc<dyn ResolvesServerCert>,
}

impl ResolvesServerCert for Beside {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offers_this_alone = hello
            .alpn()
            .is_some_and(|mut offered| offered.next() == Some(PROTOCOL) && offered.next().is_none());
        if !offers_this_alone {
            return self.others.resolve(hello);
        }
        self.proofs.0.get(&hello.server_name()?.to_ascii_lowercase()).cloned()
    }
}
