//! What a document may say of TLS.

use super::*;
use crate::document::{
    Certificate, ClientAuth, Hsts, Http3, ListenerProtocol, ListenerTls, PoolTls, TlsVersion,
};

pub(super) fn listener_tls() -> ListenerTls {
    ListenerTls {
        certificates: vec![Certificate { cert: "/site.pem".into(), key: "/site.key".into() }],
        alpn: vec!["http/1.1".into()],
        min_version: TlsVersion::Tls12,
        client_ca: None,
        client_auth: None,
        tickets: true,
        session_cache: Some(1024),
        hsts: None,
    }
}

pub(super) fn pool_tls() -> PoolTls {
    PoolTls {
        verify: true,
        ca: None,
        server_name: None,
        cert: None,
        key: None,
        min_version: TlsVersion::Tls12,
    }
}

fn refused_in_front(change: impl FnOnce(&mut ListenerTls), expected: &str, hint: &str) {
    let mut tls = listener_tls();
    change(&mut tls);
    refused(|document| document.listeners[0].tls = Some(tls), expected, hint);
}

fn refused_behind(change: impl FnOnce(&mut PoolTls), expected: &str, hint: &str) {
    let mut tls = pool_tls();
    change(&mut tls);
    refused(|document| document.pools[0].tls = Some(tls), expected, hint);
}

#[test]
fn a_listener_needs_certificates_and_protocols_that_there_are() {
    build(&with(|document| document.listeners[0].tls = Some(listener_tls())), None);
    let at = |rest: &str| format!("listeners.web.tls.{rest}");
    refused_in_front(|tls| tls.certificates.clear(), &at("certificates: there is no"), "site.pem");
    refused_in_front(|tls| tls.alpn.push("spdy".into()), &at("alpn[1]: the protocol \"spdy\""), "http/1.1");
    for said in [ClientAuth::Optional, ClientAuth::Required] {
        refused_in_front(|tls| tls.client_auth = Some(said), &at("client_auth: "), "client_ca");
    }
    refused_in_front(|tls| tls.session_cache = Some(0), &at("session_cache: 0"), "off");
    refused_in_front(|tls| tls.session_cache = Some(u32::MAX), &at("session_cache: "), "the most");
    let hsts = Hsts { max_age_ms: 1000, include_subdomains: false, preload: true };
    refused_in_front(|tls| tls.hsts = Some(hsts), &at("hsts: "), "include_subdomains");
}

#[test]
fn only_clear_text_is_sent_to_https() {
    build(&with(|document| document.listeners[0].redirect_https = Some(443)), None);
    let zero = |document: &mut Document| document.listeners[0].redirect_https = Some(0);
    refused(zero, "listeners.web.redirect_https: 0 is no port", "true");
    let both = |document: &mut Document| {
        document.listeners[0].tls = Some(listener_tls());
        document.listeners[0].redirect_https = Some(443);
    };
    refused(both, "listeners.web.redirect_https: this listener speaks TLS", "");
}

