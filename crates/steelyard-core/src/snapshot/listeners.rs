//! What makes a listener and its routes sound.

use super::{check_name, layer4, refuse_zero, tls, udp, zero};
use crate::address::Bind;
use crate::document::{self, Document, ListenerProtocol};
use crate::problem::{Refusal, Report, did_you_mean};
use crate::route::{Rule, find};
use crate::trusted::{self, Trusted};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Bytes of a request head: below, no browser's request fits; above, one client could hold too much memory.
const HEADER_BYTES: RangeInclusive<u32> = 256..=1 << 20;
/// Fields of a request head, which are walked more than once.
const HEADER_COUNT: RangeInclusive<u32> = 1..=1000;
/// Bytes of a request target.
const TARGET_BYTES: RangeInclusive<u32> = 1..=1 << 20;

/// Requests at once on one HTTP/2 connection, each of which may take a buffer.
const STREAMS: RangeInclusive<u32> = 1..=10_000;
/// Requests that an HTTP/2 client may cancel.
const RESETS: RangeInclusive<u32> = 1..=1_000_000;
/// Frames without content: below, no client would come through its first request.
const CONTROL_FRAMES: RangeInclusive<u32> = 100..=10_000_000;

/// A listener with its texts parsed.
pub(super) struct ListenerPlan<'d> {
    pub config: &'d document::Listener,
    pub binds: Vec<Bind>,
    pub trusted: Trusted,
    pub rules: Vec<Arc<Rule>>,
    pub fallback: Option<usize>,
}

/// Plans every listener and the routes; what is broken is in the report.
pub(super) fn plan<'d>(document: &'d Document, report: &mut Report) -> Vec<ListenerPlan<'d>> {
    let pools: Vec<&str> = document.pools.iter().map(|pool| pool.name.as_str()).collect();
    let mut listeners = report.at("listeners", |report| plan_listeners(&document.listeners, &pools, report));
    report.at("routes", |report| {
        for (index, route) in document.routes.iter().enumerate() {
            report.at(index, |report| plan_route(route, &pools, &mut listeners, report));
        }
    });
    layer4::check(document, report);
    udp::check(document, report);
    listeners
}

fn plan_listeners<'d>(
    configs: &'d [document::Listener],
    pools: &[&str],
    report: &mut Report,
) -> Vec<ListenerPlan<'d>> {
    if configs.is_empty() {
        report.refuse(
            Refusal::new("there is no listener").hint("write [listeners.web] and bind = [\":8080\"]"),
        );
    }
    let mut taken = BTreeSet::new();
    let mut plans: Vec<ListenerPlan<'d>> = Vec::with_capacity(configs.len());
    for config in configs {
        let plan = report.at(config.name.as_str(), |report| {
            check_name("listener", &config.name, &mut taken, report);
            check_bounds(config, report);
            tls::check_listener(config, report);
            let binds = report.at("bind", |report| binds(config, &plans, report));
            check_proxies(config, &binds, report);
            ListenerPlan {
                config,
                binds,
                trusted: report.at("trusted_proxies", |report| networks(config, report)),
                rules: Vec::new(),
                fallback: config.pool.as_ref().and_then(|pool| report.keep("pool", find(pool, pools))),
            }
        });
        plans.push(plan);
    }
    plans
}

