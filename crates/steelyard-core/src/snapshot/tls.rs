//! What makes TLS sound, as far as no file has to be read.

use super::refuse_zero;
use crate::address::EndpointAddress;
use crate::document::{Listener, ListenerProtocol, ListenerTls, Pool, PoolTls, Protocol};
use crate::problem::{Refusal, Report};

/// The protocols that can be agreed on.
const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];
/// The longest name of a protocol (RFC 7301 section 3.1).
const ALPN_BYTES_MAX: usize = 255;
/// Sessions that a listener may remember; each takes up to some kilobytes.
const SESSION_CACHE_MAX: u32 = 1 << 20;
/// The longest name of a host.
const HOST_BYTES_MAX: usize = 253;

/// Checks what a listener says of TLS.
pub(super) fn check_listener(config: &Listener, report: &mut Report) {
    if config.redirect_https == Some(0) {
        let refusal = Refusal::new("0 is no port");
        report.refuse_at("redirect_https", refusal.hint("write true, or the port of the listener with TLS"));
    }
    check_http3(config, report);
    let Some(tls) = &config.tls else { return };
    if config.redirect_https.is_some() {
        let refusal = Refusal::new("this listener speaks TLS already");
        report.refuse_at("redirect_https", refusal.hint("write it in the listener that does not"));
    }
    report.at("tls", |report| check_listener_tls(tls, config.protocol, report));
}

fn check_http3(config: &Listener, report: &mut Report) {
    // Of others than HTTP it is told elsewhere.
    let Some(http3) = config.http3.as_ref().filter(|_| config.protocol == ListenerProtocol::Http) else {
        return;
    };
    if config.tls.is_none() {
        let refusal = Refusal::new("HTTP/3 is spoken over TLS alone");
        report
            .refuse_at("http3", refusal.hint("add [listeners.NAME.tls] with certificates, or take this out"));
    }
    if config.bind.iter().all(|bind| bind.starts_with("unix:")) && !config.bind.is_empty() {
        let refusal = Refusal::new("HTTP/3 needs an address, and this listener has unix sockets alone");
        report.refuse_at("http3", refusal.hint("add an address to bind, such as \":443\""));
    }
    let remembers = config.tls.as_ref().is_none_or(|tls| tls.session_cache.is_some());
    report.at("http3", |report| {
        if http3.port == Some(0) {
            report.refuse_at("alt_svc", Refusal::new("0 is no port").hint("write true, or a port"));
        }
        if http3.early_data && !remembers {
            let refusal =
                Refusal::new("early data needs sessions that are remembered here, and are used once");
            report.refuse_at("early_data", refusal.hint("take out session_cache = \"off\""));
        }
    });
}

fn check_listener_tls(tls: &ListenerTls, carried: ListenerProtocol, report: &mut Report) {
    if tls.certificates.is_empty() {
        let refusal = Refusal::new("there is no certificate");
        let hint = "write certificates = [{ cert = \"site.pem\", key = \"site.key\" }]";
        report.refuse_at("certificates", refusal.hint(hint));
    }
    report.at("alpn", |report| {
        for (index, protocol) in tls.alpn.iter().enumerate() {
            // What a connection carries that is passed on as it is only its endpoints know.
            if carried != ListenerProtocol::Http {
                if protocol.is_empty() || protocol.len() > ALPN_BYTES_MAX {
                    let refusal =
                        Refusal::new(format!("{protocol:?} is no protocol that could be agreed on"));
                    report.refuse_at(index, refusal.hint(format!("write 1 to {ALPN_BYTES_MAX} bytes")));
                }
            } else if !PROTOCOLS.contains(&protocol.as_str()) {
                let refusal = Refusal::new(format!("the protocol {protocol:?} is not spoken here"));
                let hint = match protocol.as_str() {
                    "h3" => "it is agreed on over UDP: write http3 = true in the listener".to_owned(),
                    _ => format!("there is {}", PROTOCOLS.join(", ")),
                };
                report.refuse_at(index, refusal.hint(hint));
            }
        }
    });
    if tls.client_ca.is_none() && tls.client_auth.is_some() {
        let refusal = Refusal::new("clients are not asked who they are");
        report.refuse_at("client_auth", refusal.hint("write client_ca = \"clients.pem\" beside it"));
    }
    match tls.session_cache {
        Some(0) => refuse_zero("session_cache", Some(0), report),
        Some(size) if size > SESSION_CACHE_MAX => {
            let refusal = Refusal::new(format!("{size} sessions are too many"));
            report.refuse_at("session_cache", refusal.hint(format!("the most is {SESSION_CACHE_MAX}")));
        }
        _ => {}
    }
    if tls.hsts.as_ref().is_some_and(|hsts| hsts.preload && !hsts.include_subdomains) {
        let refusal = Refusal::new("browsers build in only what holds for all names below too");
        report.refuse_at("hsts", refusal.hint("write include_subdomains = true beside preload"));
    }
}

