//! Sessions: a signed cookie that says which endpoint a client's requests go to.
//!
//! The value is the hash of the endpoint's name and a part of its HMAC-SHA256 under the pool's secret, both in
//! hexadecimal digits with a dot between. What an endpoint's cookie must be is worked out with the snapshot: a request
//! costs a search and a comparison, and what matches none of them, forged or stale, is no session at all.

use crate::document::{self, SameSite};
use crate::key::{KeyView, cookie};
use crate::policy::Prospect;
use std::fmt::Write;

/// The name of the cookie where none is configured.
const COOKIE: &str = "steelyard";
/// Keeps signatures apart from whatever else the secret may sign.
const PURPOSE: &[u8] = b"steelyard session\0";
const NAME_DIGITS: usize = 16;
const TAG_BYTES: usize = 16;
const TAG_DIGITS: usize = 2 * TAG_BYTES;

/// The sessions of a pool in one snapshot.
#[derive(Debug)]
pub struct Sessions {
    cookie: Box<str>,
    /// What follows the value, but for `Secure`.
    attributes: Box<str>,
    /// `None` = where the client came over TLS.
    secure: Option<bool>,
    /// In the order of their names.
    known: Box<[Session]>,
}

/// The session with one endpoint.
struct Session {
    name: u64,
    index: u32,
    /// What proves that the cookie is ours, as it is written.
    tag: [u8; TAG_DIGITS],
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Sessions {
    /// The sessions that a policy keeps; `None` for one that keeps none.
    pub(crate) fn new(config: &document::Policy, endpoints: &[Prospect]) -> Option<Self> {
        let secret = config.secret.as_ref()?;
        let mut known: Vec<Session> = (0..)
            .zip(endpoints)
            .map(|(index, &Prospect { name, .. })| Session { name, index, tag: tag(secret.bytes(), name) })
            .collect();
        known.sort_unstable_by_key(|session| session.name);
        let same_site = match config.same_site.unwrap_or_default() {
            SameSite::Lax => "Lax",
            SameSite::Strict => "Strict",
            SameSite::None => "None",
        };
        let mut attributes = format!("; Path=/; SameSite={same_site}");
        if config.http_only.unwrap_or(true) {
            attributes.push_str("; HttpOnly");
        }
        if let Some(max_age_ms) = config.max_age_ms {
            // Writing to a text cannot fail.
            let _ = write!(attributes, "; Max-Age={}", max_age_ms.div_ceil(1_000));
        }
        Some(Self {
            cookie: config.cookie.as_deref().unwrap_or(COOKIE).into(),
            attributes: attributes.into(),
            secure: config.secure,
            known: known.into(),
        })
    }

    /// The name of the endpoint that a request's session is with.
    pub fn find(&self, view: &impl KeyView) -> Option<u64> {
        view.fields("cookie")
            .filter_map(|field| cookie(field, &self.cookie))
            .find_map(|value| self.check(value))
    }

    fn check(&self, value: &[u8]) -> Option<u64> {
        let (digits, rest) = value.split_at_checked(NAME_DIGITS)?;
        let tag: &[u8; TAG_DIGITS] = rest.strip_prefix(b".")?.try_into().ok()?;
        let name = digits.iter().try_fold(0u64, |name, &digit| {
            // Only as we write them: one session has one cookie.
            let value = (digit as char).to_digit(16).filter(|_| !digit.is_ascii_uppercase())?;
            Some(name << 4 | u64::from(value))
        })?;
        let ours = &self.known[self.place(name)?].tag;
        // All of it is compared, wherever the first difference is: the time tells nothing of how near a guess was.
        let difference = ours.iter().zip(tag).fold(0, |difference, (a, b)| difference | (a ^ b));
        (std::hint::black_box(difference) == 0).then_some(name)
    }

    fn place(&self, name: u64) -> Option<usize> {
        self.known.binary_search_by_key(&name, |session| session.name).ok()
    }

    /// The index of the endpoint of this name.
    pub(crate) fn index(&self, name: u64) -> Option<usize> {
        Some(self.known[self.place(name)?].index as usize)
    }

    /// The value of a Set-Cookie field for the endpoint of this name; empty where there is none.
    pub(crate) fn set_cookie(&self, name: u64, tls: bool) -> Vec<u8> {
        let Some(place) = self.place(name) else { return Vec::new() };
        let mut value = format!("{}={name:016x}.", self.cookie).into_bytes();
        value.extend_from_slice(&self.known[place].tag);
        value.extend_from_slice(self.attributes.as_bytes());
        if self.secure.unwrap_or(tls) {
            value.extend_from_slice(b"; Secure");
        }
        value
    }
}

/// The first half of the HMAC-SHA256 of a name, in digits.
fn tag(secret: &[u8], name: u64) -> [u8; TAG_DIGITS] {
    let mut mac = hmac_sha256::HMAC::new(secret);
    mac.update(PURPOSE);
    mac.update(name.to_be_bytes());
    let bytes = mac.finalize();
    let mut tag = [0; TAG_DIGITS];
    for (digits, byte) in tag.chunks_exact_mut(2).zip(&bytes[..TAG_BYTES]) {
        digits.copy_from_slice(&[byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
    }
    tag
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::net::IpAddr;

    struct Request(Vec<u8>);

    impl KeyView for Request {
        fn peer(&self) -> Option<IpAddr> {
            None
        }

        fn path(&self) -> &[u8] {
            b"/"
        }

        fn query(&self) -> Option<&[u8]> {
            None
        }

        fn fields(&self, name: &str) -> impl Iterator<Item = &[u8]> {
            (name == "cookie").then_some(&*self.0).into_iter()
        }
    }

    fn sessions(secret: &str, change: impl FnOnce(&mut document::Policy)) -> Sessions {
        let mut config = document::Policy { name: "sticky".into(), ..document::Policy::default() };
        config.secret = Some(serde_json::from_value(secret.into()).unwrap());
        change(&mut config);
        let endpoints = [7, 5, 9].map(|name| Prospect { weight: 1, name });
        Sessions::new(&config, &endpoints).unwrap()
    }

    fn found(sessions: &Sessions, cookies: &[u8]) -> Option<u64> {
        sessions.find(&Request(cookies.to_vec()))
    }

    const SECRET: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn the_library_knows_hmac_sha256() {
        // RFC 4231, test case 2.
        let bytes = hmac_sha256::HMAC::mac(b"what do ya want for nothing?", b"Jefe");
        assert_eq!(bytes[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(bytes[28..], [0x64, 0xec, 0x38, 0x43]);
    }

    #[test]
    fn a_cookie_that_was_set_is_found_again_among_others() {
        let ours = sessions(SECRET, |_| {});
        for name in [5, 7, 9] {
            let set = ours.set_cookie(name, false);
            let pair = set.split(|&byte| byte == b';').next().unwrap();
            assert_eq!(found(&ours, pair), Some(name));
            assert_eq!(
                found(&ours, &[b"a=b; steelyard=x; ", pair].concat()),
                None,
                "the first of that name counts"
            );
            assert_eq!(found(&ours, &[b"a=b; ", pair, b"; c=d"].concat()), Some(name));
        }
        assert_eq!(ours.index(7), Some(0));
        assert_eq!(ours.set_cookie(6, false), b"", "no endpoint of that name");
    }

    #[test]
    fn what_was_not_set_here_is_no_session() {
        let (ours, other) = (sessions(SECRET, |_| {}), sessions("ff112233445566778899aabbccddeeff", |_| {}));
        let pair = |sessions: &Sessions| {
            let set = sessions.set_cookie(5, false);
            set.split(|&byte| byte == b';').next().unwrap().to_vec()
        };
        let sound = pair(&ours);
        assert_eq!(found(&ours, &sound), Some(5));
        assert_eq!(found(&ours, &pair(&other)), None, "another secret");
        assert_eq!(found(&ours, &sound[..sound.len() - 1]), None, "cut short");
        assert_eq!(found(&ours, &[&sound[..], b"0"].concat()), None, "too long");
        for at in "steelyard=".len()..sound.len() {
            let mut forged = sound.clone();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(found(&ours, &forged), None, "byte {at}");
        }
    }

    #[test]
    fn attributes_are_those_that_were_asked_for() {
        let set = |tls, change: fn(&mut document::Policy)| {
            let set = String::from_utf8(sessions(SECRET, change).set_cookie(5, tls)).unwrap();
            set.split_once("; ").map(|(_, attributes)| attributes.to_owned()).unwrap()
        };
        assert_eq!(set(false, |_| {}), "Path=/; SameSite=Lax; HttpOnly");
        assert_eq!(set(true, |_| {}), "Path=/; SameSite=Lax; HttpOnly; Secure");
        assert_eq!(set(true, |policy| policy.secure = Some(false)), "Path=/; SameSite=Lax; HttpOnly");
        let other = set(false, |policy| {
            policy.secure = Some(true);
            policy.http_only = Some(false);
            policy.same_site = Some(SameSite::None);
            policy.max_age_ms = Some(3_600_000);
        });
        assert_eq!(other, "Path=/; SameSite=None; Max-Age=3600; Secure");
    }
}