#[test]
fn http3_needs_tls_an_address_and_for_early_data_a_memory() {
    let plain = Http3 { early_data: false, advertise: true, port: None };
    let over_tls = |http3: Http3| {
        move |document: &mut Document| {
            document.listeners[0].tls = Some(listener_tls());
            document.listeners[0].http3 = Some(http3);
        }
    };
    build(&with(over_tls(Http3 { early_data: true, port: Some(443), ..plain.clone() })), None);
    let clear = |document: &mut Document| document.listeners[0].http3 = Some(plain.clone());
    refused(clear, "listeners.web.http3: HTTP/3 is spoken over TLS alone", "[listeners.NAME.tls]");
    let nowhere = |document: &mut Document| {
        over_tls(plain.clone())(document);
        document.listeners[0].bind = vec!["unix:/web.sock".into()];
    };
    refused(nowhere, "listeners.web.http3: HTTP/3 needs an address", ":443");
    let carried = |document: &mut Document| {
        document.listeners[0].protocol = ListenerProtocol::Tcp;
        document.listeners[0].http3 = Some(plain.clone());
    };
    refused(carried, "listeners.web.http3: HTTP/3 belongs to HTTP", "take it out");
    let zero = over_tls(Http3 { port: Some(0), ..plain.clone() });
    refused(zero, "listeners.web.http3.alt_svc: 0 is no port", "true");
    let forgets = |document: &mut Document| {
        over_tls(Http3 { early_data: true, ..plain.clone() })(document);
        document.listeners[0].tls.as_mut().expect("TLS").session_cache = None;
    };
    refused(forgets, "listeners.web.http3.early_data: early data needs sessions", "session_cache");
    let believes = |document: &mut Document| {
        over_tls(plain.clone())(document);
        document.listeners[0].proxy_protocol = true;
        document.listeners[0].trusted_proxies = vec!["10.0.0.0/8".into()];
    };
    refused(believes, "listeners.web.http3: over QUIC no PROXY header comes", "take it out");
    let beside_datagrams = |document: &mut Document| {
        over_tls(plain.clone())(document);
        let mut dns = listener("dns", &document.listeners[0].bind[0]);
        dns.protocol = ListenerProtocol::Udp;
        document.listeners.push(dns);
    };
    refused(beside_datagrams, "listeners.dns.bind[0]: ", "cannot share an address");
    refused_in_front(
        |tls| tls.alpn = vec!["h3".into()],
        "listeners.web.tls.alpn[0]: the protocol \"h3\" is not spoken here",
        "http3 = true",
    );
}

#[test]
fn a_pool_says_one_thing_of_whom_it_believes() {
    build(&with(|document| document.pools[0].tls = Some(pool_tls())), None);
    let at = |rest: &str| format!("pools.app.tls.{rest}");
    let neither = |tls: &mut PoolTls| {
        tls.verify = false;
        tls.ca = Some("/ca.pem".into());
    };
    refused_behind(neither, &at("ca: nothing is verified"), "verify");
    refused_behind(|tls| tls.cert = Some("/us.pem".into()), &at("key: "), "us.key");
    refused_behind(|tls| tls.key = Some("/us.key".into()), &at("cert: "), "us.pem");
    refused_behind(|tls| tls.server_name = Some("a:443".into()), &at("server_name: "), "without a port");
    let nameless = |document: &mut Document| {
        document.pools[0].endpoints = vec![endpoint("unix:/app.sock")];
        document.pools[0].tls = Some(pool_tls());
    };
    refused(nameless, &at("server_name: unix:/app.sock has no name"), "app.internal");
}

#[test]
fn an_endpoint_that_has_to_prove_another_name_is_another() {
    let secured = |name: Option<&str>| {
        let tls = PoolTls { server_name: name.map(Into::into), ..pool_tls() };
        with(|document| document.pools[0].tls = Some(tls))
    };
    let clear = build(&sample::document(), None);
    let first = build(&secured(None), Some(&clear));
    let same = build(&secured(None), Some(&first));
    let pinned = build(&secured(Some("app.internal")), Some(&same));
    let of = |snapshot: &Snapshot| Arc::clone(&snapshot.pools[0].members()[0].endpoint);
    assert!(!Arc::ptr_eq(&of(&clear), &of(&first)));
    assert!(Arc::ptr_eq(&of(&first), &of(&same)));
    assert!(!Arc::ptr_eq(&of(&same), &of(&pinned)));
}

#[test]
fn what_is_agreed_on_in_a_handshake_needs_one() {
    let speaking = |protocol, tls: Option<PoolTls>| {
        move |document: &mut Document| {
            document.pools[0].protocol = protocol;
            document.pools[0].tls = tls;
        }
    };
    for protocol in [Protocol::Http1, Protocol::H2, Protocol::Auto] {
        build(&with(speaking(protocol, Some(pool_tls()))), None);
    }
    let at = |rest: &str| format!("pools.app.protocol: {rest}");
    refused(speaking(Protocol::H2, None), &at("\"h2\" is HTTP/2 over TLS"), "tls = true");
    refused(speaking(Protocol::Auto, None), &at("\"auto\" is decided within a handshake"), "\"h2c\"");
    refused(speaking(Protocol::H2c, Some(pool_tls())), &at("\"h2c\" is HTTP/2 in clear text"), "\"h2\"");
}
