//! Certificates that end soon, told of once a day; the day they are loaded they have been told of already.

use crate::shared::Shared;
use crate::tls::{ListenerTls, PoolTls, Shown};
use std::sync::Arc;
use steelyard_core::snapshot::Snapshot;
use steelyard_core::time::Nanos;

/// Between two looks.
const INTERVAL: Nanos = Nanos::from_millis(24 * 3600 * 1000);

/// When certificates were last looked at.
#[derive(Debug)]
pub(super) struct Expiry(Nanos);

impl Expiry {
    pub fn new(now: Nanos) -> Self {
        Self(now)
    }

    /// Tells of those that end soon, if it is time to.
    pub fn look(&mut self, shared: &Shared, now: Nanos) {
        if now.since(self.0) >= INTERVAL {
            self.0 = now;
            for message in ending(&shared.snapshot.load()) {
                tracing::warn!("{message}");
            }
        }
    }
}

fn ending(snapshot: &Snapshot) -> Vec<String> {
    let listeners = snapshot.listeners.iter().filter_map(|one| one.prepared.get::<Arc<ListenerTls>>());
    let pools = snapshot.pools.iter().filter_map(|one| one.prepared.get::<Arc<PoolTls>>());
    let shown =
        listeners.flat_map(|tls| &tls.certificates).chain(pools.filter_map(|tls| tls.certificate.as_ref()));
    shown.filter_map(Shown::ends_soon).collect()
}