/// Checks what a pool says of TLS; `endpoints` are its addresses.
pub(super) fn check_pool<'a>(
    config: &Pool,
    mut endpoints: impl Iterator<Item = &'a EndpointAddress>,
    report: &mut Report,
) {
    let Some(tls) = &config.tls else { return check_clear_text(config, report) };
    if config.protocol == Protocol::H2c {
        let refusal =
            Refusal::new("\"h2c\" is HTTP/2 in clear text, and these endpoints are spoken to over TLS");
        report.refuse_at("protocol", refusal.hint("write \"h2\", or take tls out of the pool"));
    }
    report.at("tls", |report| {
        check_pool_tls(tls, report);
        let nameless = endpoints.find(|address| matches!(address, EndpointAddress::Unix(_)));
        if let (Some(address), None) = (nameless, &tls.server_name) {
            let refusal = Refusal::new(format!("{address} has no name that it could prove"));
            report.refuse_at("server_name", refusal.hint("write server_name = \"app.internal\""));
        }
    });
}

/// What is agreed on within a handshake of TLS takes TLS.
fn check_clear_text(config: &Pool, report: &mut Report) {
    let refusal = match config.protocol {
        Protocol::Http1 | Protocol::H2c => return,
        Protocol::H2 => Refusal::new("\"h2\" is HTTP/2 over TLS, and this pool has no tls")
            .hint("write tls = true beside it, or \"h2c\" for HTTP/2 in clear text"),
        Protocol::Auto => {
            Refusal::new("\"auto\" is decided within a handshake of TLS, and this pool has no tls")
                .hint("write tls = true beside it, or \"h2c\" for HTTP/2 in clear text")
        }
    };
    report.refuse_at("protocol", refusal);
}

fn check_pool_tls(tls: &PoolTls, report: &mut Report) {
    if !tls.verify && tls.ca.is_some() {
        let refusal = Refusal::new("nothing is verified, so that no authority is asked");
        report.refuse_at("ca", refusal.hint("take out verify = false, or this"));
    }
    match (&tls.cert, &tls.key) {
        (Some(_), None) => {
            report.refuse_at(
                "key",
                Refusal::new("the certificate lacks its key").hint("write key = \"us.key\""),
            );
        }
        (None, Some(_)) => {
            let refusal = Refusal::new("the key lacks its certificate");
            report.refuse_at("cert", refusal.hint("write cert = \"us.pem\""));
        }
        _ => {}
    }
    if let Some(name) = &tls.server_name
        && !is_host(name)
    {
        let refusal = Refusal::new(format!("{name:?} is no name of a host"));
        report.refuse_at("server_name", refusal.hint("write \"app.internal\", without a port"));
    }
}

/// A name of a host or an address, without a port.
fn is_host(name: &str) -> bool {
    if name.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= HOST_BYTES_MAX && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for name in ["app.internal", "a", "10.0.0.1", "::1", "a_b.example"] {
            assert!(is_host(name), "{name}");
        }
        for name in ["", "app:443", "https://a", "a..b", "*.example", "a b", "-a", "a."] {
            assert!(!is_host(name), "{name}");
        }
    }
}
