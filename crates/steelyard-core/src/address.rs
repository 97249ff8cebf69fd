//! Addresses as people write them: where a listener binds and where an endpoint is found.

use crate::problem::Refusal;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The longest path of a unix socket that the kernel takes, in bytes.
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// Where a listener accepts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bind {
    /// `":8080"`: every address of both families; IPv4 alone where IPv6 is off. Port 0 = any free one.
    Any {
        /// The port, for both families.
        port: u16,
    },
    /// `"1.2.3.4:80"` or `"[::1]:80"`; `"[::]:80"` is IPv6 alone.
    Socket(SocketAddr),
    /// `"unix:/path"`.
    Unix(PathBuf),
}

/// Where an endpoint is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// `"10.0.0.1:8080"` or `"[::1]:8080"`.
    Socket(SocketAddr),
    /// `"unix:/path"`.
    Unix(PathBuf),
    /// `"app.internal:8080"`, which stands for every address that the name has.
    Name {
        /// In lower case, without a trailing dot.
        host: String,
        /// Never 0.
        port: u16,
    },
}

impl Bind {
    /// Whether both cannot be bound at once. Port 0 never conflicts.
    pub fn conflicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(a), Self::Unix(b)) => a == b,
            (Self::Unix(_), _) | (_, Self::Unix(_)) => false,
            (Self::Any { port }, other) | (other, Self::Any { port }) => {
                *port != 0 && other.port() == Some(*port)
            }
            (Self::Socket(a), Self::Socket(b)) => {
                let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
                a.port() != 0 && a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && overlap
            }
        }
    }

    /// The port, where there is one; 0 = any.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Any { port } => Some(*port),
            Self::Socket(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl FromStr for Bind {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        if let Some(path) = unix_path(text)? {
            return Ok(Self::Unix(path));
        }
        let (host, port) = host_and_port(text, Role::Bind)?;
        match host {
            "" => Ok(Self::Any { port }),
            "*" => Err(Refusal::new(format!("{text:?} is no address"))
                .hint(format!("write \":{port}\" for all of them"))),
            host => match ip(host)? {
                Some(ip) => Ok(Self::Socket(SocketAddr::new(ip, port))),
                None => Err(Refusal::new(format!("a listener binds an IP address, and {host:?} is a name"))
                    .hint(bind_hint(host, port))),
            },
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any { port } => write!(f, ":{port}"),
            Self::Socket(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for EndpointAddress {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        if let Some(path) = unix_path(text)? {
            return Ok(Self::Unix(path));
        }
        let (host, port) = host_and_port(text, Role::Endpoint)?;
        if port == 0 {
            return Err(Refusal::new(format!("{text:?}: an endpoint cannot have port 0"))
                .hint("write the port that it listens on"));
        }
        if host.is_empty() {
            return Err(
                Refusal::new(format!("{text:?} has no host")).hint(format!("write \"127.0.0.1:{port}\""))
            );
        }
        match ip(host)? {
            Some(ip) if ip.is_unspecified() => {
                Err(Refusal::new(format!("{text:?} is where a server listens, not where it is found"))
                    .hint(format!("write \"127.0.0.1:{port}\" for this machine")))
            }
            Some(ip) => Ok(Self::Socket(SocketAddr::new(ip, port))),
            None => Ok(Self::Name { host: host_name(host)?, port }),
        }
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// A host name in lower case without its trailing dot, if it is one: labels of letters, digits, `-` and `_`.
///
/// The underscore is in no host name of the RFCs, but in many a name of a container.
pub(crate) fn host_name(host: &str) -> Result<String, Refusal> {
    let name = host.strip_suffix('.').unwrap_or(host);
    let label_is_sound = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label_is_sound) {
        return Err(Refusal::new(format!("{host:?} is no host name")));
    }
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(Refusal::new(format!("{host:?} is no IPv4 address")));
    }
    Ok(name.to_ascii_lowercase())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Bind,
    Endpoint,
}

fn unix_path(text: &str) -> Result<Option<PathBuf>, Refusal> {
    let Some(path) = text.strip_prefix("unix:") else {
        if text.starts_with('/') {
            return Err(Refusal::new(format!("{text:?} is a path")).hint(format!("write \"unix:{text}\"")));
        }
        return Ok(None);
    };
    if !path.starts_with('/') || path.starts_with("//") {
        return Err(Refusal::new(format!("{text:?}: the path of a unix socket must be absolute"))
            .hint("write \"unix:/run/app.sock\""));
    }
    if path.contains('\0') {
        return Err(Refusal::new(format!("{text:?}: a path cannot hold a NUL")));
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        return Err(Refusal::new(format!(
            "the path of a unix socket is {} bytes long; the system takes {UNIX_PATH_BYTES_MAX}",
            path.len()
        )));
    }
    Ok(Some(Path::new(path).to_owned()))
}

/// Splits `host:port`; the host may still be empty, bracketed or nonsense.
fn host_and_port(text: &str, role: Role) -> Result<(&str, u16), Refusal> {
    if text.is_empty() {
        return Err(Refusal::new("the address is empty").hint(example(role)));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Refusal::new(format!("{text:?} holds white space")).hint(example(role)));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
        let has_port = rest.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let meant = if has_port { rest.to_owned() } else { format!("{rest}:{port}") };
        return Err(Refusal::new(format!("{text:?} is a URL; an address is HOST:PORT"))
            .hint(format!("write {meant:?}")));
    }
    if text.contains(['/', '?', '#', '@']) {
        return Err(Refusal::new(format!("{text:?} is more than HOST:PORT")).hint(example(role)));
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Err(Refusal::new(format!("{text:?} has no port, or its IPv6 address no brackets"))
            .hint(format!("write \"[{address}]:8080\"")));
    }
    let Some((host, port)) = text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) else {
        return Err(missing_port(text, role));
    };
    if port.is_empty() {
        return Err(missing_port(host, role));
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err(Refusal::new(format!("{text:?}: an IPv6 address stands in brackets"))
            .hint(format!("write \"[{host}]:{port}\"")));
    }
    Ok((host, port_number(text, port)?))
}

fn port_number(text: &str, port: &str) -> Result<u16, Refusal> {
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(
            Refusal::new(format!("{text:?}: {port:?} is no port")).hint("a port is a number up to 65535")
        );
    }
    port.parse().map_err(|_| {
        Refusal::new(format!("{text:?}: port {port} is out of range")).hint("the highest is 65535")
    })
}

