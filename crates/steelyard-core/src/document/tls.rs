//! TLS, towards clients and towards endpoints. Files are named here and read elsewhere.

use serde::Deserialize;

/// TLS towards the clients of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// At least one; the first is shown to clients that ask for a name of none.
    pub certificates: Vec<Certificate>,
    /// What is spoken over it, the most wanted first; empty = nothing is agreed on.
    pub alpn: Vec<String>,
    /// The oldest version that is spoken.
    #[serde(default)]
    pub min_version: TlsVersion,
    /// The file of the authorities whose clients are known; `None` = clients are not asked who they are.
    #[serde(default)]
    pub client_ca: Option<String>,
    /// Whether a client that is asked must say who it is; `None` = it must.
    #[serde(default)]
    pub client_auth: Option<ClientAuth>,
    /// Whether sessions are handed to the clients themselves, sealed with keys that rotate.
    pub tickets: bool,
    /// Sessions that are remembered here, for clients without a ticket; `None` = none.
    pub session_cache: Option<u32>,
    /// What browsers are told about coming back in clear text; `None` = nothing.
    #[serde(default)]
    pub hsts: Option<Hsts>,
}

/// A certificate chain and its key, both of them files in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The chain, the certificate itself first.
    pub cert: String,
    /// The private key.
    pub key: String,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
}

/// Whether a client must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// One without is refused.
    #[default]
    Required,
    /// One without is served all the same; a bad certificate is still refused.
    Optional,
}

/// HTTP Strict Transport Security (RFC 6797).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hsts {
    /// How long a browser remembers it, in milliseconds.
    pub max_age_ms: u64,
    /// Whether it holds for all names below this one.
    pub include_subdomains: bool,
    /// Whether browsers may have it built in.
    pub preload: bool,
}

/// TLS towards the endpoints of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolTls {
    /// Whether an endpoint has to prove who it is.
    pub verify: bool,
    /// The file of the authorities that are believed; `None` = those of the system.
    #[serde(default)]
    pub ca: Option<String>,
    /// The name that every endpoint is asked for and has to prove; `None` = its own host.
    #[serde(default)]
    pub server_name: Option<String>,
    /// The file of our own certificate chain, for endpoints that ask.
    #[serde(default)]
    pub cert: Option<String>,
    /// The file of its private key.
    #[serde(default)]
    pub key: Option<String>,
    /// The oldest version that is spoken.
    #[serde(default)]
    pub min_version: TlsVersion,
}

impl PoolTls {
    /// The name that an endpoint has to prove which was configured as `configured`: a host with a port.
    pub fn name_for<'a>(&'a self, configured: &'a str) -> &'a str {
        self.server_name.as_deref().unwrap_or_else(|| {
            let host = configured.rsplit_once(':').map_or(configured, |(host, _)| host);
            host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_to_prove_its_host_or_the_name_of_the_pool() {
        let mut tls = PoolTls {
            verify: true,
            ca: None,
            server_name: None,
            cert: None,
            key: None,
            min_version: TlsVersion::Tls12,
        };
        assert_eq!(tls.name_for("app.internal:443"), "app.internal");
        assert_eq!(tls.name_for("10.0.0.1:443"), "10.0.0.1");
        assert_eq!(tls.name_for("[::1]:443"), "::1");
        tls.server_name = Some("pinned.example".to_owned());
        assert_eq!(tls.name_for("[::1]:443"), "pinned.example");
    }
}
