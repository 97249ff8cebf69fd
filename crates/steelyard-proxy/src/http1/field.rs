//! The field lines of a head: spans of them, and what those that matter to the connection say.

use std::mem::MaybeUninit;

use httparse::Header;

use super::Reject;
use crate::head::{FieldKind, FieldSpan, Fields, Span};

/// Heads with at most so many fields are parsed without touching the heap.
const STACK_COUNT: usize = 128;
/// Digits of a Content-Length, leading zeros included: 64 bits.
const LENGTH_DIGIT_COUNT_MAX: usize = 20;
/// More names than this in Connection are refused, since each is looked for among all fields.
const CONNECTION_OPTION_COUNT_MAX: u32 = 32;

/// Calls `parse` with room for `count_max` headers.
#[inline]
pub(super) fn with_room<'b, R>(count_max: u32, parse: impl FnOnce(&mut [MaybeUninit<Header<'b>>]) -> R) -> R {
    let count_max = count_max as usize;
    if count_max <= STACK_COUNT {
        parse(&mut [const { MaybeUninit::uninit() }; STACK_COUNT][..count_max])
    } else {
        parse(&mut vec![MaybeUninit::uninit(); count_max])
    }
}

/// The place of `part`, a slice of `buffer`, in it.
#[inline]
pub(super) fn span_in(buffer: &[u8], part: &[u8]) -> Span {
    let start = (part.as_ptr() as usize).wrapping_sub(buffer.as_ptr() as usize);
    debug_assert!(start + part.len() <= buffer.len());
    Span { start: start as u32, end: (start + part.len()) as u32 }
}

/// What the fields say about the connection and the framing.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent thing that a field may say")]
pub(super) struct Notes {
    pub(super) content_length: Option<u64>,
    pub(super) transfer: Transfer,
    pub(super) host: Option<Span>,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) keep_alive_timeout_s: Option<u32>,
    pub(super) expect: Expect,
    pub(super) te_trailers: bool,
    upgrade_option: bool,
    upgrade_count: u32,
    upgrade: Span,
    options_to_mark: bool,
    option_count: u32,
}

