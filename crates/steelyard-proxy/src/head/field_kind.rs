//! What a field's name means to a proxy.

/// The part a field plays for a proxy, found once from its name while parsing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FieldKind {
    /// Passed on, unless Connection names it.
    Other,
    /// Passed on even if Connection names it: well known to be meant for the far end, so that naming it can only
    /// be an attempt to have us strip it.
    EndToEnd,
    /// An [`Other`](Self::Other) field that Connection names: not passed on.
    HopByHop,
    /// Reads like one of the special names below to software that takes `_` for `-` (CGI and its heirs). Requests
    /// lose it: it is only ever an attempt to smuggle a field past us.
    Lookalike,
    /// Host
    Host,
    /// Connection
    Connection,
    /// Keep-Alive
    KeepAlive,
    /// Content-Length
    ContentLength,
    /// Transfer-Encoding
    TransferEncoding,
    /// TE
    Te,
    /// Trailer
    Trailer,
    /// Upgrade
    Upgrade,
    /// HTTP2-Settings, which belongs to an upgrade that we never pass on.
    Http2Settings,
    /// Expect
    Expect,
    /// Proxy-Connection, which no standard knows.
    ProxyConnection,
    /// Proxy-Authenticate, Proxy-Authorization, Proxy-Authentication-Info
    ProxyAuthentication,
    /// X-Forwarded-For
    XForwardedFor,
    /// X-Forwarded-Proto
    XForwardedProto,
    /// X-Forwarded-Host
    XForwardedHost,
    /// Any other X-Forwarded-* field, and X-Real-IP: believed only from trusted proxies.
    XForwardedOther,
    /// What tells of a client's certificate: X-Client-Cert-*, and Client-Cert and Client-Cert-Chain (RFC 9440). Believed
    /// only from trusted proxies, and not beside a certificate of the client's own.
    ClientCertificate,
    /// Forwarded (RFC 7239)
    Forwarded,
    /// X-Request-Id
    XRequestId,
    /// Max-Forwards
    MaxForwards,
    /// Date
    Date,
    /// Server
    Server,
    /// Strict-Transport-Security
    StrictTransportSecurity,
    /// Alt-Svc
    AltSvc,
}

const X_FORWARDED: &[u8] = b"x-forwarded-";

impl FieldKind {
    /// The kind of the field of this name, in whatever case.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        if let Some(kind) = Self::found(name, is_same) {
            return kind;
        }
        if !name.contains(&b'_') {
            return Self::Other;
        }
        match Self::found(name, reads_like) {
            None | Some(Self::EndToEnd) => Self::Other,
            Some(_) => Self::Lookalike,
        }
    }

    /// The kind of the special name that `matches` this one.
    #[inline]
    fn found(name: &[u8], matches: impl Fn(&[u8], &[u8]) -> bool) -> Option<Self> {
        let special = names_of_length(name.len()).iter().find(|(known, _)| matches(name, known));
        let family = || name.len() > X_FORWARDED.len() && matches(&name[..X_FORWARDED.len()], X_FORWARDED);
        special.map(|&(_, kind)| kind).or_else(|| family().then_some(Self::XForwardedOther))
    }

    /// Whether the codec alone decides on fields of this kind: framing and what concerns one connection only.
    pub fn belongs_to_the_connection(self) -> bool {
        matches!(
            self,
            Self::HopByHop
                | Self::Lookalike
                | Self::Connection
                | Self::KeepAlive
                | Self::ContentLength
                | Self::TransferEncoding
                | Self::Te
                | Self::Trailer
                | Self::Upgrade
                | Self::Http2Settings
                | Self::Expect
                | Self::ProxyConnection
        )
    }
}

