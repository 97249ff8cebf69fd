//! Proofs that names are ours, for an authority that is about to issue a certificate for them (ACME, RFC 8555): shown
//! while it looks for them, by every listener, before any route.

use crate::tls::proof::{Certificates, Written};
use serde::Deserialize;
use std::collections::HashMap;

/// Where an authority looks for them (RFC 8555 section 8.3).
const PREFIX: &[u8] = b"/.well-known/acme-challenge/";

/// What is shown now.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proofs {
    /// Bodies by the last segment of the path.
    http: HashMap<String, String>,
    /// Certificates that are the proof themselves.
    #[serde(default, deserialize_with = "certificates")]
    tls: Certificates,
}

fn certificates<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Certificates, D::Error> {
    let written = Vec::<Written>::deserialize(from)?;
    Certificates::load(&written).map_err(|refusal| serde::de::Error::custom(refusal.message))
}

impl Proofs {
    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.http.is_empty() && self.tls.is_empty()
    }

    /// The body for a token, as [`token`] finds it.
    pub fn of(&self, token: &[u8]) -> Option<&str> {
        self.http.get(str::from_utf8(token).ok()?).map(String::as_str)
    }

    /// What is shown in handshakes.
    pub(crate) fn certificates(&self) -> &Certificates {
        &self.tls
    }
}

/// What an authority that looks at this path asks for.
pub fn token(path: &[u8]) -> Option<&[u8]> {
    path.strip_prefix(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_found_by_its_token_alone() {
        let proofs: Proofs = serde_json::from_str(r#"{"http": {"token": "token.thumb"}}"#).expect("proofs");
        let at = |path| token(path).and_then(|token| proofs.of(token));
        assert_eq!(at(b"/.well-known/acme-challenge/token"), Some("token.thumb"));
        assert_eq!(at(b"/.well-known/acme-challenge/other"), None);
        assert_eq!(at(b"/.well-known/acme-challenge/"), None);
        assert_eq!(at(b"/.well-known/token"), None);
        assert_eq!(at(b"/token"), None);
    }

    #[test]
    fn a_damaged_certificate_is_refused() {
        let text = r#"{"http": {}, "tls": [{"name": "a.example", "cert": "no", "key": "no"}]}"#;
        let refused = serde_json::from_str::<Proofs>(text).expect_err("it holds no certificate");
        assert!(refused.to_string().contains("holds no certificate"), "{refused}");
    }
}