/// The address, where `host` is a bare IPv4 or a bracketed IPv6 one; `None` where it may be a name.
fn ip(host: &str) -> Result<Option<IpAddr>, Refusal> {
    let Some(inner) = host.strip_prefix('[') else {
        return Ok(host.parse::<Ipv4Addr>().ok().map(IpAddr::V4));
    };
    inner
        .strip_suffix(']')
        .and_then(|inner| inner.parse::<Ipv6Addr>().ok())
        .map(|address| Some(IpAddr::V6(address).to_canonical()))
        .ok_or_else(|| Refusal::new(format!("{host:?} is no IPv6 address")))
}

fn missing_port(host: &str, role: Role) -> Refusal {
    let refusal = Refusal::new(format!("{host:?} has no port"));
    if host.bytes().all(|byte| byte.is_ascii_digit()) && role == Role::Bind && host.parse::<u16>().is_ok() {
        return refusal.hint(format!("write \":{host}\""));
    }
    refusal.hint(format!("write \"{host}:8080\""))
}

fn bind_hint(host: &str, port: u16) -> String {
    if host.eq_ignore_ascii_case("localhost") {
        return format!("write \"127.0.0.1:{port}\"");
    }
    format!("write \":{port}\" for every address of this machine")
}

fn example(role: Role) -> &'static str {
    match role {
        Role::Bind => "write \":8080\", \"127.0.0.1:8080\", \"[::1]:8080\" or \"unix:/run/app.sock\"",
        Role::Endpoint => "write \"10.0.0.1:8080\", \"[::1]:8080\", \"name:8080\" or \"unix:/run/app.sock\"",
    }
}

#[cfg(test)]
mod tests;
