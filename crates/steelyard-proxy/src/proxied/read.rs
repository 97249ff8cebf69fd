//! Reading a header. What is not exactly one is refused: whatever came instead must not pass for what a client says.

use super::{Addresses, SIGNATURE};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;
/// What begins a header of version 1.
const LINE_START: &[u8] = b"PROXY ";
/// The part of version 2 that every header has.
const FIXED_BYTES: usize = 16;
/// The longest header that is read; one of version 2 could claim 64 KiB of what nobody asked for.
pub const HEADER_BYTES_MAX: usize = 4 * 1024;

/// What is no header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its bytes; what is behind them is the client's.
    pub bytes: usize,
    /// Who the client is; `None` where the header says that it is the balancer itself, or of a kind without an address.
    pub addresses: Option<Addresses>,
}

/// Reads the header that `bytes` begin with; `None` while more must come.
pub fn read(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => line(bytes),
        Some(_) => binary(bytes),
    }
}

fn line(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let start = bytes.len().min(LINE_START.len());
    if bytes[..start] != LINE_START[..start] {
        return Err(Malformed("neither version of the PROXY protocol"));
    }
    let seen = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n") else {
        if seen.len() == LINE_BYTES_MAX {
            return Err(Malformed("a line that does not end"));
        }
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[LINE_START.len().min(end)..end])
        .map_err(|_| Malformed("a line that is no text"))?;
    let addresses = match text.split(' ').next() {
        // What follows is to be ignored.
        Some("UNKNOWN") => None,
        _ => Some(words(text)?),
    };
    Ok(Some(Header { bytes: end + 2, addresses }))
}

fn words(text: &str) -> Result<Addresses, Malformed> {
    let words: Vec<&str> = text.split(' ').collect();
    let [family, source, destination, from, to] = words[..] else {
        return Err(Malformed("a line without five words"));
    };
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::from).map_err(|_| Malformed("no IPv4 address")),
        "TCP6" => text.parse::<Ipv6Addr>().map(IpAddr::from).map_err(|_| Malformed("no IPv6 address")),
        _ => Err(Malformed("an unknown family")),
    };
    Ok(Addresses {
        source: SocketAddr::new(address(source)?, port(from)?),
        destination: SocketAddr::new(address(destination)?, port(to)?),
    })
}

/// A port in decimal digits, without zeros in front.
fn port(text: &str) -> Result<u16, Malformed> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(Malformed("no port"))
}

fn binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let start = bytes.len().min(SIGNATURE.len());
    if bytes[..start] != SIGNATURE[..start] {
        return Err(Malformed("neither version of the PROXY protocol"));
    }
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if FIXED_BYTES + length > HEADER_BYTES_MAX {
        return Err(Malformed("a header that is too long"));
    }
    if fixed[12] >> 4 != 2 {
        return Err(Malformed("a version of the PROXY protocol that nobody knows"));
    }
    let is_local = match fixed[12] & 0xf {
        0 => true,
        1 => false,
        _ => return Err(Malformed("an unknown command")),
    };
    let Some(rest) = bytes[FIXED_BYTES..].get(..length) else { return Ok(None) };
    let addresses = if is_local { None } else { block(fixed[13], rest)? };
    Ok(Some(Header { bytes: FIXED_BYTES + length, addresses }))
}

/// The addresses of version 2, and what follows them.
fn block(family: u8, rest: &[u8]) -> Result<Option<Addresses>, Malformed> {
    let (addresses, extensions) = match family {
        // Over TCP or UDP.
        0x11 | 0x12 => {
            let block: &[u8; 12] = rest.first_chunk().ok_or(Malformed("addresses that are cut short"))?;
            let (source, destination) = (ipv4(block, 0), ipv4(block, 4));
            (Some(pair(source, destination, &block[8..])), &rest[12..])
        }
        0x21 | 0x22 => {
            let block: &[u8; 36] = rest.first_chunk().ok_or(Malformed("addresses that are cut short"))?;
            let (source, destination) = (ipv6(block, 0), ipv6(block, 16));
            (Some(pair(source, destination, &block[32..])), &rest[36..])
        }
        // Unix sockets have no address that anybody could use; of an unspecified kind nothing is known.
        0x31 | 0x32 => (None, rest.get(216..).ok_or(Malformed("addresses that are cut short"))?),
        0x00 => return Ok(None),
        _ => return Err(Malformed("an unknown family")),
    };
    check(extensions)?;
    Ok(addresses)
}

fn ipv4(block: &[u8; 12], at: usize) -> IpAddr {
    Ipv4Addr::new(block[at], block[at + 1], block[at + 2], block[at + 3]).into()
}

fn ipv6(block: &[u8; 36], at: usize) -> IpAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&block[at..at + 16]);
    Ipv6Addr::from(octets).into()
}

fn pair(source: IpAddr, destination: IpAddr, ports: &[u8]) -> Addresses {
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    Addresses { source: SocketAddr::new(source, port(0)), destination: SocketAddr::new(destination, port(2)) }
}

