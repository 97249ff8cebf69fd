//! A certificate with its key, and what it says of itself.

use super::files;
use super::{EXPIRY_WARNING_DAYS, date, days_until, provider, unix_now};
use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use steelyard_core::problem::Refusal;
use x509_cert::der::Encode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Reader, SliceReader, asn1::UintRef};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::spki::SubjectPublicKeyInfoRef;

/// The fewest bits of an RSA key that anybody should believe (and that the library that signs takes).
const RSA_BITS_MIN: usize = 2048;
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// What is shown of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The file that it came from.
    pub file: String,
    /// What it stands for: names of hosts, `*.` for all of one label below, and addresses.
    pub names: Vec<String>,
    /// Whose it is, as RFC 4514 writes it.
    pub subject: String,
    /// From when on it holds, in seconds since 1970.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
    /// The SHA-256 of it, in hexadecimal digits.
    pub fingerprint: String,
}

/// A certificate that can be shown and proved.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    pub shown: Shown,
    pub certified: Arc<CertifiedKey>,
}

impl Loaded {
    /// From the contents of the files of a chain and of its key.
    pub fn of(
        (cert_path, cert): (&str, &[u8]),
        (key_path, key): (&str, &[u8]),
    ) -> (Result<Shown, Refusal>, Result<Self, Refusal>) {
        let chain = match files::certificates(cert_path, cert) {
            Ok(chain) => chain,
            Err(refusal) => return (Err(refusal.clone()), Err(refusal)),
        };
        let shown = Shown::of(cert_path, &chain[0]);
        let loaded = shown.clone().and_then(|shown| {
            let key = files::key(key_path, key)?;
            let certified = CertifiedKey::from_der(chain, key, provider())
                .map_err(|error| unusable(&error, cert_path, key_path))?;
            Ok(Self { shown, certified: Arc::new(certified) })
        });
        (shown, loaded)
    }
}

fn unusable(error: &Error, cert: &str, key: &str) -> Refusal {
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Refusal::new(format!(
            "{key} is not the key of {cert}"
        ))
        .hint("the first certificate of the file must be that of the key, those of authorities follow"),
        Error::InvalidCertificate(CertificateError::BadEncoding) => {
            Refusal::new(format!("{cert} holds a certificate that cannot be read"))
        }
        _ => Refusal::new(format!("{key} holds a key that cannot be used"))
            .hint("RSA of 2048 to 8192 bits, ECDSA (P-256, P-384, P-521) and Ed25519 can"),
    }
}

impl Shown {
    /// What the certificate says.
    pub fn of(file: &str, der: &CertificateDer<'_>) -> Result<Self, Refusal> {
        let unreadable = || Refusal::new(format!("{file} holds a certificate that cannot be read"));
        let parsed = x509_cert::Certificate::from_der(der).map_err(|_| unreadable())?;
        let of = parsed.tbs_certificate();
        let spki = of.subject_public_key_info().to_der().map_err(|_| unreadable())?;
        if let Some(bits) = rsa_bits(&spki).filter(|bits| *bits < RSA_BITS_MIN) {
            return Err(Refusal::new(format!("{file}: an RSA key of {bits} bits is too weak"))
                .hint(format!("make one of {RSA_BITS_MIN} bits or more, or an ECDSA key, which is faster")));
        }
        let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs() as i64;
        let names = of.get_extension::<SubjectAltName>().map_err(|_| unreadable())?;
        let names = names.map_or_else(Vec::new, |(_, names)| names.0.iter().filter_map(host).collect());
        Ok(Self {
            file: file.to_owned(),
            names,
            subject: written(of.subject()),
            not_before: seconds(of.validity().not_before),
            not_after: seconds(of.validity().not_after),
            fingerprint: fingerprint(der),
        })
    }

    /// Why it is not to be shown at this time.
    pub fn out_of_time(&self) -> Option<Refusal> {
        let file = &self.file;
        let now = unix_now();
        if now > self.not_after {
            let days = -days_until(self.not_after);
            let ago = match days {
                ..=1 => "less than a day ago".to_owned(),
                2 => "a day ago".to_owned(),
                days => format!("{} days ago", days - 1),
            };
            return Some(
                Refusal::new(format!("{file} has expired on {} ({ago})", date(self.not_after)))
                    .hint("renew it; clients refuse it"),
            );
        }
        (now < self.not_before).then(|| {
            Refusal::new(format!("{file} is not valid before {}", date(self.not_before)))
                .hint("is the clock of this machine right? date shows it")
        })
    }

    /// What to say of it when it ends soon.
    pub fn ends_soon(&self) -> Option<String> {
        let days = days_until(self.not_after);
        if days >= EXPIRY_WARNING_DAYS {
            return None;
        }
        Some(match days {
            ..0 => format!("{} has expired on {}", self.file, date(self.not_after)),
            0 => format!("{} expires today", self.file),
            1 => format!("{} expires tomorrow", self.file),
            days => format!("{} expires on {}, in {days} days", self.file, date(self.not_after)),
        })
    }
}

/// A name as RFC 4514 writes it; empty where that fails.
pub(super) fn written(name: &x509_cert::name::Name) -> String {
    let mut text = String::new();
    if write!(text, "{name}").is_err() {
        text.clear();
    }
    text
}

/// The SHA-256 of a certificate, in hexadecimal digits.
pub(crate) fn fingerprint(der: &CertificateDer<'_>) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest::digest(&digest::SHA256, der).as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A name of a host or an address.
fn host(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(bytes) => address(bytes.as_bytes()).map(|address| address.to_string()),
        _ => None,
    }
}

pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// How many bits an RSA key has.
fn rsa_bits(spki: &[u8]) -> Option<usize> {
    let spki = SubjectPublicKeyInfoRef::from_der(spki).ok().filter(|spki| spki.algorithm.oid == RSA)?;
    let mut reader = SliceReader::new(spki.subject_public_key.as_bytes()?).ok()?;
    let modulus = reader
        .sequence(|inner| -> x509_cert::der::Result<_> {
            let modulus = UintRef::decode(inner)?;
            UintRef::decode(inner)?;
            Ok(modulus)
        })
        .ok()?;
    let bytes = modulus.as_bytes();
    Some(bytes.len() * 8 - bytes.first().map_or(0, |first| first.leading_zeros() as usize))
}