/// The transfer codings applied, over all Transfer-Encoding fields.
#[derive(Clone, Copy, Default)]
pub(super) struct Transfer {
    seen: bool,
    unknown: bool,
    chunked: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Expect {
    #[default]
    Nothing,
    Continue,
    Unknown,
}

impl Notes {
    /// The protocols to change to, if the connection may: named by Connection, and only one Upgrade field.
    pub(super) fn upgrade(&self) -> Option<Span> {
        (self.upgrade_option && self.upgrade_count == 1).then_some(self.upgrade)
    }
}

/// Takes the spans and notes of all headers. `end` is the offset after the head.
pub(super) fn read(
    buffer: &[u8],
    end: usize,
    headers: &[Header<'_>],
    fields: &mut Fields,
) -> Result<Notes, Reject> {
    let mut notes = Notes::default();
    fields.clear();
    fields.reserve(headers.len());
    for header in headers {
        let name = span_in(buffer, header.name.as_bytes());
        let value = span_in(buffer, header.value);
        check_line_end(buffer, name.start as usize)?;
        let kind = FieldKind::of(header.name.as_bytes());
        fields.push(FieldSpan { name, value, kind });
        if !matches!(kind, FieldKind::Other | FieldKind::EndToEnd) {
            notes.take(kind, value, header.value)?;
        }
    }
    check_head_end(buffer, end)?;
    if notes.options_to_mark {
        mark_hop_by_hop(buffer, fields);
    }
    Ok(notes)
}

/// The line before `at` ends with CR LF: httparse lets a bare LF pass (RFC 9112 section 2.2 allows that, and
/// others disagree). Every LF of a head ends a line, so looking before each line sees them all.
#[inline]
pub(super) fn check_line_end(buffer: &[u8], at: usize) -> Result<(), Reject> {
    if at >= 2 && buffer[at - 2..at] == *b"\r\n" { Ok(()) } else { Err(Reject::bad("bare line feed")) }
}

/// The same for the last line and the empty line behind it, which ends a head or trailer section.
#[inline]
pub(super) fn check_head_end(buffer: &[u8], end: usize) -> Result<(), Reject> {
    if buffer[..end].ends_with(b"\r\n\r\n") { Ok(()) } else { Err(Reject::bad("bare line feed")) }
}

impl Notes {
    #[inline]
    fn take(&mut self, kind: FieldKind, span: Span, value: &[u8]) -> Result<(), Reject> {
        match kind {
            FieldKind::Host if self.host.is_some() => return Err(Reject::bad("repeated Host")),
            FieldKind::Host => self.host = Some(span),
            FieldKind::ContentLength if self.content_length.is_some() => {
                return Err(Reject::bad("repeated Content-Length"));
            }
            FieldKind::ContentLength => self.content_length = Some(content_length(value)?),
            FieldKind::TransferEncoding => self.transfer.take(value)?,
            FieldKind::Connection => self.take_connection(value)?,
            FieldKind::Upgrade => {
                self.upgrade = span;
                self.upgrade_count += 1;
            }
            FieldKind::KeepAlive => self.keep_alive_timeout_s = keep_alive_timeout_s(value),
            FieldKind::Expect => self.expect = expect(value),
            FieldKind::Te => {
                self.te_trailers |= list(value).any(|item| item.eq_ignore_ascii_case(b"trailers"));
            }
            _ => {}
        }
        Ok(())
    }

    fn take_connection(&mut self, value: &[u8]) -> Result<(), Reject> {
        for option in list(value) {
            self.option_count += 1;
            if self.option_count > CONNECTION_OPTION_COUNT_MAX {
                return Err(Reject::bad("too many options in Connection"));
            }
            match option.len() {
                0 => {}
                2 if option.eq_ignore_ascii_case(b"te") => {}
                5 if option.eq_ignore_ascii_case(b"close") => self.close = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade_option = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                _ => self.options_to_mark = true,
            }
        }
        Ok(())
    }
}

impl Transfer {
    /// Whether any coding was applied.
    pub(super) fn any(self) -> bool {
        self.seen
    }

    /// Only a single, final `chunked` is served (RFC 9112 sections 6.1 and 6.3).
    pub(super) fn check(self) -> Result<(), Reject> {
        if !self.chunked {
            return Err(Reject::bad("chunked is not the final transfer coding"));
        }
        if self.unknown {
            return Err(Reject { status: 501, reason: "unknown transfer coding" });
        }
        Ok(())
    }

    fn take(&mut self, value: &[u8]) -> Result<(), Reject> {
        self.seen = true;
        for coding in list(value) {
            if self.chunked {
                return Err(Reject::bad("chunked is not the final transfer coding"));
            }
            if coding.eq_ignore_ascii_case(b"chunked") {
                self.chunked = true;
            } else if is_token(coding) {
                self.unknown = true;
            } else {
                return Err(Reject::bad("malformed Transfer-Encoding"));
            }
        }
        Ok(())
    }
}

/// Marks every field that Connection names, unless its name has a meaning of its own: letting Connection strip Host
/// or X-Forwarded-For is an attack, not a wish.
#[cold]
fn mark_hop_by_hop(buffer: &[u8], fields: &mut Fields) {
    for index in 0..fields.len() {
        if fields[index].kind != FieldKind::Connection {
            continue;
        }
        for option in list(fields[index].value.of(buffer)) {
            for field in fields.iter_mut() {
                if field.kind == FieldKind::Other && field.name.of(buffer).eq_ignore_ascii_case(option) {
                    field.kind = FieldKind::HopByHop;
                }
            }
        }
    }
}

/// The elements of a comma-separated list, without white space around them; empty ones too.
#[inline]
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}

#[inline]
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Digits and nothing else, within 64 bits (RFC 9110 section 8.6). The list of equal values that a recipient may
/// repair is refused as well.
pub(crate) fn content_length(value: &[u8]) -> Result<u64, Reject> {
    if value.is_empty() || value.len() > LENGTH_DIGIT_COUNT_MAX {
        return Err(Reject::bad("malformed Content-Length"));
    }
    value.iter().try_fold(0_u64, |length, &byte| match byte {
        b'0'..=b'9' => length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(byte - b'0')))
            .ok_or(Reject::bad("Content-Length is too large")),
        _ => Err(Reject::bad("malformed Content-Length")),
    })
}

/// What Expect asks for.
pub(crate) fn expect(value: &[u8]) -> Expect {
    if value.eq_ignore_ascii_case(b"100-continue") { Expect::Continue } else { Expect::Unknown }
}

/// `timeout=5` among the parameters of Keep-Alive. Anything malformed is as if it were not there.
fn keep_alive_timeout_s(value: &[u8]) -> Option<u32> {
    list(value).find_map(|parameter| {
        let (name, seconds) = parameter.split_at_checked(8)?;
        let seconds = std::str::from_utf8(seconds).ok()?;
        name.eq_ignore_ascii_case(b"timeout=").then(|| seconds.parse().ok()).flatten()
    })
}

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|&byte| is_token_byte(byte))
}

#[inline]
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

const TOKEN: [bool; 256] = {
    let mut token = [false; 256];
    let mut byte = 0;
    while byte < token.len() {
        token[byte] = matches!(
            byte as u8,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        ) || (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    token
};
