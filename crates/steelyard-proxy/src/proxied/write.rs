//! Writing a header, for endpoints that are to know who the client is.

use super::{Addresses, SIGNATURE, Whence};
use crate::transport::Facts;
use std::net::{IpAddr, SocketAddr};
pub use steelyard_core::document::ProxyVersion as Version;

// What the extensions are called (section 2.2).
const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;
// What is known of the client: it came over TLS, it showed a certificate on this connection, and in this session.
const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERT_CONN: u8 = 0x02;
const CLIENT_CERT_SESS: u8 = 0x04;

/// What an endpoint is told of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// Where it came from.
    pub whence: Whence<'a>,
    /// What was agreed on and proved, where TLS ended here.
    pub facts: Option<&'a Facts>,
    /// The name that it asks for, where TLS passes through.
    pub name: Option<&'a str>,
}

/// Writes a header.
pub fn write(version: Version, told: Told<'_>, out: &mut Vec<u8>) {
    match version {
        Version::V1 => line(told.whence.addresses(), out),
        Version::V2 => binary(told.whence.addresses(), told.facts, told.name, out),
    }
}

/// Writes the header of a connection that is nobody's but our own, such as a probe.
pub fn local(version: Version, out: &mut Vec<u8>) {
    match version {
        Version::V1 => line(None, out),
        Version::V2 => {
            out.extend_from_slice(SIGNATURE);
            out.extend_from_slice(&[0x20, 0, 0, 0]);
        }
    }
}

fn line(addresses: Option<Addresses>, out: &mut Vec<u8>) {
    let Some(Addresses { source, destination }) = addresses.map(of_one_family) else {
        return out.extend_from_slice(b"PROXY UNKNOWN\r\n");
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.port(), destination.port());
    let line = format!("PROXY {family} {} {} {from} {to}\r\n", source.ip(), destination.ip());
    out.extend_from_slice(line.as_bytes());
}

fn binary(addresses: Option<Addresses>, facts: Option<&Facts>, name: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    // Of a client without an address there is nothing to relay; some endpoints refuse a command to relay nothing.
    out.push(if addresses.is_some() { 0x21 } else { 0x20 });
    let addresses = addresses.map(of_one_family);
    out.push(match addresses {
        None => 0x00,
        Some(addresses) if addresses.source.is_ipv4() => 0x11,
        Some(_) => 0x21,
    });
    let length_at = out.len();
    out.extend_from_slice(&[0, 0]);
    if let Some(Addresses { source, destination }) = addresses {
        octets(source.ip(), out);
        octets(destination.ip(), out);
        out.extend_from_slice(&source.port().to_be_bytes());
        out.extend_from_slice(&destination.port().to_be_bytes());
    }
    match (facts, name) {
        (Some(facts), _) => extensions(facts, out),
        (None, Some(name)) => extension(AUTHORITY, name.as_bytes(), out),
        (None, None) => {}
    }
    fill_in(length_at, out);
}

fn extensions(facts: &Facts, out: &mut Vec<u8>) {
    if let Some(alpn) = &facts.alpn {
        extension(ALPN, alpn, out);
    }
    if let Some(name) = &facts.server_name {
        extension(AUTHORITY, name.as_bytes(), out);
    }
    out.push(SSL);
    let length_at = out.len();
    out.extend_from_slice(&[0, 0]);
    let identity = facts.identity.as_deref();
    out.push(CLIENT_SSL | identity.map_or(0, |_| CLIENT_CERT_CONN | CLIENT_CERT_SESS));
    // 0 says that there is a certificate and that it was verified: no other comes through a handshake.
    out.extend_from_slice(&u32::from(identity.is_none()).to_be_bytes());
    extension(SSL_VERSION, facts.version.as_bytes(), out);
    if !facts.cipher.is_empty() {
        extension(SSL_CIPHER, facts.cipher.as_bytes(), out);
    }
    if let Some(name) = identity.and_then(|identity| identity.common_name.as_deref()) {
        extension(SSL_CN, name.as_bytes(), out);
    }
    fill_in(length_at, out);
}

