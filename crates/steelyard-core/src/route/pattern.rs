//! What a route asks of the host and of the path.

use crate::address::host_name;
use crate::problem::Refusal;
use regex::bytes::{Regex, RegexBuilder};
use std::net::IpAddr;

/// The memory that one compiled expression may take, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A host, or all below a domain.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HostPattern {
    /// In lower case, without port and trailing dot.
    Exact(Box<[u8]>),
    /// `".example.com"`, which must be preceded by something.
    Below(Box<[u8]>),
}

impl HostPattern {
    pub fn compile(text: &str) -> Result<Self, Refusal> {
        if text == "*" {
            return Err(Refusal::new("\"*\" is no host").hint("leave host away to match every one"));
        }
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self::Exact(host_of(address).into_bytes().into()));
        }
        if let Some((host, port)) = text.rsplit_once(':')
            && !port.contains(['/', ']'])
        {
            return Err(Refusal::new(format!("{text:?}: a host is matched without its port"))
                .hint(format!("write {host:?}")));
        }
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let name = host_name(name).map_err(|refusal| {
            refusal.hint("write a name, as \"example.com\", or all below one, as \"*.example.com\"")
        })?;
        if wildcard {
            return Ok(Self::Below(format!(".{name}").into_bytes().into()));
        }
        Ok(Self::Exact(name.into_bytes().into()))
    }

    /// `host` has no port; see [`without_port`].
    pub fn matches(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(name) => host.eq_ignore_ascii_case(name),
            Self::Below(domain) => host
                .len()
                .checked_sub(domain.len())
                .is_some_and(|length| length > 0 && host[length..].eq_ignore_ascii_case(domain)),
        }
    }
}

/// The address as it stands in a URL.
fn host_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// The host of an authority, without port and trailing dot; the brackets of an IPv6 address stay.
pub(crate) fn without_port(authority: &[u8]) -> &[u8] {
    let host = match authority.iter().rposition(|&byte| byte == b':' || byte == b']') {
        Some(colon) if authority[colon] == b':' => &authority[..colon],
        _ => authority,
    };
    host.strip_suffix(b".").unwrap_or(host)
}

/// A path, all that begin with it, or all that an expression finds something in.
#[derive(Debug)]
pub(super) enum PathPattern {
    Prefix(Box<[u8]>),
    Exact(Box<[u8]>),
    Regex(Regex),
}

impl PathPattern {
    pub fn compile(text: &str) -> Result<Self, Refusal> {
        if let Some(expression) = text.strip_prefix('~') {
            return regex(expression).map(Self::Regex);
        }
        let (exact, path) = match text.strip_prefix('=') {
            Some(path) => (true, path),
            None => (false, text),
        };
        if !path.starts_with('/') {
            let hint = format!("write \"{}/{path}\"", if exact { "=" } else { "" });
            return Err(Refusal::new(format!("{text:?}: a path begins with a slash")).hint(hint));
        }
        let normal = normal(path, if exact { "=" } else { "" })?;
        Ok(if exact { Self::Exact(normal) } else { Self::Prefix(normal) })
    }

