//! A listener as the workers use it: where it accepts, what it lets through, where requests go.

use crate::address::Bind;
use crate::document::{Hsts, Http3, ListenerLimits, ListenerProtocol, ListenerTimeouts, ListenerTls};
use crate::prepared::Prepared;
use crate::route::{Router, without_port};
use crate::trusted::Trusted;

/// The port that a URL need not name.
const HTTPS_PORT: u16 = 443;

/// One listener of a snapshot.
#[derive(Debug)]
pub struct Listener {
    /// Unique in its snapshot.
    pub name: String,
    /// Where it accepts; at least one, none in conflict with another of the snapshot.
    pub binds: Vec<Bind>,
    /// What is carried.
    pub protocol: ListenerProtocol,
    /// Datagrams that come back for each of a client's, after which a session ends; not 0.
    pub responses: Option<u32>,
    /// Bounds on what a client may send; none is 0.
    pub limits: ListenerLimits,
    /// How long a client may take; none is 0.
    pub timeouts: ListenerTimeouts,
    /// Whose forwarding headers are believed.
    pub trusted: Trusted,
    /// Whether connections of those, and of unix sockets, begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Whether a route goes by the host, so that it has to be known.
    pub routes_by_host: bool,
    /// Whether an escaped slash in a path is let through; see [`crate::path::normalise`].
    pub allow_encoded_slash: bool,
    /// TLS towards clients; `None` = clear text.
    pub tls: Option<ListenerTls>,
    /// What TLS needs, once it has been loaded.
    pub prepared: Prepared,
    /// The value of `Strict-Transport-Security`; empty for none.
    pub hsts: Box<[u8]>,
    /// HTTP/3 over UDP on the same addresses; `None` = it is not spoken.
    pub http3: Option<Http3>,
    /// The port that every request is sent to over TLS; `None` = requests are served.
    pub redirect_https: Option<u16>,
    /// Which request goes where.
    pub router: Router,
}

/// Writes where a request goes over HTTPS: the same host, another port. `false` where it names no host. `path` and
/// `query` are as they are sent on.
pub fn https_location(
    authority: &[u8],
    port: u16,
    path: &[u8],
    query: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> bool {
    let host = without_port(authority);
    if host.is_empty() {
        return false;
    }
    out.extend_from_slice(b"https://");
    out.extend_from_slice(host);
    if port != HTTPS_PORT {
        out.extend_from_slice(format!(":{port}").as_bytes());
    }
    // What asks of the server as a whole (`*`) has no path.
    out.extend_from_slice(if path == b"*" { b"/" } else { path });
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    true
}

/// The value of `Strict-Transport-Security` (RFC 6797 section 6.1).
pub(crate) fn hsts_value(hsts: &Hsts) -> String {
    let mut value = format!("max-age={}", hsts.max_age_ms / 1000);
    if hsts.include_subdomains {
        value.push_str("; includeSubDomains");
    }
    if hsts.preload {
        value.push_str("; preload");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_found_over_https() {
        let location = |authority: &str, port, path: &str, query: Option<&str>| {
            let mut out = Vec::new();
            let query = query.map(str::as_bytes);
            https_location(authority.as_bytes(), port, path.as_bytes(), query, &mut out)
                .then(|| String::from_utf8(out).unwrap())
        };
        assert_eq!(location("a.example:80", 443, "/x", Some("q=1")).unwrap(), "https://a.example/x?q=1");
        assert_eq!(location("[::1]:8080", 8443, "/", None).unwrap(), "https://[::1]:8443/");
        assert_eq!(location("a.example", 443, "*", None).unwrap(), "https://a.example/");
        assert_eq!(location("", 443, "/", None), None);
        assert_eq!(location(":80", 443, "/", None), None);
    }

    #[test]
    fn hsts_is_written_as_browsers_read_it() {
        let mut hsts = Hsts { max_age_ms: 63_072_000_000, include_subdomains: false, preload: false };
        assert_eq!(hsts_value(&hsts), "max-age=63072000");
        hsts = Hsts { max_age_ms: 1_999, include_subdomains: true, preload: true };
        assert_eq!(hsts_value(&hsts), "max-age=1; includeSubDomains; preload");
    }
}
