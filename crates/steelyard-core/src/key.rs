//! What ties requests together: the keys of policies that send the same key to the same endpoint.

use crate::problem::Refusal;
use std::net::IpAddr;
use std::str::FromStr;
use xxhash_rust::xxh64::xxh64;

/// Where the key of a request is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The client's address.
    Address,
    /// The value of a field, its name in lower case.
    Header(Box<str>),
    /// The value of a cookie.
    Cookie(Box<str>),
    /// The normalised path, without query.
    Path,
    /// The value of a parameter of the query, as it was sent.
    Query(Box<str>),
}

/// How a source is written, as a hint.
pub(crate) const FORMS: &str =
    "write key = \"address\", \"path\", \"header:NAME\", \"cookie:NAME\" or \"query:NAME\"";

/// A request as far as keys look at it.
pub trait KeyView {
    /// The client's address; `None` for a unix socket.
    fn peer(&self) -> Option<IpAddr>;
    /// The normalised path, without query.
    fn path(&self) -> &[u8];
    /// The query, without its question mark.
    fn query(&self) -> Option<&[u8]>;
    /// The values of the fields of this name, which is given in lower case.
    fn fields(&self, lower_case_name: &str) -> impl Iterator<Item = &[u8]>;
}

impl KeySource {
    /// The hash (xxHash64, seed 0) of a request's key; `None` where the request has none.
    pub fn key(&self, view: &impl KeyView) -> Option<u64> {
        match self {
            Self::Address => Some(match view.peer()? {
                IpAddr::V4(address) => xxh64(&address.octets(), 0),
                IpAddr::V6(address) => xxh64(&address.octets(), 0),
            }),
            Self::Header(name) => view.fields(name).next().map(hash),
            Self::Cookie(name) => view.fields("cookie").find_map(|value| cookie(value, name)).map(hash),
            Self::Path => Some(hash(view.path())),
            Self::Query(name) => parameter(view.query()?, name).map(hash),
        }
    }
}

/// The hash that keys and endpoints' names share.
pub fn hash(bytes: &[u8]) -> u64 {
    xxh64(bytes, 0)
}

/// The value of the first cookie of this name in one Cookie field.
pub fn cookie<'v>(value: &'v [u8], name: &str) -> Option<&'v [u8]> {
    value.split(|&byte| byte == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
    })
}

fn parameter<'q>(query: &'q [u8], name: &str) -> Option<&'q [u8]> {
    query.split(|&byte| byte == b'&').find_map(|pair| match pair.strip_prefix(name.as_bytes())? {
        [] => Some(&b""[..]),
        [b'=', value @ ..] => Some(value),
        _ => None,
    })
}

impl FromStr for KeySource {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let is_token = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        };
        match kind {
            "address" if !text.contains(':') => Ok(Self::Address),
            "path" if !text.contains(':') => Ok(Self::Path),
            "header" if is_token(name) => Ok(Self::Header(name.to_ascii_lowercase().into())),
            "cookie" if is_token(name) => Ok(Self::Cookie(name.into())),
            "query"
                if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'&') =>
            {
                Ok(Self::Query(name.into()))
            }
            _ => Err(Refusal::new(format!("{text:?} is no key")).hint(FORMS)),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Request;

    impl KeyView for Request {
        fn peer(&self) -> Option<IpAddr> {
            Some([192, 0, 2, 1].into())
        }

        fn path(&self) -> &[u8] {
            b"/a"
        }

        fn query(&self) -> Option<&[u8]> {
            Some(b"userid=1&user=ann&flag")
        }

        fn fields(&self, name: &str) -> impl Iterator<Item = &[u8]> {
            let values: &[&[u8]] = match name {
                "cookie" => &[b"theme=dark", b"xsid=9; sid=42"],
                "x-user" => &[b"ann"],
                _ => &[],
            };
            values.iter().copied()
        }
    }

    #[test]
    fn each_source_finds_its_part_of_the_request() {
        let key = |source: &str| source.parse::<KeySource>().unwrap().key(&Request);
        assert_eq!(key("address"), Some(hash(&[192, 0, 2, 1])));
        assert_eq!(key("path"), Some(hash(b"/a")));
        assert_eq!(key("header:X-User"), Some(hash(b"ann")));
        assert_eq!(key("cookie:sid"), Some(hash(b"42")));
        assert_eq!(key("query:user"), Some(hash(b"ann")));
        assert_eq!(key("query:flag"), Some(hash(b"")));
        for absent in ["header:x-other", "cookie:id", "query:use"] {
            assert_eq!(key(absent), None, "{absent}");
        }
    }

    #[test]
    fn what_is_no_source_is_refused() {
        for wrong in ["", "addr", "address:x", "header:", "header:a b", "cookie:a;b", "query:", "query:a&b"] {
            assert!(wrong.parse::<KeySource>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_hash_is_xxhash64() {
        // From the published test vectors of xxHash: the empty input with seed 0.
        assert_eq!(hash(b""), 0xef46_db37_51d8_e999);
    }
}
