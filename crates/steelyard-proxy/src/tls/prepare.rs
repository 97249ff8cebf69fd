//! Loads all that a document says of TLS; what has not changed since the snapshot in force stays what it is.

use super::files;
use super::findings::Findings;
use super::pool::Purpose;
use super::verify;
use super::{ListenerTls, PoolTls};
use aws_lc_rs::digest::{Context, SHA256};
use rustls::RootCertStore;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use steelyard_core::document::{self, Document};
use steelyard_core::problem::{Problem, Refusal};
use steelyard_core::snapshot::{Snapshot, is_carried};

/// Whether files are read again that have been read for the snapshot in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// They are: what has changed in them is to be in force too.
    Read,
    /// They are not, where the document says the same of them: a change of something else does not fail for their sake.
    Keep,
}

/// Stands for the contents of files.
pub(super) type Digest = [u8; 32];

/// What TLS needs, by the names of listeners and pools.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    listeners: Vec<(String, Arc<ListenerTls>)>,
    pools: Vec<(String, Arc<PoolTls>)>,
}

impl Parts {
    /// Puts everything where it belongs in a snapshot that is not in force yet.
    pub fn attach(self, snapshot: &Snapshot) {
        for (name, tls) in self.listeners {
            if let Some(listener) = snapshot.listener(&name) {
                listener.prepared.set(tls);
            }
        }
        for (name, tls) in self.pools {
            if let Some(pool) = snapshot.pool(&name) {
                pool.prepared.set(tls);
            }
        }
    }
}

/// Loads everything that is new; fails with all that is wrong. Warnings are logged.
pub(crate) fn prepare(
    document: &Document,
    before: Option<&Snapshot>,
    files: Files,
) -> Result<Parts, Vec<Problem>> {
    let mut findings = Findings::default();
    let parts = load(document, before, files, &mut findings);
    if !findings.problems.is_empty() {
        return Err(findings.problems);
    }
    for warning in &findings.warnings {
        tracing::warn!("{}", warning.to_string().replace("\nhint: ", "; "));
    }
    Ok(parts)
}

/// Loads everything; what is wrong is among the findings.
pub(super) fn load(
    document: &Document,
    before: Option<&Snapshot>,
    files: Files,
    findings: &mut Findings,
) -> Parts {
    let mut parts = Parts::default();
    let system = OnceCell::new();
    findings.at("listeners", |findings| {
        for config in &document.listeners {
            let Some(settings) = &config.tls else { continue };
            let before = before.and_then(|before| before.listener(&config.name)?.prepared.get());
            let loaded = findings.at(config.name.as_str(), |findings| {
                let settings = (settings, config.http3.as_ref());
                findings.at("tls", |findings| listener(settings, before, files, &system, findings))
            });
            parts.listeners.extend(loaded.map(|tls| (config.name.clone(), tls)));
        }
    });
    findings.at("pools", |findings| {
        for config in &document.pools {
            let Some(settings) = &config.tls else { continue };
            let before = before.and_then(|before| before.pool(&config.name)?.prepared.get());
            let carried = is_carried(document, &config.name);
            let purpose = Purpose { protocol: config.protocol, carried };
            let loaded = findings.at(config.name.as_str(), |findings| {
                findings.at("tls", |findings| pool((settings, purpose), before, files, &system, findings))
            });
            parts.pools.extend(loaded.map(|tls| (config.name.clone(), tls)));
        }
    });
    if files == Files::Read {
        uncovered_hosts(document, &parts, findings);
    }
    parts
}

type System = OnceCell<Result<RootCertStore, Refusal>>;

fn listener(
    (settings, http3): (&document::ListenerTls, Option<&document::Http3>),
    before: Option<&Arc<ListenerTls>>,
    files: Files,
    system: &System,
    findings: &mut Findings,
) -> Option<Arc<ListenerTls>> {
    let same = before.filter(|before| before.settings == *settings && before.http3.as_ref() == http3);
    if let (Some(same), Files::Keep) = (same, files) {
        return Some(Arc::clone(same));
    }
    let pairs = settings.certificates.iter().flat_map(|pair| [&pair.cert, &pair.key]);
    let contents = Contents::read(pairs.chain(&settings.client_ca), system);
    if let Some(same) = same.filter(|same| same.digest == contents.digest()) {
        return Some(Arc::clone(same));
    }
    ListenerTls::load((settings, http3), &contents, before.map(Arc::as_ref), findings).map(Arc::new)
}

fn pool(
    (settings, purpose): (&document::PoolTls, Purpose),
    before: Option<&Arc<PoolTls>>,
    files: Files,
    system: &System,
    findings: &mut Findings,
) -> Option<Arc<PoolTls>> {
    let same = before.filter(|before| before.settings == *settings && before.purpose == purpose);
    if let (Some(same), Files::Keep) = (same, files) {
        return Some(Arc::clone(same));
    }
    let paths = settings.ca.iter().chain(&settings.cert).chain(&settings.key);
    let contents = Contents::read(paths, system);
    if let Some(same) = same.filter(|same| same.digest == contents.digest()) {
        return Some(Arc::clone(same));
    }
    PoolTls::load((settings, purpose), &contents, before.map(Arc::as_ref), findings).map(Arc::new)
}

/// Routes whose host no certificate stands for: their clients would be shown another's.
fn uncovered_hosts(document: &Document, parts: &Parts, findings: &mut Findings) {
    findings.at("routes", |findings| {
        for (index, route) in document.routes.iter().enumerate() {
            let Some(host) = &route.host else { continue };
            let claimed = parts
                .listeners
                .iter()
                .filter(|(name, _)| route.listener.as_ref().is_none_or(|wanted| wanted == name));
            for (name, tls) in claimed.filter(|(_, tls)| !tls.covers(host)) {
                let refusal =
                    Refusal::new(format!("no certificate of listener {name:?} stands for {host:?}"));
                let hint = format!("clients are shown {}, and will refuse it", tls.certificates[0].file);
                findings.at(index, |findings| findings.warn_at("host", refusal.hint(hint)));
            }
        }
    });
}

/// What the files of one part hold, each read once.
pub(super) struct Contents<'s> {
    files: BTreeMap<String, Result<Vec<u8>, Refusal>>,
    system: &'s System,
}

impl<'s> Contents<'s> {
    fn read<'a>(paths: impl IntoIterator<Item = &'a String>, system: &'s System) -> Self {
        let files = paths.into_iter().map(|path| (path.clone(), files::read(path))).collect();
        Self { files, system }
    }

    /// What a file holds.
    pub fn of(&self, path: &str) -> Result<&[u8], Refusal> {
        match self.files.get(path) {
            Some(Ok(content)) => Ok(content),
            Some(Err(refusal)) => Err(refusal.clone()),
            None => Err(Refusal::new(format!("{path} has not been read"))),
        }
    }

    /// The authorities of the system, read once for all.
    pub fn system_roots(&self) -> Result<RootCertStore, Refusal> {
        self.system.get_or_init(verify::system_roots).clone()
    }

    /// Stands for all of them.
    pub fn digest(&self) -> Digest {
        let mut hash = Context::new(&SHA256);
        for (path, content) in &self.files {
            let content = content.as_deref().unwrap_or_default();
            for part in [path.as_bytes(), content] {
                hash.update(&(part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(hash.finish().as_ref());
        digest
    }
}