/// The special names of this length, in lower case: a jump by length, then seldom more than one comparison.
#[inline]
fn names_of_length(length: usize) -> &'static [(&'static [u8], FieldKind)] {
    use FieldKind as K;
    match length {
        2 => &[(b"te", K::Te)],
        4 => &[(b"host", K::Host), (b"date", K::Date), (b"etag", K::EndToEnd)],
        6 => &[(b"cookie", K::EndToEnd), (b"expect", K::Expect), (b"server", K::Server)],
        7 => &[(b"upgrade", K::Upgrade), (b"trailer", K::Trailer), (b"alt-svc", K::AltSvc)],
        8 => &[(b"location", K::EndToEnd)],
        9 => &[(b"forwarded", K::Forwarded), (b"x-real-ip", K::XForwardedOther)],
        10 => &[(b"connection", K::Connection), (b"keep-alive", K::KeepAlive), (b"set-cookie", K::EndToEnd)],
        11 => &[(b"client-cert", K::ClientCertificate)],
        12 => &[
            (b"x-request-id", K::XRequestId),
            (b"content-type", K::EndToEnd),
            (b"max-forwards", K::MaxForwards),
        ],
        13 => &[(b"cache-control", K::EndToEnd), (b"authorization", K::EndToEnd)],
        14 => &[(b"content-length", K::ContentLength), (b"http2-settings", K::Http2Settings)],
        15 => &[(b"x-forwarded-for", K::XForwardedFor)],
        16 => &[
            (b"x-forwarded-host", K::XForwardedHost),
            (b"content-encoding", K::EndToEnd),
            (b"proxy-connection", K::ProxyConnection),
            (b"www-authenticate", K::EndToEnd),
        ],
        17 => &[
            (b"transfer-encoding", K::TransferEncoding),
            (b"x-forwarded-proto", K::XForwardedProto),
            (b"x-client-cert-san", K::ClientCertificate),
            (b"client-cert-chain", K::ClientCertificate),
        ],
        18 => &[(b"proxy-authenticate", K::ProxyAuthentication)],
        19 => &[(b"proxy-authorization", K::ProxyAuthentication)],
        21 => &[(b"x-client-cert-subject", K::ClientCertificate)],
        25 => &[
            (b"proxy-authentication-info", K::ProxyAuthentication),
            (b"x-client-cert-fingerprint", K::ClientCertificate),
            (b"strict-transport-security", K::StrictTransportSecurity),
        ],
        _ => &[],
    }
}

/// Sets the bit that makes letters lower case; the other bytes of special names, digits and `-`, have it already.
const LOWER: u64 = 0x2020_2020_2020_2020;

/// Equal but for case, eight bytes at a time. Both are of one length; a name is a token, and no other byte of a token
/// becomes one of a special name's by that bit.
#[inline]
fn is_same(name: &[u8], known: &[u8]) -> bool {
    if (name[0] ^ known[0]) | 0x20 != 0x20 {
        return false;
    }
    let (words, rest) = name.as_chunks::<8>();
    let (known_words, known_rest) = known.as_chunks::<8>();
    let same =
        |(word, known): (&[u8; 8], &[u8; 8])| u64::from_le_bytes(*word) | LOWER == u64::from_le_bytes(*known);
    words.iter().zip(known_words).all(same)
        && match (name.last_chunk::<8>(), known.last_chunk::<8>()) {
            (Some(last), Some(known_last)) => same((last, known_last)),
            _ => rest.iter().zip(known_rest).all(|(byte, known)| byte | 0x20 == *known),
        }
}

/// Equal but for case, and for `_` in the place of `-`. Both are of one length.
fn reads_like(name: &[u8], known: &[u8]) -> bool {
    name[0] | 0x20 == known[0]
        && name
            .iter()
            .zip(known)
            .all(|(&byte, &known)| byte.to_ascii_lowercase() == known || (byte == b'_' && known == b'-'))
}

/// Whether two names are one to software that takes `_` for `-` (CGI and its heirs), in whatever case.
pub fn names_read_alike(one: &[u8], other: &[u8]) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.iter().zip(other).all(|(&one, &other)| plain(one) == plain(other))
}

#[cfg(test)]
mod tests {
    use super::{FieldKind, names_read_alike};

    #[test]
    fn an_underscore_reads_like_a_hyphen_wherever_it_stands() {
        assert!(names_read_alike(b"x-user", b"X_User") && names_read_alike(b"x_user", b"X-USER"));
        assert!(!names_read_alike(b"x-user", b"x-users") && !names_read_alike(b"x-user", b"xxuser"));
    }

    #[test]
    fn every_special_name_is_found_in_any_case() {
        for length in 0..40 {
            for &(name, kind) in super::names_of_length(length) {
                assert_eq!(name.len(), length, "{}", String::from_utf8_lossy(name));
                assert_eq!(FieldKind::of(name), kind);
                assert_eq!(FieldKind::of(&name.to_ascii_uppercase()), kind);
            }
        }
    }

    #[test]
    fn other_names_are_other() {
        for name in
            ["Accept", "X-Custom", "Hosts", "Hosu", "X-Forwarded-", "X-Forwarde", "contentxlength", ""]
        {
            assert_eq!(FieldKind::of(name.as_bytes()), FieldKind::Other, "{name}");
        }
    }

    #[test]
    fn the_whole_forwarded_family_is_known() {
        assert_eq!(FieldKind::of(b"X-Forwarded-Port"), FieldKind::XForwardedOther);
        assert_eq!(FieldKind::of(b"x-real-ip"), FieldKind::XForwardedOther);
    }

    #[test]
    fn an_underscore_makes_a_lookalike() {
        for name in
            ["Content_Length", "transfer_encoding", "X_Forwarded-For", "X-Forwarded_Port", "x_real_ip"]
        {
            assert_eq!(FieldKind::of(name.as_bytes()), FieldKind::Lookalike, "{name}");
        }
        assert_eq!(FieldKind::of(b"content_type"), FieldKind::Other);
        assert_eq!(FieldKind::of(b"my_header"), FieldKind::Other);
    }
}
