//! What a request asks of the origin, by its path.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 `ok`, or 503 after `POST /control/health/down` |
//! | `/status/503` | that status |
//! | `/delay/100` | after 100 ms |
//! | `/bytes/1048576` | a body of that many bytes, `abc...z` over and over |
//! | `/chunked/3/1000` | 3 chunks of 1000 bytes; with `?trailer=1` the trailer `x-checksum` (sum of the body's bytes) |
//! | `/close-delimited/100` | a body that ends with the connection |
//! | `/echo` | the request, its body included, as JSON |
//! | `/echo-body` | the body, as it arrives, in the framing it arrived in |
//! | `/reset` | the connection is reset |
//! | `/reset-after/10`, `/short/10` | 10 bytes of a longer body, then a reset, or a clean end of stream |
//! | `/hang` | nothing, until the client leaves |
//! | `/drip/10/50` | 10 bytes, one each 50 ms |
//! | `/garbage` | bytes that are no HTTP |
//! | `/raw` | the body of the request (or its query, percent-decoded), as it is, then the end of stream; `/raw/keep` keeps the connection |
//! | `/early` | 200 before the body is read, which is drained then; `/early/close` closes instead |
//! | `/continue`, `/hints` | a 100, or a 103, before the 200 |
//! | `/upgrade` | 101 to the protocol `echo` if the client asks for it, else 426; `/upgrade/NAME` switches to NAME unasked |
//! | `/204`, `/304` | these, without a body |
//! | `/keepalive-timeout/5` | `Keep-Alive: timeout=5`, and so it is |
//! | `/close` | `Connection: close`; `/close/silent` closes without saying so |
//! | `/control/health/down`, `up` | `POST`: what `/healthz` answers |
//! | `/control/fault/KIND`, `off` | `POST`: every ordinary request is answered as `/KIND` |
//! | `/control/delay/10ms` | `POST`: how long an ordinary request takes |
//! | `/control/stats` | the counts, as JSON |
//!
//! Any other path is an ordinary page. Probes and controls are never delayed, faulty or counted as requests.

use std::time::Duration;

use crate::options::parse_duration;

/// One way to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table of the module says what each does")]
pub enum Behaviour {
    Page,
    Health,
    Control(Control),
    Status(u16),
    Delay(Duration),
    Bytes(u64),
    Chunked { pieces: u64, bytes: u64, trailer: bool },
    CloseDelimited(u64),
    Echo,
    EchoBody,
    Reset,
    ResetAfter(u64),
    Short(u64),
    Hang,
    Drip { count: u64, pause: Duration },
    Garbage,
    Raw { keep: bool },
    Early { close: bool },
    Continue,
    Hints,
    Upgrade(Option<String>),
    NoContent,
    NotModified,
    KeepaliveTimeout(u64),
    Close { silent: bool },
    Malformed,
}

/// A change to the running origin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table of the module says what each does")]
pub enum Control {
    Health(bool),
    Fault(Option<Box<Behaviour>>),
    Delay(Duration),
    Stats,
}

