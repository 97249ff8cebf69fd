//! What a document may say of listeners that carry connections or datagrams as they are.

use super::*;
use crate::document::{Hsts, ListenerProtocol, Load, Reported, ReportedAs, RetryOn};

const CARRYING: [ListenerProtocol; 2] = [ListenerProtocol::Tcp, ListenerProtocol::Udp];

/// Listener `db` of TCP beside `web`, with a pool of its own.
fn mixed() -> Document {
    with(|document| {
        let mut db = listener("db", ":5432");
        db.protocol = ListenerProtocol::Tcp;
        db.pool = Some("db".into());
        document.listeners.push(db);
        document.pools.push(pool("db", &["10.0.1.1:5432", "10.0.1.2:5432"]));
    })
}

fn refused_of(carried: ListenerProtocol, change: impl FnOnce(&mut Document), expected: &str, hint: &str) {
    refused(
        |document| {
            document.listeners[0].protocol = carried;
            if carried == ListenerProtocol::Udp {
                document.pools[0].health.interval_ms = None;
            }
            change(document);
        },
        expected,
        hint,
    );
}

#[test]
fn what_is_carried_comes_with_the_listener() {
    let snapshot = build(&mixed(), None);
    let carried = |name: &str| snapshot.listener(name).unwrap().protocol;
    assert_eq!((carried("web"), carried("db")), (ListenerProtocol::Http, ListenerProtocol::Tcp));
}

#[test]
fn http_is_spoken_where_nothing_is_said() {
    let listener: document::Listener = serde_json::from_str(
        r#"{"name": "web", "bind": [":80"], "pool": null, "trusted_proxies": [], "allow_encoded_slash": false,
            "limits": {"header_bytes_max": 1, "header_count_max": 1, "target_bytes_max": 1}, "timeouts": {}}"#,
    )
    .unwrap();
    assert_eq!(listener.protocol, ListenerProtocol::Http);
}

#[test]
fn what_belongs_to_http_is_refused_on_other_listeners() {
    for carried in CARRYING {
        let of = |change: Change<document::Listener>, expected: &str, hint: &str| {
            refused_of(carried, |document| change(&mut document.listeners[0]), expected, hint);
        };
        of(|one| one.redirect_https = Some(443), "listeners.web.redirect_https: a redirect", "take it out");
        of(|one| one.allow_encoded_slash = true, "listeners.web.allow_encoded_slash: a path", "take it out");
        of(
            |one| one.trusted_proxies = vec!["10.0.0.0/8".into()],
            "listeners.web.trusted_proxies: a field that says who a client is belongs to HTTP",
            "proxy_protocol = true",
        );
        of(|one| one.pool = None, "listeners.web: what comes here goes nowhere", "pool = \"app\"");
    }
    let hsts = || {
        let mut tls = super::tls::listener_tls();
        tls.hsts = Some(Hsts { max_age_ms: 1_000, include_subdomains: false, preload: false });
        Some(tls)
    };
    let expected = "listeners.web.tls.hsts: what browsers are told belongs to HTTP";
    refused_of(ListenerProtocol::Tcp, |document| document.listeners[0].tls = hsts(), expected, "take it out");
}

#[test]
fn over_tcp_any_protocol_may_be_agreed_on() {
    let with_alpn = |alpn: &str| {
        let mut tls = super::tls::listener_tls();
        tls.alpn = vec![alpn.into()];
        Some(tls)
    };
    let mut document = mixed();
    document.listeners[1].tls = with_alpn("postgresql");
    build(&document, None);
    refused_of(
        ListenerProtocol::Tcp,
        |document| document.listeners[0].tls = with_alpn(&"x".repeat(256)),
        "listeners.web.tls.alpn[0]: ",
        "1 to 255 bytes",
    );
    refused_of(
        ListenerProtocol::Udp,
        |document| document.listeners[0].tls = Some(super::tls::listener_tls()),
        "listeners.web.tls: TLS is not spoken in datagrams",
        "passes through",
    );
}

#[test]
fn a_route_of_such_a_listener_names_it_and_others_pass_it_by() {
    let to_app = || route(Action::Pool("app".into()));
    let mut document = mixed();
    let mut by_path = to_app();
    by_path.path = Some("/api/".into());
    document.routes = vec![by_path];
    build(&document, None);
    refused_of(
        ListenerProtocol::Tcp,
        |document| document.routes = vec![to_app()],
        "routes[0]: a route of a listener with protocol = \"tcp\" names it",
        "listener = \"web\"",
    );
}

