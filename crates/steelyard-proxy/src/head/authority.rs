//! Host and port, as in the Host field, an absolute-form target and `:authority`.

use std::net::Ipv6Addr;

/// Whether this is `uri-host [ ":" port ]` (RFC 9110 section 7.2) with a host in it.
///
/// Stricter than the grammar where that is only ever used to confuse: no comma (two Host fields folded into one),
/// no user information (RFC 9110 section 4.2.4), no `IPvFuture`, no zone, a port within 16 bits.
pub fn authority_is_valid(authority: &[u8]) -> bool {
    if let Some(rest) = authority.strip_prefix(b"[") {
        let Some(close) = memchr::memchr(b']', rest) else { return false };
        let (host, after) = (&rest[..close], &rest[close + 1..]);
        return is_ipv6(host) && (after.is_empty() || after.strip_prefix(b":").is_some_and(is_port));
    }
    match memchr::memchr(b':', authority) {
        Some(colon) => is_registered_name(&authority[..colon]) && is_port(&authority[colon + 1..]),
        None => is_registered_name(authority),
    }
}

fn is_ipv6(host: &[u8]) -> bool {
    std::str::from_utf8(host).is_ok_and(|host| host.parse::<Ipv6Addr>().is_ok())
}

/// The grammar lets the digits be missing.
fn is_port(port: &[u8]) -> bool {
    port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
        && port.iter().fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0')) <= 0xffff
}

fn is_registered_name(host: &[u8]) -> bool {
    if host.is_empty() {
        return false;
    }
    let mut rest = host;
    loop {
        let plain = rest.iter().position(|&byte| !PLAIN[usize::from(byte)]).unwrap_or(rest.len());
        rest = match &rest[plain..] {
            [] => return true,
            [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            _ => return false,
        };
    }
}

/// The bytes of a registered name that stand for themselves, but for the comma.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < plain.len() {
        plain[byte] = matches!(
            byte as u8,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'='
        ) || (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    plain
};

#[cfg(test)]
mod tests {
    use super::authority_is_valid;

    #[test]
    fn hosts_with_and_without_port_are_valid() {
        for sound in
            ["a", "example.com", "example.com:8080", "a_b.c", "127.0.0.1:80", "[::1]", "[2001:db8::1]:443"]
        {
            assert!(authority_is_valid(sound.as_bytes()), "{sound}");
        }
        assert!(authority_is_valid(b"example.com:"), "an empty port is in the grammar");
        assert!(authority_is_valid(b"caf%C3%A9.example"));
    }

    #[test]
    fn everything_else_is_not() {
        let unsound = [
            "",
            ":80",
            "a b",
            "a,b",
            "user@host",
            "a/b",
            "a:b",
            "a:80:81",
            "a:65536",
            "a:000080",
            "a:-1",
            "[::1",
            "[]",
            "[::1]80",
            "[::1%eth0]",
            "[v1.x]",
            "::1",
            "a%zz",
            "a%2",
            "a\\b",
            "a#b",
            "a?b",
            "caf\u{e9}",
            "a\0",
            "a\t",
            "<a>",
        ];
        for unsound in unsound {
            assert!(!authority_is_valid(unsound.as_bytes()), "{unsound:?}");
        }
    }
}
