//! Max-Forwards: how many more intermediaries may pass a request on (RFC 9110 section 7.6.2).

use crate::codec::Parts;
use crate::head::{FieldKind, Method, RequestHead};

/// What becomes of a request by its Max-Forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hops {
    /// It is forwarded, with this Max-Forwards where there is one to change.
    Forward(Option<u64>),
    /// It has come as far as it may, and whoever has it now is to answer.
    Last,
    /// The field is no number, or there are several.
    Malformed,
}

impl Hops {
    /// Other methods than OPTIONS and TRACE may ignore the field, and keep it.
    pub fn of(request: Parts<'_, RequestHead>) -> Self {
        if !matches!(request.head.method, Method::Options | Method::Trace) {
            return Self::Forward(None);
        }
        let mut found = request.fields.iter().filter(|field| field.kind == FieldKind::MaxForwards);
        match (found.next(), found.next()) {
            (None, _) => Self::Forward(None),
            (Some(field), None) => Self::count_down(field.value.of(request.bytes)),
            _ => Self::Malformed,
        }
    }

    fn count_down(digits: &[u8]) -> Self {
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Self::Malformed;
        }
        // A number beyond what we can count is taken for the largest that we can, as the standard has it.
        let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
        match digits.iter().fold(0, add) {
            0 => Self::Last,
            hops => Self::Forward(Some(hops - 1)),
        }
    }
}
