//! What belongs to HTTP, and so not to a listener that carries connections or datagrams as they are.

use super::listeners::claims;
use crate::document::{Action, Document, Listener, ListenerProtocol, Load, Pool, Protocol, RetryOn, Route};
use crate::key::KeySource;
use crate::problem::{Refusal, Report};

/// Checks every listener of layer 4, its routes, and the pools that it leads to.
pub(super) fn check(document: &Document, report: &mut Report) {
    let carrying =
        || document.listeners.iter().filter(|listener| listener.protocol != ListenerProtocol::Http);
    report.at("listeners", |report| {
        for listener in carrying() {
            let has_route = document.routes.iter().any(|route| claims(route, listener));
            report.at(listener.name.as_str(), |report| check_listener(listener, has_route, report));
        }
    });
    let speaks_http = document.listeners.iter().any(|listener| listener.protocol == ListenerProtocol::Http);
    report.at("routes", |report| {
        for (index, route) in document.routes.iter().enumerate() {
            report.at(index, |report| check_route(route, carrying(), speaks_http, report));
        }
    });
    report.at("pools", |report| {
        for pool in &document.pools {
            if let Some(listener) = carrying().find(|listener| leads(document, listener, &pool.name)) {
                report.at(pool.name.as_str(), |report| check_pool(pool, listener, report));
            }
        }
    });
}

/// Whether anything that comes to the listener may go to this pool.
pub(super) fn leads(document: &Document, listener: &Listener, pool: &str) -> bool {
    let by_route = |route: &Route| match &route.action {
        Action::Pool(name) => name == pool,
        Action::Split(shares) => shares.iter().any(|(name, _)| name == pool),
        Action::Redirect(_) | Action::Respond(_) => false,
    };
    listener.pool.as_deref() == Some(pool)
        || document.routes.iter().any(|route| claims(route, listener) && by_route(route))
}

/// Whether all that comes to this pool is carried as it is: what is spoken with its endpoints is not ours to say.
pub fn is_carried(document: &Document, pool: &str) -> bool {
    let mut leading = document.listeners.iter().filter(|one| leads(document, one, pool)).peekable();
    leading.peek().is_some() && leading.all(|one| one.protocol != ListenerProtocol::Http)
}

fn http_alone(what: &str) -> Refusal {
    Refusal::new(format!("{what} belongs to HTTP"))
}

fn check_listener(listener: &Listener, has_route: bool, report: &mut Report) {
    let carried = listener.protocol.as_str();
    let hint = format!("take it out, or protocol = {carried:?}");
    if listener.redirect_https.is_some() {
        report.refuse_at("redirect_https", http_alone("a redirect").hint(hint.clone()));
    }
    if listener.http3.is_some() {
        report.refuse_at("http3", http_alone("HTTP/3").hint(hint.clone()));
    }
    if listener.allow_encoded_slash {
        report.refuse_at("allow_encoded_slash", http_alone("a path").hint(hint.clone()));
    }
    if let Some(tls) = &listener.tls {
        report.at("tls", |report| {
            if tls.hsts.is_some() {
                report.refuse_at("hsts", http_alone("what browsers are told").hint(hint));
            }
        });
    }
    if listener.protocol == ListenerProtocol::Udp && listener.tls.is_some() {
        let refusal = Refusal::new("TLS is not spoken in datagrams");
        report.refuse_at(
            "tls",
            refusal.hint("take it out: what clients and endpoints agree on passes through"),
        );
    }
    if listener.protocol == ListenerProtocol::Udp && listener.proxy_protocol {
        let refusal = Refusal::new("datagrams do not begin with a header of the PROXY protocol");
        report.refuse_at("proxy_protocol", refusal.hint("take it out"));
    } else if !listener.proxy_protocol && !listener.trusted_proxies.is_empty() {
        let refusal = http_alone("a field that says who a client is");
        report.refuse_at(
            "trusted_proxies",
            refusal.hint("take it out, or write proxy_protocol = true beside it"),
        );
    }
    if listener.pool.is_none() && !has_route {
        let refusal = Refusal::new("what comes here goes nowhere");
        report.refuse(refusal.hint("write pool = \"app\""));
    }
}