    /// `path` is in the form for matching; see [`crate::path::for_matching`].
    pub fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Prefix(prefix) => path.starts_with(prefix),
            Self::Exact(exact) => path == &**exact,
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

/// A path that no request's path could equal would be a rule that never matches.
fn normal(path: &str, sign: &str) -> Result<Box<[u8]>, Refusal> {
    let (mut buffer, mut decoded) = (Vec::new(), Vec::new());
    let normal = crate::path::normalise(path.as_bytes(), true, &mut buffer)
        .map_err(|error| Refusal::new(format!("{path:?}: {error}")).hint("write it without a query"))?;
    let normal = crate::path::for_matching(normal, &mut decoded);
    if normal != path.as_bytes() {
        return Err(Refusal::new(format!("{path:?} is not in normal form, so no request would match it"))
            .hint(format!("write \"{sign}{}\"", String::from_utf8_lossy(normal))));
    }
    Ok(normal.into())
}

fn regex(expression: &str) -> Result<Regex, Refusal> {
    let mut builder = RegexBuilder::new(expression);
    builder.size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            Refusal::new("the expression is too large").hint("bound its repetitions, or use a prefix")
        }
        // The message draws the expression with a marker below; its last line says what is wrong.
        error => {
            let message = error.to_string();
            let why = message.lines().next_back().unwrap_or_default().trim_start_matches("error: ");
            Refusal::new(format!("the expression is broken: {why}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_matches(pattern: &str, authority: &str) -> bool {
        HostPattern::compile(pattern).unwrap().matches(without_port(authority.as_bytes()))
    }

    fn path_matches(pattern: &str, path: &str) -> bool {
        PathPattern::compile(pattern).unwrap().matches(path.as_bytes())
    }

    #[test]
    fn a_host_is_matched_without_case_port_and_trailing_dot() {
        for authority in ["example.com", "Example.COM", "example.com:8080", "example.com.", "example.com.:80"]
        {
            assert!(host_matches("example.com", authority), "{authority}");
            assert!(host_matches("EXAMPLE.com.", authority), "{authority}");
        }
        for authority in ["", "example.org", "www.example.com", "xexample.com", "example.com.evil", "com"] {
            assert!(!host_matches("example.com", authority), "{authority}");
        }
    }

    #[test]
    fn a_wildcard_is_everything_below_and_not_the_domain_itself() {
        for authority in ["a.example.com", "a.b.EXAMPLE.com:80", "a.example.com."] {
            assert!(host_matches("*.example.com", authority), "{authority}");
        }
        for authority in ["example.com", ".example.com", "aexample.com", "a.example.com.evil"] {
            assert!(!host_matches("*.example.com", authority), "{authority}");
        }
    }

    #[test]
    fn an_ip_address_is_a_host() {
        assert!(host_matches("10.0.0.1", "10.0.0.1:80"));
        for pattern in ["::1", "[::1]"] {
            assert!(host_matches(pattern, "[::1]:80"));
            assert!(host_matches(pattern, "[::1]"));
            assert!(!host_matches(pattern, "[::2]"));
        }
    }

    #[test]
    fn a_broken_host_says_what_to_write() {
        for (text, hint) in [
            ("*", "leave host away"),
            ("example.com:80", "write \"example.com\""),
            ("a.*.com", "\"*.example.com\""),
            ("*example.com", "\"*.example.com\""),
            ("http://example.com", "\"*.example.com\""),
            ("", "\"*.example.com\""),
            ("a b", "\"*.example.com\""),
        ] {
            let refusal = HostPattern::compile(text).unwrap_err();
            assert!(refusal.hint.as_ref().is_some_and(|given| given.contains(hint)), "{text:?}: {refusal:?}");
        }
    }

    #[test]
    fn prefix_exact_and_expression() {
        assert!(path_matches("/v1/", "/v1/users"));
        assert!(path_matches("/v1/", "/v1/"));
        assert!(!path_matches("/v1/", "/v1"));
        assert!(!path_matches("/v1/", "/x/v1/"));
        assert!(path_matches("=/a", "/a"));
        assert!(!path_matches("=/a", "/a/"));
        assert!(path_matches("~^/u/[0-9]+$", "/u/17"));
        assert!(!path_matches("~^/u/[0-9]+$", "/u/17/x"));
        assert!(path_matches("~[.]png$", "/a/b.png"));
    }

    #[test]
    fn a_broken_path_says_what_to_write() {
        for (text, message, hint) in [
            ("v1", "begins with a slash", "write \"/v1\""),
            ("=v1", "begins with a slash", "write \"=/v1\""),
            ("", "begins with a slash", "write \"/\""),
            ("/a/../b", "not in normal form", "write \"/b\""),
            ("/%61", "not in normal form", "write \"/a\""),
            ("/%40x/", "not in normal form", "write \"/@x/\""),
            ("/{x}/", "not in normal form", "write \"/%7Bx%7D/\""),
            ("=/\u{e9}", "not in normal form", "write \"=/%C3%A9\""),
            ("/\"<>", "not in normal form", "write \"/%22%3C%3E\""),
            ("/a?b=c", "must not", "without a query"),
            ("~(", "unclosed group", ""),
            ("~(?:a{1000}){1000}", "too large", "bound its repetitions"),
        ] {
            let refusal = PathPattern::compile(text).unwrap_err();
            assert!(refusal.message.contains(message), "{text:?}: {refusal}");
            assert!(refusal.hint.unwrap_or_default().contains(hint), "{text:?}");
        }
    }

    #[test]
    fn the_port_ends_after_the_brackets() {
        assert_eq!(without_port(b"[::1]"), b"[::1]");
        assert_eq!(without_port(b"[::1]:80"), b"[::1]");
        assert_eq!(without_port(b"a:80"), b"a");
        assert_eq!(without_port(b""), b"");
    }
}
