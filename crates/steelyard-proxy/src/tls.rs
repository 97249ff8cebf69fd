//! TLS: certificates and keys as they are loaded and checked when a snapshot is prepared.
//!
//! Everything is loaded before the snapshot that names it is in force, and is swapped in with it. What has not changed
//! in its files stays the same object, so that sessions can be resumed and idle connections stay. No private key is
//! ever shown: keys are held by the library that signs with them.

mod certificate;
mod check;
mod files;
mod findings;
pub(crate) mod identity;
mod listener;
mod pool;
mod prepare;
pub(crate) mod proof;
mod resolver;
mod resumption;
mod verify;

pub(crate) use certificate::Shown;
pub use check::check;
pub use findings::Findings;
pub(crate) use listener::ListenerTls;
pub(crate) use pool::{PoolTls, Spoken, same};
pub use prepare::Files;
pub(crate) use prepare::prepare;
pub(crate) use resolver::take_asked;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{SupportedProtocolVersion, version};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};
use steelyard_core::document::TlsVersion;

/// What encrypts and signs, as people call it.
pub const PROVIDER: &str = "rustls with aws-lc-rs";
/// A certificate that ends sooner is told of.
pub(crate) const EXPIRY_WARNING_DAYS: i64 = 14;

const DAY_S: i64 = 24 * 3600;

/// The one provider of cryptography.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
}

/// The versions from this one on.
fn versions(oldest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    match oldest {
        TlsVersion::Tls12 => &BOTH,
        TlsVersion::Tls13 => &BOTH[..1],
    }
}

/// The time of day, in seconds since 1970.
pub(crate) fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// Whole days until then; negative when it is over.
pub(crate) fn days_until(unix: i64) -> i64 {
    (unix - unix_now()).div_euclid(DAY_S)
}

/// A day, as `2026-01-31`.
pub(crate) fn date(unix: i64) -> String {
    // Days to a civil date (H. Hinnant, "chrono-compatible low-level date algorithms").
    let days = unix.div_euclid(DAY_S) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_709_164_800, "2024-02-29"),
            (1_735_689_599, "2024-12-31"),
            (4_102_444_800, "2100-01-01"),
        ] {
            assert_eq!(date(unix), expected);
        }
    }
}
