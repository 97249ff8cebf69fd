//! What clients of gRPC make of answers that are not an endpoint's.

use crate::http1::encode::Local;

/// What answers of our own are to clients of gRPC.
pub(crate) const CONTENT_TYPE: &str = "application/grpc";

/// Statuses of gRPC that a proxy answers with.
const UNKNOWN: u16 = 2;
const DEADLINE_EXCEEDED: u16 = 4;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;

/// Whether a content type is one of gRPC (`application/grpc`, `application/grpc+proto`).
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    content_type.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
        && matches!(content_type.get(16), None | Some(b'+' | b';'))
}

/// The status of gRPC that an HTTP status stands for (gRPC's table in `http-grpc-status-mapping.md`; 431 is a client's
/// metadata that is too large, which that table does not know). `overdue` says that the time which the client gave is
/// over.
fn status(http: u16, overdue: bool) -> u16 {
    match http {
        _ if overdue => DEADLINE_EXCEEDED,
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        431 => RESOURCE_EXHAUSTED,
        429 | 502 | 503 | 504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// The fields in which an answer of our own is told as gRPC has it.
pub(crate) fn status_of(answer: &Local<'_>) -> [(&'static str, Vec<u8>); 2] {
    let status = status(answer.status, answer.overdue).to_string();
    [("grpc-status", status.into_bytes()), ("grpc-message", escape(answer.body.trim_end()))]
}

/// Percent-encodes what a message may not hold as it is (gRPC over HTTP/2, "Status-Message").
fn escape(message: &str) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => escaped.push(byte),
            _ => escaped.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    escaped
}

/// The milliseconds of a `grpc-timeout`, rounded up; `None` where it is malformed.
pub(crate) fn timeout_ms(value: &[u8]) -> Option<u64> {
    let (&unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => number * 3_600_000,
        b'M' => number * 60_000,
        b'S' => number * 1_000,
        b'm' => number,
        b'u' => number.div_ceil(1_000),
        b'n' => number.div_ceil(1_000_000),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_a_number_and_a_unit() {
        let all: [(&[u8], Option<u64>); 10] = [
            (b"1S", Some(1_000)),
            (b"250m", Some(250)),
            (b"1500u", Some(2)),
            (b"1n", Some(1)),
            (b"2H", Some(7_200_000)),
            (b"99999999M", Some(5_999_999_940_000)),
            (b"S", None),
            (b"123456789S", None),
            (b"-1S", None),
            (b"1s", None),
        ];
        for (value, expected) in all {
            assert_eq!(timeout_ms(value), expected, "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn content_types_of_grpc() {
        for sound in ["application/grpc", "application/grpc+proto", "Application/gRPC;x=y"] {
            assert!(is_grpc(sound.as_bytes()), "{sound}");
        }
        for other in ["application/grpc-web", "application/json", "application/grp"] {
            assert!(!is_grpc(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn messages_are_escaped() {
        assert_eq!(escape("100% \u{e4}\n"), b"100%25 %C3%A4%0A");
    }
}