fn plan_route(
    route: &document::Route,
    pools: &[&str],
    listeners: &mut [ListenerPlan<'_>],
    report: &mut Report,
) {
    let rule = Rule::compile(route, pools, report).map(Arc::new);
    let mut claimed = listeners.iter_mut().filter(|listener| claims(route, listener.config)).peekable();
    if let (None, Some(name)) = (claimed.peek(), &route.listener) {
        let known = listeners.iter().map(|listener| listener.config.name.as_str());
        let message = format!("there is no listener {name:?}");
        return report.refuse_at("listener", Refusal { message, hint: did_you_mean(name, known) });
    }
    for listener in claimed {
        listener.rules.extend(rule.clone());
    }
}

/// Whether requests of this listener are held against this route. What is carried as it is has routes that name their
/// listener: otherwise each of them would have to wait until a client has said where it wants to go.
pub(super) fn claims(route: &document::Route, listener: &document::Listener) -> bool {
    match &route.listener {
        Some(name) => *name == listener.name,
        None => listener.protocol == ListenerProtocol::Http,
    }
}

/// The binds of one listener, of which none may conflict with another or with those of the listeners before.
fn binds(config: &document::Listener, before: &[ListenerPlan<'_>], report: &mut Report) -> Vec<Bind> {
    if config.bind.is_empty() {
        report.refuse(Refusal::new("the listener has no address").hint("write bind = [\":8080\"]"));
    }
    let mut binds: Vec<Bind> = Vec::with_capacity(config.bind.len());
    for (index, text) in config.bind.iter().enumerate() {
        let Some(bind) = report.keep(index, text.parse::<Bind>()) else { continue };
        // An address of TCP and one of UDP are two.
        let others = before
            .iter()
            .filter(|plan| share_ports(plan.config, config))
            .map(|plan| (plan.config.name.as_str(), plan.binds.as_slice()));
        let taken = others
            .chain([(config.name.as_str(), binds.as_slice())])
            .find_map(|(name, others)| Some((name, others.iter().find(|other| bind.conflicts(other))?)));
        if let Some((name, other)) = taken {
            let whose = if name == config.name { "this listener" } else { name };
            let message = format!("{bind} conflicts with {other} of {whose}");
            report.refuse_at(index, Refusal::new(message).hint("two listeners cannot share an address"));
        }
        binds.push(bind);
    }
    binds
}

/// A header says who a client is: whoever could write one would be whoever they like.
fn check_proxies(config: &document::Listener, binds: &[Bind], report: &mut Report) {
    let has_unix = binds.iter().any(|bind| matches!(bind, Bind::Unix(_)));
    if config.proxy_protocol && config.trusted_proxies.is_empty() && !has_unix {
        let refusal = Refusal::new("nobody is believed who says who a client is");
        report
            .refuse_at("proxy_protocol", refusal.hint("write trusted_proxies = [\"10.0.0.0/8\"] beside it"));
    }
    if config.proxy_protocol && config.http3.is_some() {
        let refusal =
            Refusal::new("over QUIC no PROXY header comes, and clients would be whoever sends for them");
        report.refuse_at("http3", refusal.hint("take it out, or give HTTP/3 a listener of its own"));
    }
}

/// Whether two listeners have their ports among the same: HTTP/3 takes those of UDP, too.
fn share_ports(one: &document::Listener, other: &document::Listener) -> bool {
    let is_udp = |config: &document::Listener| config.protocol == ListenerProtocol::Udp;
    let has_udp = |config: &document::Listener| is_udp(config) || config.http3.is_some();
    is_udp(one) == is_udp(other) || (has_udp(one) && has_udp(other))
}

fn networks(config: &document::Listener, report: &mut Report) -> Trusted {
    let texts = config.trusted_proxies.iter().enumerate();
    texts.filter_map(|(index, text)| report.keep(index, trusted::network(text))).collect()
}

fn check_bounds(config: &document::Listener, report: &mut Report) {
    let limits = &config.limits;
    report.at("limits", |report| {
        if limits.connections == Some(0) {
            report.refuse_at("connections", zero("write \"auto\" to be bounded by descriptors"));
        }
        within("header_bytes", limits.header_bytes_max, HEADER_BYTES, report);
        within("header_count", limits.header_count_max, HEADER_COUNT, report);
        within("streams", limits.streams_max, STREAMS, report);
        within("resets", limits.resets_max, RESETS, report);
        within("control_frames", limits.control_frames_max, CONTROL_FRAMES, report);
        within("target_bytes", limits.target_bytes_max, TARGET_BYTES, report);
    });
    let timeouts = &config.timeouts;
    report.at("timeouts", |report| {
        refuse_zero("handshake", timeouts.handshake_ms, report);
        refuse_zero("request_header", timeouts.request_header_ms, report);
        refuse_zero("request_body", timeouts.request_body_ms, report);
        refuse_zero("idle", timeouts.idle_ms, report);
    });
}

fn within(key: &str, value: u32, bounds: RangeInclusive<u32>, report: &mut Report) {
    if !bounds.contains(&value) {
        let (low, high) = bounds.into_inner();
        report.refuse_at(
            key,
            Refusal::new(format!("{value} is out of bounds")).hint(format!("it may be {low} to {high}")),
        );
    }
}