fn extension(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    // Names and protocols are bounded by what TLS lets through; see `Identity` for the rest.
    let value = &value[..value.len().min(1024)];
    out.push(kind);
    let length_at = out.len();
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(value);
    fill_in(length_at, out);
}

/// Writes how much has come since into the two bytes kept for that.
fn fill_in(length_at: usize, out: &mut [u8]) {
    let length = u16::try_from(out.len() - length_at - 2).unwrap_or(u16::MAX);
    out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
}

/// Both addresses as IPv4 where they are, else both as IPv6: a header has one family for them.
fn of_one_family(addresses: Addresses) -> Addresses {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (source, destination) = (canonical(addresses.source), canonical(addresses.destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return Addresses { source, destination };
    }
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    Addresses { source: mapped(source), destination: mapped(destination) }
}

fn octets(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use proptest::prelude::*;

    fn addresses(source: &str, destination: &str) -> Addresses {
        Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn written(version: Version, addresses: Option<Addresses>) -> Vec<u8> {
        let mut out = Vec::new();
        match version {
            Version::V1 => line(addresses, &mut out),
            Version::V2 => binary(addresses, None, None, &mut out),
        }
        out
    }

    #[test]
    fn a_line_is_as_the_others_write_it() {
        let line = |source, destination| {
            String::from_utf8(written(Version::V1, Some(addresses(source, destination)))).unwrap()
        };
        assert_eq!(line("192.0.2.1:1", "198.51.100.2:80"), "PROXY TCP4 192.0.2.1 198.51.100.2 1 80\r\n");
        assert_eq!(line("[2001:db8::1]:1", "[::1]:80"), "PROXY TCP6 2001:db8::1 ::1 1 80\r\n");
        // A client of IPv4 that came to a socket of both.
        let both = line("[::ffff:192.0.2.1]:1", "[::ffff:198.51.100.2]:80");
        assert_eq!(both, "PROXY TCP4 192.0.2.1 198.51.100.2 1 80\r\n");
        assert_eq!(line("192.0.2.1:1", "[::1]:80"), "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 80\r\n");
        assert_eq!(written(Version::V1, None), b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn what_is_our_own_says_so() {
        let mut out = Vec::new();
        local(Version::V2, &mut out);
        assert_eq!(out, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
        out.clear();
        local(Version::V1, &mut out);
        assert_eq!(out, b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn a_client_without_an_address_is_nobody_s_to_relay() {
        assert_eq!(written(Version::V2, None), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    }

    #[test]
    fn what_was_agreed_on_is_told() {
        let facts = Facts {
            version: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384",
            resumed: false,
            server_name: Some("a.example".into()),
            alpn: Some((*b"h2").into()),
            identity: None,
        };
        let mut out = Vec::new();
        let addresses = Some(addresses("192.0.2.1:1", "198.51.100.2:80"));
        binary(addresses, Some(&facts), None, &mut out);
        assert_eq!(&out[12..16], [0x21, 0x11, 0, out.len() as u8 - 16]);
        let rest = [
            &b"\x01\x00\x02h2"[..],
            b"\x02\x00\x09a.example",
            b"\x20\x00\x28\x01\x00\x00\x00\x01",
            b"\x21\x00\x07TLSv1.3",
            b"\x23\x00\x16TLS_AES_256_GCM_SHA384",
        ];
        assert_eq!(&out[28..], rest.concat());
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(v1: bool, source: ([u8; 16], u16), destination: ([u8; 16], u16)) {
            let of = |(octets, port): ([u8; 16], u16)| SocketAddr::new(IpAddr::from(octets), port);
            let addresses = Addresses { source: of(source), destination: of(destination) };
            let version = if v1 { Version::V1 } else { Version::V2 };
            let out = written(version, Some(addresses));
            let header = read(&out).unwrap().unwrap();
            prop_assert_eq!(header.bytes, out.len());
            let found = header.addresses.unwrap();
            prop_assert_eq!(found.source.ip().to_canonical(), addresses.source.ip().to_canonical());
            prop_assert_eq!(found.source.port(), addresses.source.port());
            prop_assert_eq!(found.destination.ip().to_canonical(), addresses.destination.ip().to_canonical());
        }
    }
}
