//! The status, read from the snapshot in force and the live cells.

use crate::engine::{LiveListener, State};
use crate::shared::{Datagrams, Dropped};
use crate::tls::{ListenerTls, PoolTls, Shown, date, days_until};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use steelyard_core::document::ListenerProtocol;
use steelyard_core::endpoint::{Cells, Endpoint, Over};
use steelyard_core::health::Verdict;
use steelyard_core::histogram::{BUCKETS, quantile};
use steelyard_core::level::Share;
use steelyard_core::load::Stamp;
use steelyard_core::pool::{Level, Member, Pool};
use steelyard_core::report::Reporting;
use steelyard_core::snapshot::Snapshot;
use steelyard_core::time::Nanos;

/// The whole status as JSON.
pub(crate) fn render(state: &State) -> String {
    let shared = &state.shared;
    let now = shared.clock.now();
    let snapshot = shared.snapshot.load();
    let draining = shared.draining.load(Ordering::Relaxed);
    json!({
        "generation": snapshot.generation,
        "uptime_s": seconds(now.since(state.started)),
        "state": if draining { "draining" } else { "running" },
        "workers": shared.workers.len(),
        "connections": shared.connections.load(Ordering::Relaxed),
        "panics": shared.panics.load(Ordering::Relaxed),
        "listeners": state.listeners().iter().map(|live| listener(live, &snapshot)).collect::<Vec<_>>(),
        "pools": snapshot.pools.iter().map(|pool| render_pool(pool, &snapshot, now)).collect::<Vec<_>>(),
    })
    .to_string()
}

fn listener(live: &LiveListener, snapshot: &Snapshot) -> Value {
    let listener = snapshot.listener(&live.state.name);
    let tls = listener.and_then(|listener| listener.prepared.get());
    let is_udp = listener.is_some_and(|listener| listener.protocol == ListenerProtocol::Udp);
    json!({
        "name": live.state.name,
        "protocol": listener.map(|listener| listener.protocol.as_str()),
        "bind": live.addresses,
        "connections": live.state.connections.load(Ordering::Relaxed),
        "connections_max": live.state.connections_max.load(Ordering::Relaxed),
        "accepted": live.state.accepted.load(Ordering::Relaxed),
        "requests": live.state.requests.load(Ordering::Relaxed),
        "bad_requests": live.state.bad_requests.load(Ordering::Relaxed),
        "udp": is_udp.then(|| datagrams(&live.state.datagrams)),
        "http3": http3(live, snapshot),
        "tls": tls.map(|tls: &Arc<ListenerTls>| listener_tls(live, tls)),
    })
}

fn datagrams(datagrams: &Datagrams) -> Value {
    let dropped = Dropped::ALL.iter().zip(&datagrams.dropped);
    json!({
        "received": datagrams.received.load(Ordering::Relaxed),
        "sent": datagrams.sent.load(Ordering::Relaxed),
        "bytes_in": datagrams.bytes_in.load(Ordering::Relaxed),
        "bytes_out": datagrams.bytes_out.load(Ordering::Relaxed),
        "evicted": datagrams.evicted.load(Ordering::Relaxed),
        "dropped": dropped
            .map(|(why, count)| (why.label().to_owned(), json!(count.load(Ordering::Relaxed))))
            .collect::<serde_json::Map<_, _>>(),
    })
}

/// What of a listener's connections and requests is HTTP/3; null where it speaks none.
fn http3(live: &LiveListener, snapshot: &Snapshot) -> Value {
    let speaks = snapshot.listener(&live.state.name).is_some_and(|listener| listener.http3.is_some());
    let counts = &live.state.http3;
    if !speaks {
        return Value::Null;
    }
    json!({
        "connections": counts.connections.load(Ordering::Relaxed),
        "accepted": counts.accepted.load(Ordering::Relaxed),
        "requests": counts.requests.load(Ordering::Relaxed),
        "too_early": counts.too_early.load(Ordering::Relaxed),
    })
}

fn listener_tls(live: &LiveListener, tls: &ListenerTls) -> Value {
    json!({
        "handshakes": live.state.handshakes.load(Ordering::Relaxed),
        "resumed": live.state.resumed.load(Ordering::Relaxed),
        "failures": live.state.handshake_failures.load(Ordering::Relaxed),
        "certificates": tls.certificates.iter().map(certificate).collect::<Vec<_>>(),
    })
}

fn certificate(shown: &Shown) -> Value {
    json!({
        "file": shown.file,
        "names": shown.names,
        "subject": shown.subject,
        "not_before": date(shown.not_before),
        "not_after": date(shown.not_after),
        "days_left": days_until(shown.not_after),
        "fingerprint": shown.fingerprint,
    })
}

fn pool_tls(tls: &PoolTls) -> Value {
    json!({
        "failures": tls.counts.failures.load(Ordering::Relaxed),
        "certificate": tls.certificate.as_ref().map(certificate),
    })
}

fn render_pool(pool: &Pool, snapshot: &Snapshot, now: Nanos) -> Value {
    json!({
        "name": pool.name(),
        "protocols": protocols(pool, snapshot),
        "policy": pool.config().policy.label(),
        "queued": pool.queued(),
        "queue_timeouts": pool.shared().queue_timeouts.load(Ordering::Relaxed),
        "fail_open": pool.failing_open(),
        "panic": pool.panics(),
        "tls": pool.prepared.get().map(|tls: &Arc<PoolTls>| pool_tls(tls)),
        "levels": pool.levels().map(level).collect::<Vec<_>>(),
        "endpoints": pool.members().iter().enumerate().map(|one| endpoint(pool, one, now)).collect::<Vec<_>>(),
    })
}

