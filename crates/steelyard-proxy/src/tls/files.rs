//! Files in PEM, and what to say when they are not what they should be.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::{self, File};
use std::io::{self, Read};
use steelyard_core::problem::Refusal;

/// No certificate or bundle of them is larger.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// What a file holds.
pub(super) fn read(path: &str) -> Result<Vec<u8>, Refusal> {
    // A pipe would be waited for without end.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(Refusal::new(format!("{path} is no file")));
    }
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content));
    match read {
        Err(error) => Err(unreadable(path, &error)),
        Ok(_) if content.len() as u64 > FILE_BYTES_MAX => {
            Err(Refusal::new(format!("{path} is larger than {} MiB", FILE_BYTES_MAX >> 20)))
        }
        Ok(_) => Ok(content),
    }
}

fn unreadable(path: &str, error: &io::Error) -> Refusal {
    let words = error.to_string();
    let words = words.split(" (os error").next().unwrap_or_default().to_lowercase();
    match error.kind() {
        io::ErrorKind::NotFound => Refusal::new(format!("{path}: there is no such file"))
            .hint("a relative path is one from the folder of the configuration"),
        io::ErrorKind::PermissionDenied => Refusal::new(format!("{path}: {words}"))
            .hint("the user that runs steelyard must be able to read it"),
        _ => Refusal::new(format!("{path}: {words}")),
    }
}

/// The certificates of a file, in their order; at least one.
pub(super) fn certificates(path: &str, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) if PrivateKeyDer::from_pem_slice(content).is_ok() => {
            Err(Refusal::new(format!("{path} holds a key and no certificate"))
                .hint("cert is the chain of certificates, key the private key"))
        }
        Ok(_) => Err(Refusal::new(format!("{path} holds no certificate"))
            .hint("a certificate in PEM begins with -----BEGIN CERTIFICATE-----")),
        Err(_) => Err(Refusal::new(format!("{path} is damaged: it is no sound PEM"))),
    }
}

/// The private key of a file.
pub(super) fn key(path: &str, content: &[u8]) -> Result<PrivateKeyDer<'static>, Refusal> {
    let holds = |words: &[u8]| memchr::memmem::find(content, words).is_some();
    if holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED") {
        return Err(Refusal::new(format!("{path}: the key is encrypted, and nobody is there to ask"))
            .hint(format!("openssl pkey -in {path} -out plain.key writes it without its password")));
    }
    PrivateKeyDer::from_pem_slice(content).map_err(|_| {
        let refusal = Refusal::new(format!("{path} holds no private key"));
        if holds(b"BEGIN CERTIFICATE") {
            return refusal
                .hint("it holds a certificate: cert is the chain of certificates, key the private key");
        }
        refusal.hint("a key in PEM begins with -----BEGIN PRIVATE KEY-----")
    })
}
