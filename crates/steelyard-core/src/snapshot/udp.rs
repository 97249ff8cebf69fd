//! What listeners of datagrams cannot do, and what only they can.

use super::layer4::leads;
use super::{refuse_zero, zero};
use crate::address::{Bind, EndpointAddress};
use crate::document::{Document, Listener, ListenerProtocol, Pool};
use crate::problem::{Refusal, Report};

/// The largest datagram that a probe can send, in bytes.
const PROBE_BYTES_MAX: usize = 1200;

/// Checks every listener, and every pool that takes datagrams.
pub(super) fn check(document: &Document, report: &mut Report) {
    report.at("listeners", |report| {
        for listener in &document.listeners {
            report.at(listener.name.as_str(), |report| check_listener(listener, report));
        }
    });
    report.at("pools", |report| {
        for pool in &document.pools {
            report.at(pool.name.as_str(), |report| {
                check_probe(pool, report);
                let mut leading = document.listeners.iter().filter(|one| leads(document, one, &pool.name));
                let others = leading.clone().any(|listener| listener.protocol != ListenerProtocol::Udp);
                if let Some(listener) = leading.find(|one| one.protocol == ListenerProtocol::Udp) {
                    check_pool(pool, listener, others, report);
                }
            });
        }
    });
}

fn check_listener(listener: &Listener, report: &mut Report) {
    if listener.protocol != ListenerProtocol::Udp {
        if listener.responses.is_some() {
            let refusal = Refusal::new("only sessions of datagrams end after so many responses");
            report.refuse_at("responses", refusal.hint("take it out, or write protocol = \"udp\""));
        }
        return;
    }
    refuse_zero("responses", listener.responses.map(u64::from), report);
    report.at("bind", |report| {
        for (index, bind) in listener.bind.iter().enumerate() {
            if matches!(bind.parse(), Ok(Bind::Unix(_))) {
                let refusal = Refusal::new("datagrams do not come by a unix socket");
                report.refuse_at(index, refusal.hint("write \":53\" or \"127.0.0.1:53\""));
            }
        }
    });
    report.at("timeouts", |report| {
        if listener.timeouts.idle_ms.is_none() {
            let refusal = Refusal::new("a session of datagrams has no other end");
            report.refuse_at("idle", refusal.hint("write how long nothing may move in it, such as \"60s\""));
        }
    });
}

fn check_probe(pool: &Pool, report: &mut Report) {
    let health = &pool.health;
    report.at("health", |report| {
        if health.port == Some(0) {
            report.refuse_at("port", zero("a port is a number from 1 to 65535"));
        }
        let Some(payload) = &health.udp else { return };
        if health.path.is_some() || health.grpc.is_some() {
            let refusal = Refusal::new("a probe sends a datagram or a request, not both");
            report.refuse_at("udp", refusal.hint("take one of them out"));
        }
        let bytes = payload.len() / 2;
        if bytes == 0 || bytes > PROBE_BYTES_MAX {
            let refusal = Refusal::new(format!("a probe of {bytes} bytes"));
            report.refuse_at("udp", refusal.hint(format!("it may have 1 to {PROBE_BYTES_MAX}")));
        } else if payload.len() % 2 != 0 || !payload.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            report.refuse_at("udp", Refusal::new("the payload of a probe is in hexadecimal"));
        }
    });
}

/// `others` says whether anything but datagrams comes to the pool too.
fn check_pool(pool: &Pool, listener: &Listener, others: bool, report: &mut Report) {
    let whose = format!("listener {:?} (protocol = \"udp\")", listener.name);
    report.at("endpoints", |report| {
        for (index, endpoint) in pool.endpoints.iter().enumerate() {
            if matches!(endpoint.address.parse(), Ok(EndpointAddress::Unix(_))) {
                let message = format!("{whose} cannot send datagrams to a unix socket");
                report.refuse_at(index, Refusal::new(message).hint("write \"10.0.0.1:53\""));
            }
        }
    });
    if pool.tls.is_some() {
        let message = format!("TLS is not spoken in datagrams, as {whose} sends them");
        report.refuse_at(
            "tls",
            Refusal::new(message).hint("take it out, or give that listener a pool of its own"),
        );
    }
    let health = &pool.health;
    let connects =
        health.path.is_none() && health.grpc.is_none() && health.udp.is_none() && health.port.is_none();
    if !others && connects && health.interval_ms.is_some() {
        let refusal = Refusal::new("whether a port accepts TCP says nothing of what it does with datagrams");
        let hint = "write what is probed: udp = \"a datagram that is answered\", path = \"/healthz\", or the port of \
                    a service beside it, port = 8080; or interval = \"off\"";
        report.refuse_at("health", refusal.hint(hint));
    }
}
