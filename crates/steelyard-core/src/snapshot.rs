//! One immutable, numbered configuration, built from a document: everything a worker needs, checked.
//!
//! All rules about what a configuration may mean are enforced here and in the parsers it calls; what passes
//! needs no further check anywhere.

mod layer4;
mod listeners;
mod pools;
mod tls;
mod udp;

use crate::address::EndpointAddress;
use crate::document::Document;
use crate::listener::{Listener, hsts_value};
use crate::pool::{Pool, Shared};
use crate::prepared::Prepared;
use crate::problem::{Problem, Refusal, Report};
use crate::route::Router;
use listeners::ListenerPlan;
use pools::PoolPlan;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

pub use crate::pool::Options;
pub use layer4::is_carried;

/// The most worker threads that can be asked for.
pub const WORKERS_MAX: usize = 1024;

/// One immutable, numbered configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// 1 for the first; each that follows has the next number.
    pub generation: u64,
    /// Data-plane threads; `None` = one for each core that this process may use.
    pub workers: Option<usize>,
    /// How long requests in flight may take to end when the process drains.
    pub drain_timeout_ms: u64,
    /// In the order of the document.
    pub listeners: Vec<Arc<Listener>>,
    /// In the order of the document.
    pub pools: Vec<Arc<Pool>>,
    /// Pools that have left the configuration, by name, while requests of theirs last.
    departed: Vec<(String, Weak<Shared>)>,
}

/// What the host names of a document stand for at present.
#[derive(Debug, Clone, Default)]
pub struct Resolved {
    addresses: BTreeMap<(String, u16), Vec<SocketAddr>>,
}

impl Resolved {
    /// Sets what a name stands for. The name is one that [`names`] gave.
    pub fn insert(&mut self, host: String, port: u16, addresses: Vec<SocketAddr>) {
        self.addresses.insert((host, port), addresses);
    }

    /// Whether it has ever been set, if only to nothing.
    pub fn is_known(&self, host: &str, port: u16) -> bool {
        self.addresses.contains_key(&(host.to_owned(), port))
    }

    /// The addresses of a name; none while it has not been resolved.
    pub fn get(&self, host: &str, port: u16) -> &[SocketAddr] {
        self.addresses.get(&(host.to_owned(), port)).map_or(&[], Vec::as_slice)
    }
}

impl Snapshot {
    /// The snapshot of a document, or every problem that it has.
    ///
    /// Live state is taken over from `previous` for every endpoint that stays, and for every pool that comes back before
    /// its last request has ended. A host name that `resolved` does
    /// not know contributes no endpoint.
    pub fn build(
        document: &Document,
        previous: Option<&Self>,
        resolved: &Resolved,
        options: &Options,
    ) -> Result<Self, Vec<Problem>> {
        let plan = Plan::of(document)?;
        let generation = previous.map_or(1, |previous| previous.generation + 1);
        let pools: Arc<[Arc<Pool>]> = plan
            .pools
            .iter()
            .map(|pool| {
                let before = previous.and_then(|previous| previous.shared(&pool.config.name));
                let members = pool.members(document.zone.as_deref(), resolved);
                Pool::build(pool.config, generation, members, before, options).map(Arc::new)
            })
            .collect::<Option<_>>()
            // The plan has refused every name that is no policy.
            .expect("every policy is known");
        let listeners = plan.listeners.into_iter().map(|listener| Arc::new(listener.build(&pools))).collect();
        Ok(Self {
            generation,
            workers: document.workers,
            drain_timeout_ms: document.drain_timeout_ms,
            listeners,
            departed: previous.map_or_else(Vec::new, |previous| previous.departed(&pools)),
            pools: pools.to_vec(),
        })
    }

    /// Every pool that requests are in: those of the configuration, and those that have left it while somebody waits.
    pub fn live_pools(&self) -> impl Iterator<Item = Arc<Pool>> {
        let waited_for = self.departed.iter().filter_map(|(_, shared)| shared.upgrade()?.waited_for());
        self.pools.iter().cloned().chain(waited_for)
    }

    /// What outlives snapshots of the pool of this name, present or departed.
    fn shared(&self, name: &str) -> Option<Arc<Shared>> {
        self.pool(name).map(|pool| Arc::clone(pool.shared())).or_else(|| {
            self.departed
                .iter()
                .find(|(departed, _)| departed == name)
                .and_then(|(_, shared)| shared.upgrade())
        })
    }

    /// The pools that are live here and not among the next ones.
    fn departed(&self, next: &[Arc<Pool>]) -> Vec<(String, Weak<Shared>)> {
        let here = self.pools.iter().map(|pool| (pool.name().to_owned(), Arc::downgrade(pool.shared())));
        let stays = |name: &str| next.iter().any(|pool| pool.name() == name);
        self.departed
            .iter()
            .cloned()
            .chain(here)
            .filter(|(name, shared)| !stays(name) && shared.strong_count() > 0)
            .collect()
    }