/// Whether the extensions fill their room exactly: a header that does not add up may be hiding something.
fn check(mut extensions: &[u8]) -> Result<(), Malformed> {
    while !extensions.is_empty() {
        let [_, high, low, rest @ ..] = extensions else {
            return Err(Malformed("an extension that is cut short"));
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        extensions = rest.get(length..).ok_or(Malformed("an extension that is cut short"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(line: &str) -> Result<Option<Header>, Malformed> {
        read(line.as_bytes())
    }

    fn from(header: Result<Option<Header>, Malformed>) -> (usize, String, String) {
        let header = header.unwrap().unwrap();
        let Addresses { source, destination } = header.addresses.unwrap();
        (header.bytes, source.to_string(), destination.to_string())
    }

    fn in_binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        header.extend(rest);
        header
    }

    const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x1f, 0x90, 0x01, 0xbb];

    #[test]
    fn a_line_says_who_comes() {
        let (bytes, source, destination) = from(text("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET"));
        assert_eq!((bytes, &*source, &*destination), (45, "192.0.2.1:56324", "198.51.100.2:443"));
        let (_, source, destination) = from(text("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n"));
        assert_eq!((&*source, &*destination), ("[2001:db8::1]:0", "[::1]:65535"));
        for unknown in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 whatever 1 2\r\n"] {
            let header = text(unknown).unwrap().unwrap();
            assert_eq!((header.bytes, header.addresses), (unknown.len(), None));
        }
    }

    #[test]
    fn a_line_that_is_none_is_refused() {
        for wrong in [
            "PROXX",
            "PROXY\tTCP4",
            "proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n",
            "PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n",
            "PROXY \r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n",
            "GET / HTTP/1.1\r\n",
        ] {
            let outcome = text(wrong);
            if wrong.ends_with("2\n") {
                assert_eq!(outcome, Ok(None), "it may still go on");
            } else {
                assert!(outcome.is_err(), "{wrong:?} gave {outcome:?}");
            }
        }
        assert_eq!(
            text(&format!("PROXY UNKNOWN {}", "x".repeat(200))),
            Err(Malformed("a line that does not end"))
        );
    }

    #[test]
    fn the_binary_form_says_who_comes() {
        let mut header = in_binary(0x21, 0x11, &IPV4);
        header.extend(b"the client's");
        let (bytes, source, destination) = from(read(&header));
        assert_eq!((bytes, &*source, &*destination), (28, "192.0.2.1:8080", "198.51.100.2:443"));
        let mut block = [0u8; 36];
        block[0] = 0x20;
        block[31] = 1;
        block[35] = 7;
        let (_, source, destination) = from(read(&in_binary(0x21, 0x21, &block)));
        assert_eq!((&*source, &*destination), ("[2000::]:0", "[::1]:7"));
        let extended = [&IPV4[..], &[0x04, 0, 2, 9, 9]].concat();
        assert_eq!(from(read(&in_binary(0x21, 0x11, &extended))).0, 33);
    }

    #[test]
    fn the_binary_form_may_say_nothing() {
        for (command, family, rest) in [
            (0x20, 0x00, &[][..]),
            (0x20, 0x11, &IPV4),
            (0x20, 0xff, b"abc"),
            (0x21, 0x00, b"x"),
            (0x21, 0x31, &[0; 216]),
        ] {
            let header = read(&in_binary(command, family, rest)).unwrap().unwrap();
            assert_eq!((header.bytes, header.addresses), (16 + rest.len(), None));
        }
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        for (command, family, rest) in [
            (0x11, 0x11, &IPV4[..]),
            (0x22, 0x11, &IPV4),
            (0x21, 0x41, &IPV4),
            (0x21, 0x13, &IPV4),
            (0x21, 0x11, &IPV4[..11]),
            (0x21, 0x21, &IPV4),
            (0x21, 0x31, &IPV4),
            (0x21, 0x11, &[&IPV4[..], &[4]].concat()),
            (0x21, 0x11, &[&IPV4[..], &[4, 0, 2, 9]].concat()),
        ] {
            assert!(read(&in_binary(command, family, rest)).is_err(), "{command:x} {family:x} {rest:?}");
        }
        let too_long = in_binary(0x20, 0, &[0; HEADER_BYTES_MAX]);
        assert_eq!(read(&too_long[..16]), Err(Malformed("a header that is too long")));
        assert!(read(b"\r\n\r\n\0\r\nQUIZ").is_err());
    }

    proptest! {
        #[test]
        fn a_header_that_drips_in_is_the_same(line in prop::bool::ANY, source: [u8; 4], ports: [u16; 2]) {
            let source = Ipv4Addr::from(source);
            let destination = Ipv4Addr::LOCALHOST;
            let header = if line {
                format!("PROXY TCP4 {source} {destination} {} {}\r\n", ports[0], ports[1]).into_bytes()
            } else {
                let mut block = source.octets().to_vec();
                block.extend(destination.octets());
                block.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
                in_binary(0x21, 0x11, &block)
            };
            for end in 0..header.len() {
                prop_assert_eq!(read(&header[..end]), Ok(None));
            }
            let read = read(&header).unwrap().unwrap();
            prop_assert_eq!(read.bytes, header.len());
            let expected = Addresses {
                source: SocketAddr::new(source.into(), ports[0]),
                destination: SocketAddr::new(destination.into(), ports[1]),
            };
            prop_assert_eq!(read.addresses, Some(expected));
        }

        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
            let _ = read(&[&SIGNATURE[..], &bytes].concat());
            let _ = read(&[LINE_START, &bytes].concat());
        }
    }
}
