//! Who a client says it is, and has proved: what its certificate holds, as fields of a request tell it.

use super::certificate::{address, fingerprint, written};
use rustls::pki_types::CertificateDer;
use std::fmt::Write;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// What X.520 allows, in letters of up to four bytes.
const COMMON_NAME_BYTES_MAX: usize = 4 * 64;

/// A longer text is not passed on: an endpoint might not take such a head. The fingerprint always is.
const TEXT_BYTES_MAX: usize = 4096;

/// A client that has shown a certificate of an authority that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its subject, as RFC 4514 writes it, in ASCII.
    pub subject: Box<str>,
    /// The common name of its subject, where it has one.
    pub common_name: Option<Box<str>>,
    /// Its other names, as `DNS:a.example, URI:spiffe://b`; each in ASCII without commas and blanks.
    pub names: Box<str>,
    /// The SHA-256 of its certificate, in hexadecimal digits.
    pub fingerprint: Box<str>,
}

impl Identity {
    /// The identity in a certificate that has been verified.
    pub(crate) fn of(der: &CertificateDer<'_>) -> Self {
        let mut identity = Self {
            subject: "".into(),
            common_name: None,
            names: "".into(),
            fingerprint: fingerprint(der).into(),
        };
        // What the verifier has taken can be read; if not, the fingerprint has to do.
        if let Ok(parsed) = x509_cert::Certificate::from_der(der) {
            let of = parsed.tbs_certificate();
            identity.subject = bounded(subject(&written(of.subject())));
            identity.common_name = common_name(of.subject());
            if let Ok(Some((_, names))) = of.get_extension::<SubjectAltName>() {
                let names: Vec<String> = names.0.iter().filter_map(name).collect();
                identity.names = bounded(names.join(", "));
            }
        }
        identity
    }
}

/// The most specific one, as others tell it too.
fn common_name(name: &Name) -> Option<Box<str>> {
    let of = name.iter().filter(|attribute| attribute.oid == COMMON_NAME).last()?;
    let text = std::str::from_utf8(of.value.value()).ok()?;
    (text.len() <= COMMON_NAME_BYTES_MAX).then(|| text.into())
}

fn bounded(text: String) -> Box<str> {
    if text.len() > TEXT_BYTES_MAX { "".into() } else { text.into() }
}

/// What is no ASCII is written as RFC 4514 section 2.4 allows: each byte as a backslash and two digits.
fn subject(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() || byte == b' ' {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\{byte:02x}");
        }
    }
    out
}

fn name(name: &GeneralName) -> Option<String> {
    Some(match name {
        GeneralName::DnsName(name) => format!("DNS:{}", escaped(name.as_str())),
        GeneralName::Rfc822Name(name) => format!("email:{}", escaped(name.as_str())),
        GeneralName::UniformResourceIdentifier(name) => format!("URI:{}", escaped(name.as_str())),
        GeneralName::IpAddress(bytes) => format!("IP:{}", address(bytes.as_bytes())?),
        _ => return None,
    })
}

/// What could be taken for the end of a name or of a line is escaped as in a URL.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b',' {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_pass_for_two_or_end_a_line() {
        assert_eq!(escaped("a.example, DNS:admin\r\nx: y"), "a.example%2C%20DNS:admin%0D%0Ax:%20y");
        assert_eq!(subject("CN=J\u{e9}r\u{f4}me\r\n"), "CN=J\\c3\\a9r\\c3\\b4me\\0d\\0a");
    }

    #[test]
    fn what_is_no_certificate_still_has_a_fingerprint() {
        let identity = Identity::of(&CertificateDer::from(b"nonsense".to_vec()));
        assert_eq!((&*identity.subject, &*identity.names, identity.fingerprint.len()), ("", "", 64));
    }
}