/// What listeners speak with the clients whose requests, connections or sessions may come to a pool.
fn protocols(pool: &Pool, snapshot: &Snapshot) -> Vec<&'static str> {
    let comes_by = |protocol: &ListenerProtocol| {
        let speaking = snapshot.listeners.iter().filter(|listener| listener.protocol == *protocol);
        speaking.into_iter().any(|listener| listener.router.leads_to(pool.name()))
    };
    let all = [ListenerProtocol::Http, ListenerProtocol::Tcp, ListenerProtocol::Udp];
    all.into_iter().filter(comes_by).map(ListenerProtocol::as_str).collect()
}

fn level((level, share): (&Level, Share)) -> Value {
    json!({
        "priority": level.priority,
        "foreign": level.foreign,
        "load_percent": share.load,
        "panic": share.panics,
    })
}

fn endpoint(pool: &Pool, (index, member): (usize, &Member), now: Nanos) -> Value {
    let endpoint = &member.endpoint;
    let (verdict, why) = endpoint.health().explain(now);
    let sum = Sum::of(endpoint.all_cells());
    json!({
        "address": endpoint.address().to_string(),
        "configured": &*member.configured,
        "weight": member.weight,
        "learned_weight": pool.learned_weight(index),
        "priority": member.priority,
        "zone": member.zone.as_deref(),
        "verdict": verdict,
        "why": why,
        "starting": starting(pool, endpoint, now),
        "in_flight": endpoint.in_flight(),
        "requests": sum.requests,
        "failures": sum.failures,
        "retries": sum.retries,
        "bytes_in": sum.bytes_in,
        "bytes_out": sum.bytes_out,
        "bytes_per_second": endpoint.bytes_per_second(Stamp::of(now)),
        "smoothed_s": endpoint.smoothed_s(),
        "p50_s": quantile(&sum.times, 0.5),
        "p99_s": quantile(&sum.times, 0.99),
        "over_threshold": endpoint.over(pool.threshold(), now).map(load),
        "connections": endpoint.connections.load(Ordering::Relaxed),
        "idle_connections": endpoint.idle_connections.load(Ordering::Relaxed),
        "load_report": load_report(&endpoint.reporting, now),
        "reported": pool.reports().map(|_| reported(endpoint, &sum, now)),
    })
}

/// What its responses have said of its load.
fn reported(endpoint: &Endpoint, sum: &Sum, now: Nanos) -> Value {
    let [taken, useless, malformed] = sum.reports;
    json!({
        "utilisation": endpoint.reported.utilisation(),
        "age_s": endpoint.reported.last().map(|last| seconds(now.since(last))),
        "taken": taken,
        "useless": useless,
        "malformed": malformed,
    })
}

/// What the endpoint said last of its own load, where it is asked; silent = it does not say.
fn load_report(reporting: &Reporting, now: Nanos) -> Value {
    let silent = reporting.is_silent();
    match reporting.last() {
        Some((report, at)) => json!({
            "silent": silent,
            "in_flight": report.in_flight,
            "latency_s": report.latency_s,
            "age_s": seconds(now.since(at)),
        }),
        None if silent => json!({"silent": true, "in_flight": null, "latency_s": null, "age_s": null}),
        None => Value::Null,
    }
}

/// The part of its weight that an endpoint in slow start has.
fn starting(pool: &Pool, endpoint: &Endpoint, now: Nanos) -> Option<f32> {
    let factor = pool.start_factor(endpoint, now);
    (factor < 1.0 && endpoint.verdict() == Verdict::Healthy).then_some(factor)
}

fn load(over: Over) -> &'static str {
    match over {
        Over::Requests => "requests",
        Over::Latency => "latency",
        Over::BytesPerSecond => "bytes_per_second",
    }
}

fn seconds(span: Nanos) -> f64 {
    span.0 as f64 * 1e-9
}

/// What the workers have counted, together.
struct Sum {
    requests: u64,
    failures: u64,
    retries: u64,
    bytes_in: u64,
    bytes_out: u64,
    reports: [u64; 3],
    times: [u64; BUCKETS],
}

impl Sum {
    fn of<'a>(cells: impl Iterator<Item = &'a Cells>) -> Self {
        let mut sum = Self {
            requests: 0,
            failures: 0,
            retries: 0,
            bytes_in: 0,
            bytes_out: 0,
            reports: [0; 3],
            times: [0; BUCKETS],
        };
        for cells in cells {
            sum.requests += cells.requests.load(Ordering::Relaxed);
            sum.failures += cells.failures.load(Ordering::Relaxed);
            sum.retries += cells.retries.load(Ordering::Relaxed);
            sum.bytes_in += cells.bytes_in.load(Ordering::Relaxed);
            sum.bytes_out += cells.bytes_out.load(Ordering::Relaxed);
            for (sum, count) in sum.reports.iter_mut().zip(&cells.reports) {
                *sum += count.load(Ordering::Relaxed);
            }
            cells.times.add_to(&mut sum.times);
        }
        sum
    }
}
