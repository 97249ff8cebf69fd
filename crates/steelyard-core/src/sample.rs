//! Sound documents for tests, which change one thing at a time.

use crate::document::{
    Action, Connections, Document, Endpoint, Health, Listener, ListenerLimits, ListenerProtocol,
    ListenerTimeouts, Load, Policy, Pool, PoolTimeouts, Protocol, Queue, Retry, RetryOn, Route, Threshold,
};
use std::collections::BTreeMap;

/// Listener `web` on `:8080` in front of pool `app` with two endpoints.
pub(crate) fn document() -> Document {
    Document {
        workers: None,
        zone: None,
        drain_timeout_ms: 25_000,
        listeners: vec![listener("web", ":8080")],
        routes: Vec::new(),
        pools: vec![pool("app", &["10.0.0.1:80", "10.0.0.2:80"])],
    }
}

/// The document with one thing changed.
pub(crate) fn with(change: impl FnOnce(&mut Document)) -> Document {
    let mut document = document();
    change(&mut document);
    document
}

/// A listener in front of pool `app`.
pub(crate) fn listener(name: &str, bind: &str) -> Listener {
    Listener {
        name: name.into(),
        bind: vec![bind.into()],
        protocol: ListenerProtocol::Http,
        pool: Some("app".into()),
        trusted_proxies: Vec::new(),
        proxy_protocol: false,
        allow_encoded_slash: false,
        tls: None,
        responses: None,
        http3: None,
        redirect_https: None,
        limits: ListenerLimits {
            connections: None,
            header_bytes_max: 65_536,
            header_count_max: 100,
            target_bytes_max: 8_192,
            streams_max: 128,
            resets_max: 200,
            control_frames_max: 1_000,
        },
        timeouts: ListenerTimeouts {
            handshake_ms: Some(10_000),
            request_header_ms: Some(10_000),
            request_body_ms: Some(30_000),
            idle_ms: Some(60_000),
        },
    }
}

/// A route for every request on every listener.
pub(crate) fn route(action: Action) -> Route {
    Route {
        listener: None,
        host: None,
        path: None,
        headers: BTreeMap::new(),
        action,
        strip_prefix: false,
        set_headers: BTreeMap::new(),
        remove_headers: Vec::new(),
    }
}

/// An endpoint of weight 1.
pub(crate) fn endpoint(address: &str) -> Endpoint {
    Endpoint { address: address.into(), weight: 1, drain: false, priority: 0, zone: None }
}

/// A pool with the defaults of the manual.
pub(crate) fn pool(name: &str, addresses: &[&str]) -> Pool {
    Pool {
        name: name.into(),
        policy: Policy { name: "least_request".into(), ..Policy::default() },
        load: Load::Requests,
        reported: None,
        endpoints: addresses.iter().map(|address| endpoint(address)).collect(),
        protocol: Protocol::Http1,
        send_proxy: None,
        fail_open: true,
        panic_threshold: None,
        subset: None,
        slow_start: None,
        tls: None,
        threshold: Threshold { requests: None, latency_ms: None, bytes_per_second: None },
        queue: Queue { size: Some(1024), timeout_ms: Some(5_000) },
        health: Health {
            path: None,
            udp: None,
            port: None,
            grpc: None,
            host: None,
            interval_ms: Some(5_000),
            timeout_ms: 2_000,
            rise: 2,
            fall: 3,
            expect_status: vec![(200, 399)],
        },
        connections: Connections { idle_timeout_ms: Some(4_000), idle_max: 64, max: None },
        timeouts: PoolTimeouts {
            connect_ms: Some(2_000),
            response_ms: Some(30_000),
            idle_ms: Some(60_000),
            tunnel_ms: Some(3_600_000),
            total_ms: None,
        },
        retry: Retry {
            attempts: 2,
            on: vec![RetryOn::Connect, RetryOn::ResetBeforeResponse],
            body_bytes_max: 65_536,
            budget: Some(0.2),
        },
    }
}