#[test]
fn a_route_of_such_a_listener_goes_by_host_alone() {
    let of = |carried, change: Change<document::Route>, expected: &str| {
        let change = |document: &mut Document| {
            let mut route = route(Action::Pool("app".into()));
            route.listener = Some("web".into());
            change(&mut route);
            document.routes = vec![route];
        };
        let expected = format!("routes[0].{expected}");
        refused_of(carried, change, &expected, "");
    };
    for carried in CARRYING {
        of(
            carried,
            |route| route.path = Some("/api/".into()),
            "path: a path belongs to HTTP, and listener \"web\"",
        );
        of(carried, |route| _ = route.headers.insert("x-a".into(), "1".into()), "headers: a header field");
        of(carried, |route| _ = route.set_headers.insert("x-a".into(), "1".into()), "set_headers: a header");
        of(carried, |route| route.remove_headers = vec!["x-a".into()], "remove_headers: a header field");
        of(carried, |route| route.action = Action::Respond(404), "respond: a response belongs to HTTP");
        of(
            carried,
            |route| route.action = Action::Redirect("https://a.example/".into()),
            "redirect: a redirect",
        );
    }
    of(ListenerProtocol::Udp, |route| route.host = Some("a.example".into()), "host: datagrams do not say");
    let mut document = mixed();
    let mut by_name = route(Action::Split(vec![("app".into(), 1), ("db".into(), 2)]));
    by_name.listener = Some("db".into());
    by_name.host = Some("*.example.com".into());
    document.routes = vec![by_name];
    build(&document, None);
}

#[test]
fn a_pool_behind_it_goes_by_nothing_that_only_requests_have() {
    let of = |change: Change<document::Pool>, expected: &str, hint: &str| {
        for carried in CARRYING {
            refused_of(carried, |document| change(&mut document.pools[0]), expected, hint);
        }
    };
    let sticky = |pool: &mut document::Pool| {
        pool.policy = document::Policy { name: "sticky".into(), ..document::Policy::default() };
        pool.policy.secret = Some(serde_json::from_str(&format!("\"{}\"", "ab".repeat(32))).unwrap());
    };
    of(sticky, "pools.app.policy: sticky keeps sessions in cookies", "key = \"address\"");
    let by_cookie = |pool: &mut document::Pool| {
        pool.policy.name = "maglev".into();
        pool.policy.key = Some("cookie:sid".into());
    };
    of(by_cookie, "pools.app.policy.key: listener \"web\"", "key = \"address\"");
    let by_latency = |pool: &mut document::Pool| {
        pool.policy.name = "least_load".into();
        pool.load = Load::Latency;
    };
    of(by_latency, "pools.app.load: nothing measures response times", "a pool of its own");
    let reported = |pool: &mut document::Pool| {
        pool.reported = Some(Reported {
            used_as: ReportedAs::Weight,
            field: None,
            metric: None,
            expiration_ms: None,
            blackout_ms: None,
            error_penalty: None,
            pass: false,
        });
    };
    of(reported, "pools.app.reported: endpoints report their load in responses", "a pool of its own");
    of(
        |pool| pool.threshold.latency_ms = Some(5),
        "pools.app.threshold.latency: nothing measures",
        "its own",
    );
    refused_of(
        ListenerProtocol::Tcp,
        |document| {
            document.pools[0].protocol = Protocol::Auto;
            document.pools[0].tls = Some(super::tls::pool_tls());
        },
        "pools.app.protocol: what is spoken within TLS",
        "a pool of its own",
    );
    of(|pool| pool.retry.on = vec![RetryOn::ServerError], "pools.app.retry.on[0]: a status", "connecting");
    of(|pool| pool.retry.on = vec![RetryOn::Timeout], "pools.app.retry.on[0]: a response", "connecting");
    // The pool beside it may do all of that.
    let mut document = mixed();
    sticky(&mut document.pools[0]);
    build(&document, None);
}

#[test]
fn a_pool_that_is_reached_by_a_route_is_looked_at_too() {
    refused_of(
        ListenerProtocol::Tcp,
        |document| {
            document.pools.push(pool("other", &["10.0.2.1:80"]));
            document.pools[1].retry.on = vec![RetryOn::ServerError];
            let mut route = route(Action::Split(vec![("other".into(), 1)]));
            route.listener = Some("web".into());
            document.routes = vec![route];
        },
        "pools.other.retry.on[0]: ",
        "",
    );
}

#[test]
fn a_header_is_believed_of_somebody() {
    refused(
        |document| document.listeners[0].proxy_protocol = true,
        "listeners.web.proxy_protocol: nobody is believed",
        "trusted_proxies = [\"10.0.0.0/8\"]",
    );
    let mut document = mixed();
    for listener in &mut document.listeners {
        listener.proxy_protocol = true;
        listener.trusted_proxies = vec!["10.0.0.0/8".into()];
    }
    let snapshot = build(&document, None);
    assert!(snapshot.listeners.iter().all(|listener| listener.proxy_protocol));
    // Who may open a unix socket its permissions say.
    document = with(|document| {
        document.listeners[0].bind = vec!["unix:/run/web.sock".into()];
        document.listeners[0].proxy_protocol = true;
    });
    build(&document, None);
    let believing = |document: &mut Document| {
        document.listeners[0].proxy_protocol = true;
        document.listeners[0].trusted_proxies = vec!["10.0.0.0/8".into()];
    };
    refused_of(
        ListenerProtocol::Udp,
        believing,
        "listeners.web.proxy_protocol: datagrams do not",
        "take it out",
    );
}

#[test]
fn a_listener_knows_whether_it_has_to_know_the_host() {
    let with_host = |host: Option<&str>| {
        let mut document = mixed();
        let mut route = route(Action::Pool("app".into()));
        route.listener = Some("db".into());
        route.host = host.map(str::to_owned);
        document.routes = vec![route];
        build(&document, None).listener("db").unwrap().routes_by_host
    };
    assert!(with_host(Some("a.example")));
    assert!(!with_host(None));
}
