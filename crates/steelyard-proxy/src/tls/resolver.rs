//! Which certificate a client is shown: by the name it asks for, exact before wildcard, else the first.

use super::certificate::Loaded;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

thread_local! {
    static ASKED: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// The name that the client asked for whose handshake this thread is just in: the library tells it to whoever chooses a
/// certificate, and to nobody else.
pub(crate) fn take_asked() -> Option<Box<str>> {
    ASKED.take()
}

type Candidates = Vec<Arc<CertifiedKey>>;

/// The certificates of one listener, by name.
#[derive(Debug)]
pub(super) struct Resolver {
    /// Names in lower case.
    exact: HashMap<Box<str>, Candidates>,
    /// What follows the `*.`.
    wildcard: HashMap<Box<str>, Candidates>,
    default: Candidates,
}

impl Resolver {
    /// Over certificates in the order in which they are wanted. Several may stand for one name, as one of RSA beside one
    /// of ECDSA.
    pub fn new(certificates: &[Loaded]) -> Self {
        let mut resolver = Self { exact: HashMap::new(), wildcard: HashMap::new(), default: Vec::new() };
        for Loaded { shown, certified } in certificates {
            for name in &shown.names {
                let (table, name) = match name.strip_prefix("*.") {
                    Some(domain) => (&mut resolver.wildcard, domain),
                    None => (&mut resolver.exact, name.as_str()),
                };
                table.entry(name.into()).or_default().push(Arc::clone(certified));
            }
        }
        if let Some(Loaded { shown, certified }) = certificates.first() {
            let alike = |other: &&Loaded| !shown.names.is_empty() && other.shown.names == shown.names;
            let others = certificates[1..].iter().filter(alike);
            resolver.default.push(Arc::clone(certified));
            resolver.default.extend(others.map(|other| Arc::clone(&other.certified)));
        }
        resolver
    }

    fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name else { return &self.default };
        let name = name.to_ascii_lowercase();
        let exact = || self.exact.get(name.as_str());
        // A wildcard stands for one label (RFC 9525 section 6.3).
        let wildcard = || name.split_once('.').and_then(|(_, domain)| self.wildcard.get(domain));
        exact().or_else(wildcard).unwrap_or(&self.default)
    }

    /// Whether a certificate stands for this host; one for all below a domain is written as a wildcard.
    pub fn covers(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        match host.strip_prefix("*.") {
            Some(domain) => self.wildcard.contains_key(domain),
            None => {
                self.exact.contains_key(host.as_str())
                    || host.split_once('.').is_some_and(|(_, domain)| self.wildcard.contains_key(domain))
            }
        }
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        ASKED.set(name.map(Into::into));
        let candidates = self.candidates(name);
        let usable = |one: &&Arc<CertifiedKey>| one.key.choose_scheme(hello.signature_schemes()).is_some();
        match candidates {
            [one] => Some(Arc::clone(one)),
            several => several.iter().find(usable).or(several.first()).cloned(),
        }
    }
}
