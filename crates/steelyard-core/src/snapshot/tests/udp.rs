//! What a document may say of listeners that carry datagrams, and of their pools.

use super::*;
use crate::document::ListenerProtocol;

/// The sample document, its listener carrying datagrams.
fn udp(change: impl FnOnce(&mut Document)) -> impl FnOnce(&mut Document) {
    move |document| {
        document.listeners[0].protocol = ListenerProtocol::Udp;
        document.pools[0].health.interval_ms = None;
        change(document);
    }
}

#[test]
fn sessions_end_after_so_many_responses() {
    let snapshot = build(&with(udp(|document| document.listeners[0].responses = Some(2))), None);
    assert_eq!(snapshot.listener("web").unwrap().responses, Some(2));
    refused(
        udp(|document| document.listeners[0].responses = Some(0)),
        "listeners.web.responses: 0",
        "\"off\"",
    );
    refused(
        |document| document.listeners[0].responses = Some(1),
        "listeners.web.responses: only sessions of datagrams",
        "protocol = \"udp\"",
    );
}

#[test]
fn an_address_of_tcp_is_none_of_udp() {
    let twice = |second: ListenerProtocol| {
        udp(move |document| {
            document.listeners.push(listener("other", ":8080"));
            document.listeners[1].protocol = second;
        })
    };
    build(&with(twice(ListenerProtocol::Http)), None);
    refused(twice(ListenerProtocol::Udp), "listeners.other.bind[0]: :8080 conflicts with :8080 of web", "");
}

#[test]
fn what_datagrams_cannot_have_is_refused() {
    refused(
        udp(|document| document.listeners[0].bind = vec!["unix:/run/a.sock".into()]),
        "listeners.web.bind[0]: datagrams do not come by a unix socket",
        ":53",
    );
    refused(
        udp(|document| document.pools[0].endpoints[1].address = "unix:/run/a.sock".into()),
        "pools.app.endpoints[1]: listener \"web\" (protocol = \"udp\") cannot send datagrams to a unix socket",
        "10.0.0.1:53",
    );
    refused(
        udp(|document| document.listeners[0].timeouts.idle_ms = None),
        "listeners.web.timeouts.idle: a session of datagrams has no other end",
        "60s",
    );
}

#[test]
fn tcp_connects_alone_say_nothing_of_datagrams() {
    let probed = |change: fn(&mut document::Health)| {
        udp(move |document| {
            document.pools[0].health.interval_ms = Some(5_000);
            change(&mut document.pools[0].health);
        })
    };
    refused(probed(|_| {}), "pools.app.health: whether a port accepts TCP", "port = 8080");
    for said in [
        (|health| health.port = Some(8_080)) as fn(&mut document::Health),
        |health| health.path = Some("/".into()),
        |health| health.udp = Some("00".into()),
    ] {
        build(&with(probed(said)), None);
    }
    // Where connections come too a connect says something.
    let both = udp(|document| {
        document.pools[0].health.interval_ms = Some(5_000);
        document.listeners.push(listener("web2", ":8081"));
    });
    build(&with(both), None);
}

#[test]
fn the_payload_of_a_probe_is_bytes() {
    for wrong in ["", "0", "0g", "zz"] {
        refused(
            udp(|document| document.pools[0].health.udp = Some(wrong.into())),
            "pools.app.health.udp: ",
            "",
        );
    }
    let long = "00".repeat(1_201);
    refused(
        udp(|document| document.pools[0].health.udp = Some(long)),
        "pools.app.health.udp: a probe of",
        "1200",
    );
    let both = udp(|document| {
        document.pools[0].health.udp = Some("00".into());
        document.pools[0].health.path = Some("/".into());
    });
    refused(both, "pools.app.health.udp: a probe sends a datagram or a request", "");
    refused(udp(|document| document.pools[0].health.port = Some(0)), "pools.app.health.port: 0", "65535");
}
