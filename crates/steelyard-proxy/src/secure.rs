//! How an accepted connection comes to speak what its listener speaks: TLS, or clear text.

use crate::registry::Place;
use crate::shared::ListenerState;
use crate::timer::Timer;
use crate::tls::{ListenerTls, proof};
use crate::transport::{Insecure, Transport};
use crate::worker::Worker;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;
use steelyard_core::listener::Listener;

/// Lets TLS begin where the listener wants it, by the certificates that are in force at this moment. Where that fails the
/// connection is as it was, to be told so or closed: it never carries on in clear text.
pub(crate) async fn secure(
    transport: &mut Transport,
    listener: Arc<Listener>,
    worker: &Worker,
    (state, place, timer): (&ListenerState, &Place, &Timer),
    peer: Option<IpAddr>,
) -> Result<(), Insecure> {
    if listener.tls.is_none() {
        return Ok(());
    }
    let outcome = match listener.prepared.get::<Arc<ListenerTls>>() {
        Some(tls) => {
            let shown = worker.shared.proofs.load();
            let beside = shown.as_ref().and_then(|proofs| proofs.certificates().beside(&tls.config));
            let config = beside.unwrap_or_else(|| Arc::clone(&tls.config));
            drop(shown);
            let until = timer.after(listener.timeouts.handshake_ms);
            drop(listener);
            let until = move |cx: &mut Context<'_>| place.until(until, cx);
            transport.accept_tls(config, timer, until).await
        }
        // It is loaded before the listener is in force.
        None => Err(Insecure::TimedOut),
    };
    match &outcome {
        Ok(()) => {
            state.handshakes.fetch_add(1, Ordering::Relaxed);
            if transport.facts().is_some_and(|facts| facts.resumed) {
                state.resumed.fetch_add(1, Ordering::Relaxed);
            }
        }
        Err(why) => {
            state.handshake_failures.fetch_add(1, Ordering::Relaxed);
            let peer = peer.map(tracing::field::display);
            tracing::debug!(listener = state.name, worker = worker.index, peer, %why, "no TLS handshake");
        }
    }
    // Over such a connection nothing is carried (RFC 8737 section 4).
    if outcome.is_ok() && transport.alpn() == Some(proof::PROTOCOL) {
        return Err(Insecure::Proved);
    }
    outcome
}
