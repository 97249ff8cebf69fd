//! The head of a request, as far as the origin needs it. Strict: what is ambiguous is refused.

use std::mem::MaybeUninit;

use crate::behaviour::Behaviour;

const HEADERS_MAX: usize = 128;

pub(crate) struct Head {
    /// The bytes that the head took.
    pub(crate) size: usize,
    pub(crate) method: Method,
    /// HTTP/1.x.
    pub(crate) minor: u8,
    pub(crate) keep_alive: bool,
    pub(crate) framing: Framing,
    pub(crate) expects_continue: bool,
    /// The client asked to switch to the protocol `echo`.
    pub(crate) asks_echo: bool,
    pub(crate) behaviour: Behaviour,
}

/// The methods that make a difference here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Head,
    Post,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

impl Framing {
    pub(crate) const NONE: Self = Self::Length(0);
}

/// What makes a request bad.
pub(crate) type Bad = &'static str;

/// The parsed form of `bytes`, to which `use_it` is applied; `None` when the head is not whole yet.
pub(crate) fn with_request<T>(
    bytes: &[u8],
    use_it: impl FnOnce(usize, &httparse::Request<'_, '_>) -> Result<T, Bad>,
) -> Result<Option<T>, Bad> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(size)) => use_it(size, &request).map(Some),
        Err(_) => Err("malformed head"),
    }
}

impl Head {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, Bad> {
        with_request(bytes, Self::read)
    }

    fn read(size: usize, request: &httparse::Request<'_, '_>) -> Result<Self, Bad> {
        let minor = request.version.unwrap_or(1);
        let mut head = Self {
            size,
            method: match request.method {
                Some("HEAD") => Method::Head,
                Some("POST") => Method::Post,
                _ => Method::Other,
            },
            minor,
            keep_alive: minor == 1,
            framing: Framing::NONE,
            expects_continue: false,
            asks_echo: false,
            behaviour: Behaviour::of(request.path.unwrap_or("/")),
        };
        let (mut lengths, mut hosts, mut upgrade, mut connection_upgrade) = (0, 0, false, false);
        for header in request.headers.iter() {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            // The length of a name tells most fields apart without comparing them.
            match header.name.len() {
                4 if is("host") => hosts += 1,
                6 if is("expect") => {
                    head.expects_continue = header.value.eq_ignore_ascii_case(b"100-continue");
                }
                7 if is("upgrade") => upgrade |= has_token(header.value, "echo"),
                10 if is("connection") => {
                    connection_upgrade |= has_token(header.value, "upgrade");
                    if has_token(header.value, "close") {
                        head.keep_alive = false;
                    } else if minor == 0 && has_token(header.value, "keep-alive") {
                        head.keep_alive = true;
                    }
                }
                14 if is("content-length") => {
                    lengths += 1;
                    if head.framing != Framing::Chunked {
                        head.framing = Framing::Length(length(header.value)?);
                    }
                }
                17 if is("transfer-encoding") => {
                    if head.framing == Framing::Chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                        return Err("unknown transfer-coding");
                    }
                    head.framing = Framing::Chunked;
                }
                _ => {}
            }
        }
        if lengths > 1 || (lengths == 1 && head.framing == Framing::Chunked) {
            return Err("ambiguous framing");
        }
        if hosts > 1 || (hosts == 0 && minor == 1) {
            return Err("exactly one host is needed");
        }
        if minor == 0 && head.framing == Framing::Chunked {
            return Err("transfer-coding in HTTP/1.0");
        }
        head.asks_echo = upgrade && connection_upgrade;
        Ok(head)
    }
}

fn length(value: &[u8]) -> Result<u64, Bad> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    number.ok_or("malformed content-length")
}

fn has_token(value: &[u8], token: &str) -> bool {
    value.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(fields: &str) -> Result<Framing, Bad> {
        let text = format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
        Head::parse(text.as_bytes()).map(|head| head.expect("a whole head").framing)
    }

    #[test]
    fn framing_is_read_strictly() {
        assert_eq!(framing(""), Ok(Framing::NONE));
        assert_eq!(framing("Content-Length: 12\r\n"), Ok(Framing::Length(12)));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        for fields in [
            "content-length: 1\r\ncontent-length: 1\r\n",
            "content-length: +1\r\n",
            "content-length: 1\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 1\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "host: b\r\n",
        ] {
            assert!(framing(fields).is_err(), "{fields:?}");
        }
    }

    #[test]
    fn keep_alive_follows_the_version() {
        let keeps = |text: &str| Head::parse(text.as_bytes()).unwrap().unwrap().keep_alive;
        assert!(keeps("GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nhost: a\r\nconnection: x, Close\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"));
    }
}