fn check_route<'d>(
    route: &Route,
    mut carrying: impl Iterator<Item = &'d Listener>,
    speaks_http: bool,
    report: &mut Report,
) {
    let Some(name) = &route.listener else {
        if !speaks_http && let Some(listener) = carrying.next() {
            let carried = listener.protocol.as_str();
            let refusal = Refusal::new(format!("a route of a listener with protocol = {carried:?} names it"));
            report.refuse(refusal.hint(format!("write listener = {:?}", listener.name)));
        }
        return;
    };
    let Some(listener) = carrying.find(|listener| listener.name == *name) else { return };
    let carried = listener.protocol.as_str();
    let hint = match listener.protocol {
        ListenerProtocol::Udp => "such a route has pool or split, and nothing else",
        _ => "such a route has host, and pool or split, and nothing else",
    };
    let wrong = [
        ("path", "a path", route.path.is_some()),
        ("headers", "a header field", !route.headers.is_empty()),
        ("strip_prefix", "a path", route.strip_prefix),
        ("set_headers", "a header field", !route.set_headers.is_empty()),
        ("remove_headers", "a header field", !route.remove_headers.is_empty()),
        ("redirect", "a redirect", matches!(route.action, Action::Redirect(_))),
        ("respond", "a response", matches!(route.action, Action::Respond(_))),
    ];
    for (key, what, is_set) in wrong {
        if is_set {
            let message = format!("{what} belongs to HTTP, and listener {name:?} has protocol = {carried:?}");
            report.refuse_at(key, Refusal::new(message).hint(hint));
        }
    }
    if listener.protocol == ListenerProtocol::Udp && route.host.is_some() {
        let refusal = Refusal::new("datagrams do not say which host they are for");
        report.refuse_at("host", refusal.hint("take it out"));
    }
}

/// What a pool cannot do for connections or datagrams of which it sees nothing but where they come from.
fn check_pool(pool: &Pool, listener: &Listener, report: &mut Report) {
    let carried = listener.protocol.as_str();
    let whose = format!("listener {:?} (protocol = {carried:?})", listener.name);
    let hint = "take it out, or give that listener a pool of its own";
    let refuse = |key: &str, message: String, report: &mut Report| {
        report.refuse_at(key, Refusal::new(message).hint(hint));
    };
    let policy = &pool.policy;
    if policy.name == "sticky" {
        let refusal = Refusal::new(format!("sticky keeps sessions in cookies, and {whose} sees none"));
        report.refuse_at(
            "policy",
            refusal.hint("bounded_hash with key = \"address\" ties a client to an endpoint"),
        );
    } else if let Some(Ok(source)) = policy.key.as_ref().map(|key| key.parse::<KeySource>())
        && source != KeySource::Address
    {
        report.at("policy", |report| {
            let refusal = Refusal::new(format!("{whose} sees nothing of a client but its address"));
            report.refuse_at("key", refusal.hint("write key = \"address\""));
        });
    }
    if pool.reported.is_some() || pool.load == Load::Reported {
        let key = if pool.reported.is_some() { "reported" } else { "load" };
        refuse(key, format!("endpoints report their load in responses, and {whose} sees none"), report);
    }
    if matches!(pool.protocol, Protocol::H2 | Protocol::Auto) {
        refuse(
            "protocol",
            format!("what is spoken within TLS is not for us to agree on for {whose}"),
            report,
        );
    }
    if pool.load == Load::Latency {
        refuse("load", format!("nothing measures response times for {whose}"), report);
    }
    report.at("threshold", |report| {
        if pool.threshold.latency_ms.is_some() {
            refuse("latency", format!("nothing measures response times for {whose}"), report);
        }
    });
    report.at("retry", |report| {
        report.at("on", |report| {
            for (index, cause) in pool.retry.on.iter().enumerate() {
                let what = match cause {
                    RetryOn::ServerError => "a status",
                    RetryOn::Timeout => "a response",
                    RetryOn::Connect | RetryOn::ResetBeforeResponse => continue,
                };
                let refusal = Refusal::new(format!("{what} is nothing that {whose} sees"));
                report.refuse_at(index, refusal.hint("there only connecting is tried again"));
            }
        });
    });
}