impl Behaviour {
    /// Reads a request target in origin-form or absolute-form.
    pub fn of(target: &str) -> Self {
        let target = match target.strip_prefix("http://") {
            Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => target,
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match path.strip_prefix('/') {
            Some(path) => Self::of_path(path, query),
            None => Self::Page,
        }
    }

    /// Reads the value of the option `fault`: a path without its first slash that is no ordinary page.
    pub fn fault(text: &str) -> Option<Self> {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        match Self::of_path(path, query) {
            Self::Page | Self::Health | Self::Control(_) | Self::Malformed => None,
            behaviour => Some(behaviour),
        }
    }

    /// Whether the request is the instruments' own and not part of the traffic.
    pub(crate) fn is_instrument(&self) -> bool {
        matches!(self, Self::Health | Self::Control(_))
    }

    fn of_path(path: &str, query: &str) -> Self {
        let (word, rest) = path.split_once('/').unwrap_or((path, ""));
        match word {
            "control" => return Control::of(rest).map_or(Self::Malformed, Self::Control),
            "upgrade" => return Self::Upgrade((!rest.is_empty()).then(|| rest.to_owned())),
            _ => {}
        }
        let (first, second) = rest.split_once('/').unwrap_or((rest, ""));
        Self::of_words(word, first, second, query).unwrap_or(Self::Malformed)
    }

    /// `None` when the word is known and what follows it does not fit.
    fn of_words(word: &str, first: &str, second: &str, query: &str) -> Option<Self> {
        let number = || first.parse::<u64>().ok();
        let option = |name: &str| match first {
            "" => Some(false),
            text => (text == name).then_some(true),
        };
        Some(match word {
            "healthz" => Self::Health,
            "status" => Self::Status(first.parse().ok().filter(|status| (200..=599).contains(status))?),
            "delay" => Self::Delay(Duration::from_millis(number()?)),
            "bytes" => Self::Bytes(number()?),
            "chunked" => {
                let trailer = query.split('&').any(|pair| pair == "trailer=1");
                Self::Chunked { pieces: number()?, bytes: second.parse().ok()?, trailer }
            }
            "close-delimited" => Self::CloseDelimited(number()?),
            "echo" => Self::Echo,
            "echo-body" => Self::EchoBody,
            "reset" => Self::Reset,
            "reset-after" => Self::ResetAfter(number()?),
            "short" => Self::Short(number()?),
            "hang" => Self::Hang,
            "drip" => Self::Drip { count: number()?, pause: Duration::from_millis(second.parse().ok()?) },
            "garbage" => Self::Garbage,
            "raw" => Self::Raw { keep: option("keep")? },
            "early" => Self::Early { close: option("close")? },
            "continue" => Self::Continue,
            "hints" => Self::Hints,
            "204" => Self::NoContent,
            "304" => Self::NotModified,
            "keepalive-timeout" => Self::KeepaliveTimeout(number()?),
            "close" => Self::Close { silent: option("silent")? },
            _ => Self::Page,
        })
    }
}

impl Control {
    fn of(path: &str) -> Option<Self> {
        let (word, rest) = path.split_once('/').unwrap_or((path, ""));
        Some(match (word, rest) {
            ("health", "up") => Self::Health(true),
            ("health", "down") => Self::Health(false),
            ("fault", "off") => Self::Fault(None),
            ("fault", kind) => Self::Fault(Some(Box::new(Behaviour::fault(kind)?))),
            ("delay", time) => Self::Delay(parse_duration(time)?),
            ("stats", "") => Self::Stats,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_to_do() {
        assert_eq!(Behaviour::of("/"), Behaviour::Page);
        assert_eq!(Behaviour::of("/anything/else?x=1"), Behaviour::Page);
        assert_eq!(Behaviour::of("*"), Behaviour::Page);
        assert_eq!(Behaviour::of("/status/503?x"), Behaviour::Status(503));
        assert_eq!(Behaviour::of("http://a.example/bytes/7"), Behaviour::Bytes(7));
        assert_eq!(
            Behaviour::of("/chunked/3/1000?trailer=1"),
            Behaviour::Chunked { pieces: 3, bytes: 1000, trailer: true }
        );
        assert_eq!(Behaviour::of("/control/health/down"), Behaviour::Control(Control::Health(false)));
        assert_eq!(Behaviour::of("/upgrade/other"), Behaviour::Upgrade(Some("other".to_owned())));
    }

    #[test]
    fn a_known_word_with_a_wrong_value_is_malformed() {
        for target in ["/status/42", "/bytes/many", "/chunked/3", "/drip/1", "/control/fire", "/close/loud"] {
            assert_eq!(Behaviour::of(target), Behaviour::Malformed, "{target}");
        }
    }

    #[test]
    fn a_fault_is_a_path_that_is_no_page() {
        assert_eq!(Behaviour::fault("short/10"), Some(Behaviour::Short(10)));
        assert_eq!(Behaviour::fault("fire"), None);
        assert_eq!(Behaviour::fault("healthz"), None);
    }
}