    /// The pool of this name.
    pub fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        self.pools.iter().find(|pool| pool.name() == name)
    }

    /// The listener of this name.
    pub fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        self.listeners.iter().find(|listener| listener.name == name)
    }
}

/// Every problem of a document in JSON, that of its shape included; none when it is sound.
pub fn check(document_json: &str) -> Vec<Problem> {
    match parse(document_json) {
        Ok(document) => Plan::of(&document).err().unwrap_or_default(),
        Err(problems) => problems,
    }
}

/// Reads a document in JSON.
pub fn parse(document_json: &str) -> Result<Document, Vec<Problem>> {
    serde_json::from_str(document_json).map_err(|error| {
        let message = format!("the document does not have the shape that the engine expects: {error}");
        vec![Problem { path: Vec::new(), message, hint: None }]
    })
}

/// The host names that have to be resolved for a document, with their ports; each once.
pub fn names(document: &Document) -> BTreeSet<(String, u16)> {
    let endpoints = document.pools.iter().flat_map(|pool| &pool.endpoints);
    endpoints
        .filter_map(|endpoint| match endpoint.address.parse() {
            Ok(EndpointAddress::Name { host, port }) => Some((host, port)),
            _ => None,
        })
        .collect()
}

/// A sound document, its texts parsed and its references followed.
struct Plan<'d> {
    listeners: Vec<ListenerPlan<'d>>,
    pools: Vec<PoolPlan<'d>>,
}

impl<'d> Plan<'d> {
    fn of(document: &'d Document) -> Result<Self, Vec<Problem>> {
        let mut report = Report::default();
        let workers = document.workers;
        if workers == Some(0) {
            report.refuse_at("workers", zero("\"auto\" takes one for each core"));
        } else if workers.is_some_and(|workers| workers > WORKERS_MAX) {
            report.refuse_at(
                "workers",
                Refusal::new(format!("there can be {WORKERS_MAX} workers at the most")),
            );
        }
        if document.drain_timeout_ms == 0 {
            report.refuse_at("drain_timeout", zero("write \"1ms\" to wait for no one"));
        }
        let pools = report.at("pools", |report| pools::plan(&document.pools, report));
        let listeners = listeners::plan(document, &mut report);
        let problems = report.finish();
        if problems.is_empty() { Ok(Self { listeners, pools }) } else { Err(problems) }
    }
}

impl ListenerPlan<'_> {
    fn build(self, pools: &Arc<[Arc<Pool>]>) -> Listener {
        let hsts = self.config.tls.as_ref().and_then(|tls| tls.hsts.as_ref());
        Listener {
            name: self.config.name.clone(),
            binds: self.binds,
            protocol: self.config.protocol,
            responses: self.config.responses,
            limits: self.config.limits.clone(),
            timeouts: self.config.timeouts.clone(),
            trusted: self.trusted,
            proxy_protocol: self.config.proxy_protocol,
            routes_by_host: self.rules.iter().any(|rule| rule.goes_by_host()),
            allow_encoded_slash: self.config.allow_encoded_slash,
            tls: self.config.tls.clone(),
            prepared: Prepared::default(),
            hsts: hsts.map(hsts_value).unwrap_or_default().into_bytes().into(),
            http3: self.config.http3.clone(),
            redirect_https: self.config.redirect_https,
            router: Router::new(self.rules, self.fallback, Arc::clone(pools)),
        }
    }
}

/// 0 where it would be read as *off* by some and as *none* by others.
fn zero(hint: &str) -> Refusal {
    Refusal::new("0 is ambiguous here").hint(hint)
}

/// Refuses 0 for what can be switched off.
fn refuse_zero(key: &str, value: Option<u64>, report: &mut Report) {
    if value == Some(0) {
        report.refuse_at(key, zero("write \"off\" for no bound at all"));
    }
}

/// Refuses a name that could not stand in a metric, in `POOL/ADDRESS` or on a command line, and one that another
/// has already. `kind` is what is named.
fn check_name(kind: &str, name: &str, taken: &mut BTreeSet<String>, report: &mut Report) {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(sound) {
        report.refuse(
            Refusal::new(format!("{name:?} is no name for a {kind}"))
                .hint("use up to 64 letters, digits, \"-\", \"_\" and \".\""),
        );
    }
    if !taken.insert(name.to_owned()) {
        report.refuse(Refusal::new(format!("there is another {kind} {name:?}")));
    }
}

#[cfg(test)]
mod tests;
