//! What a client may set (RFC 9114 section 7.2.4). Pure functions.

use super::code::{Code, Failure};
use super::varint;

pub(super) const MAX_FIELD_SECTION_SIZE: u64 = 0x6;
pub(super) const ENABLE_CONNECT_PROTOCOL: u64 = 0x8;

/// A client's settings are no larger.
pub(super) const BYTES_MAX: u64 = 4096;

/// Nothing that a client may set changes what we do; it is only to be sound.
pub fn check(mut settings: &[u8]) -> Result<(), Failure> {
    let mut seen = Vec::new();
    while !settings.is_empty() {
        let pair = varint::read(settings)
            .and_then(|(name, first)| Some((name, first, varint::read(&settings[first..])?)));
        let Some((name, first, (value, second))) = pair else {
            return Err(Failure::Connection(Code::FrameError, "SETTINGS end within a setting"));
        };
        settings = &settings[first + second..];
        // Settings of HTTP/2 (RFC 9114 section 7.2.4.1), the same twice, and a switch that is neither on nor off.
        let of_http2 = matches!(name, 0x0 | 0x2..=0x5);
        if of_http2 || seen.contains(&name) || name == ENABLE_CONNECT_PROTOCOL && value > 1 {
            return Err(Failure::Connection(Code::SettingsError, "a setting that cannot be"));
        }
        seen.push(name);
    }
    Ok(())
}
