//! The rules between versions, one by one.

use super::*;
use crate::head::Span;
use crate::http1::encode::{Forwarded, RequestEdit};

const KEY: [u8; KEY_BYTES] = *b"dGhlIHNhbXBsZSBub25jZQ==";

/// A request as it was found.
#[derive(Debug)]
struct Found {
    head: RequestHead,
    bytes: Vec<u8>,
    fields: Vec<FieldSpan>,
}

impl Found {
    fn fields(&self) -> Vec<(String, String)> {
        let text = |span: Span| String::from_utf8_lossy(span.of(&self.bytes)).into_owned();
        self.fields.iter().map(|field| (text(field.name), text(field.value))).collect()
    }

    /// What an HTTP/1.1 endpoint gets of it.
    fn as_http1(&self) -> String {
        let forwarded = Forwarded {
            peer: None,
            proto: "http",
            trusted: true,
            identity: None,
            early: false,
            request_id: b"id",
        };
        let target = self.head.origin_path(&self.bytes).to_vec();
        let edit = RequestEdit {
            target: &target,
            set: &[],
            remove: &[],
            forwarded,
            host_fallback: b"",
            framing: self.head.framing,
            upgrade: self.head.upgrade.is_some(),
            expect_continue: self.head.expect_continue,
            max_forwards: None,
        };
        let mut out = Vec::new();
        crate::http1::encode::request(&mut out, &self.bytes, &self.head, &self.fields, &edit);
        String::from_utf8(out).expect("text")
    }
}

struct Given(http::request::Builder, bool, Limits);

fn given(method: &str, uri: &str) -> Given {
    Given(http::Request::builder().method(method).uri(uri), true, Limits::default())
}

impl Given {
    fn field(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value), self.1, self.2)
    }

    /// Content follows the head.
    fn with_content(self) -> Self {
        Self(self.0, false, self.2)
    }

    fn limits(self, limits: Limits) -> Self {
        Self(self.0, self.1, limits)
    }

    fn protocol(self, name: &'static str) -> Self {
        Self(self.0.extension(Protocol::from_static(name)), self.1, self.2)
    }

    fn take(self) -> Result<Found, Reject> {
        let (parts, ()) = self.0.body(()).expect("a request").into_parts();
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        let head = request(&parts, self.1, &self.2, || KEY, &mut bytes, &mut fields)?;
        Ok(Found { head, bytes, fields })
    }

    fn found(self) -> Found {
        self.take().expect("a sound request")
    }

    fn refused(self, status: u16, reason: &str) {
        let reject = self.take().expect_err("it is refused");
        assert_eq!(reject.status, status, "{reject:?}");
        assert!(reject.reason.contains(reason), "{reject:?}");
    }
}

#[test]
fn a_request_is_what_it_says() {
    let found = given("GET", "http://a.example:8080/path?q=1").field("accept", "*/*").found();
    let Found { head, bytes, .. } = &found;
    assert_eq!((head.method, head.method_span.of(bytes)), (Method::Get, &b"GET"[..]));
    assert_eq!((head.path.of(bytes), head.query.expect("a query").of(bytes)), (&b"/path"[..], &b"q=1"[..]));
    assert_eq!(head.authority.of(bytes), b"a.example:8080");
    assert_eq!((head.framing, head.version), (Framing::None, Version::Http2));
    assert_eq!(found.fields(), [("accept".into(), "*/*".into())]);
    assert!(head.keep_alive && !head.expect_continue && !head.te_trailers && head.upgrade.is_none());
    assert!(found.as_http1().starts_with("GET /path HTTP/1.1\r\nhost: a.example:8080\r\naccept: */*\r\n"));
}

#[test]
fn the_length_is_known_the_end_of_the_head_or_the_end_when_it_comes() {
    assert_eq!(given("POST", "http://a/").found().head.framing, Framing::None);
    assert_eq!(given("POST", "http://a/").with_content().found().head.framing, Framing::Chunked);
    let sized = |length| given("POST", "http://a/").field("content-length", length).with_content();
    assert_eq!(sized("12").found().head.framing, Framing::Length(12));
    assert!(sized("12").found().as_http1().contains("content-length: 12\r\n"));
    for unsound in ["", "+1", "1, 1", "99999999999999999999999"] {
        sized(unsound).refused(400, "Content-Length");
    }
    sized("1").field("content-length", "1").refused(400, "repeated Content-Length");
    sized("1").field("transfer-encoding", "chunked").refused(400, "Transfer-Encoding");
}

#[test]
fn host_and_authority_are_one() {
    let same = given("GET", "http://A.example/").field("host", "a.example").found();
    assert_eq!(same.as_http1().matches("host: ").count(), 2, "with x-forwarded-host: {}", same.as_http1());
    given("GET", "http://a.example/").field("host", "b.example").refused(400, "differ");
    given("GET", "http://a.example/").field("host", "a.example:80").refused(400, "differ");
    given("GET", "/").refused(400, "missing :authority");
    let named = given("GET", "/").field("host", "b.example").found();
    assert_eq!(named.head.authority.of(&named.bytes), b"b.example");
    given("GET", "/").field("host", "a").field("host", "a").refused(400, "repeated Host");
    given("GET", "http://user@a/").refused(400, "malformed :authority");
}

#[test]
fn targets_are_those_of_http1() {
    given("GET", "http://a/a%zz").refused(400, ":path");
    given("GET", "http://a/a\u{7c}b").found();
    assert_eq!(given("OPTIONS", "*").field("host", "a").found().head.path.len(), 1);
    given("GET", "*").field("host", "a").refused(400, ":path");
    given("GET", "ftp://a/").refused(400, "scheme");
    let limits = Limits { target_bytes_max: 4, ..Limits::default() };
    given("GET", "http://a/1234").limits(limits).refused(414, "too long");
    given("GET", "http://a/123").limits(limits).found();
}

#[test]
fn methods_that_cannot_be_forwarded_are_refused() {
    given("CONNECT", "a:80").refused(501, "CONNECT");
    given("TRACE", "http://a/").with_content().refused(400, "TRACE");
    given("TRACE", "http://a/").found();
}

#[test]
fn crumbs_become_one_cookie() {
    let found = given("GET", "http://a/")
        .field("cookie", "a=1")
        .field("x", "y")
        .field("cookie", "b=2")
        .field("cookie", "")
        .field("cookie", "c=3")
        .found();
    assert_eq!(found.fields(), [("cookie".into(), "a=1; b=2; c=3".into()), ("x".into(), "y".into())]);
    assert!(found.as_http1().contains("\r\ncookie: a=1; b=2; c=3\r\nx: y\r\n"));
}

#[test]
fn only_trailers_are_asked_for_by_te() {
    let found = given("GET", "http://a/").field("te", "trailers").found();
    assert!(found.head.te_trailers);
    assert!(found.as_http1().contains("connection: te\r\nte: trailers\r\n"));
}

#[test]
fn an_expectation_is_of_content() {
    let found = given("POST", "http://a/").field("expect", "100-continue").with_content().found();
    assert!(found.head.expect_continue && found.as_http1().contains("expect: 100-continue\r\n"));
    assert!(!given("GET", "http://a/").field("expect", "100-continue").found().head.expect_continue);
    given("GET", "http://a/").field("expect", "magic").refused(417, "expectation");
}

#[test]
fn values_have_no_white_space_around_them() {
    for value in [" a", "a ", "\ta", "a\t"] {
        given("GET", "http://a/").field("x", value).refused(400, "white space");
    }
    given("GET", "http://a/").field("x", "a b").found();
}

#[test]
fn there_are_only_so_many_fields() {
    let limits = Limits { header_count_max: 2, ..Limits::default() };
    let two = || given("GET", "http://a/").field("a", "1").field("b", "2").limits(limits);
    two().found();
    two().field("c", "3").refused(431, "too many");
}

#[test]
fn a_websocket_is_a_get_that_asks_for_an_upgrade() {
    let asked = || {
        given("CONNECT", "http://a/chat")
            .protocol("websocket")
            .field("sec-websocket-version", "13")
            .field("sec-websocket-key", "mine")
            .with_content()
    };
    let found = asked().found();
    assert_eq!((found.head.method, found.head.framing), (Method::Get, Framing::None));
    assert_eq!(found.head.upgrade.expect("an upgrade").of(&found.bytes), b"websocket");
    let text = found.as_http1();
    assert!(text.starts_with("GET /chat HTTP/1.1\r\n"), "{text}");
    assert!(text.contains("connection: upgrade\r\nupgrade: websocket\r\n"), "{text}");
    assert_eq!(text.matches("sec-websocket-key: ").count(), 1, "{text}");
    assert!(text.contains("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "{text}");
    let parts = Parts { head: &found.head, fields: &found.fields, bytes: &found.bytes };
    assert_eq!(&websocket::accept_for(parts).expect("a key"), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    given("CONNECT", "http://a/").protocol("connect-udp").refused(501, "WebSockets only");
}

#[test]
fn trailers_lose_what_must_not_be_in_them() {
    let mut map = HeaderMap::new();
    for name in ["x-sum", "content-length", "host", "transfer-encoding", "cookie", "etag"] {
        map.insert(HeaderName::from_static(name), HeaderValue::from_static("v"));
    }
    let (mut section, mut fields) = (Vec::new(), Vec::new());
    trailers(&map, &mut section, &mut fields);
    assert_eq!(section, b"x-sum: v\r\netag: v\r\n");
    assert_eq!(fields.len(), 2);
    assert_eq!(trailer_map(Trailers { section: &section, fields: &fields }).len(), 2);
}

/// The head that a client gets of an HTTP/1.1 response.
fn answered(text: &[u8], edit: &ResponseEdit<'_>) -> Response<()> {
    let mut fields = Vec::new();
    let parsed = crate::http1::response::parse(text, Method::Get, &Limits::default(), &mut fields);
    let head = parsed.expect("sound").expect("whole");
    response(Parts { head: &head, fields: &fields, bytes: text }, edit)
}

const EDIT: ResponseEdit<'static> = ResponseEdit {
    version: Version::Http2,
    framing: Framing::Chunked,
    close: true,
    upgrade: false,
    date: b"today",
    without: b"x-secret",
    hsts: b"",
    alt_svc: b"",
    set_cookie: b"s=1",
};

#[test]
fn a_response_loses_what_belongs_to_its_connection() {
    let text =
        b"HTTP/1.1 203 Fine\r\nX-Up: 1\r\nX-Secret: 1\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\
        Keep-Alive: timeout=5\r\nProxy-Connection: x\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\n\
        Trailer: x-sum\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nProxy-Authenticate: x\r\n\r\n";
    let head = answered(text, &EDIT);
    assert_eq!(head.status(), 203);
    let names: Vec<_> = head.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-up", "trailer", "set-cookie", "date"]);
    let cookies: Vec<_> = head.headers().get_all(SET_COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1", "b=2", "s=1"]);
}

#[test]
fn a_response_keeps_its_length_and_date() {
    let text = b"HTTP/1.1 200 OK\r\nDate: then\r\nContent-Length: 5\r\n\r\n";
    let head = answered(text, &ResponseEdit { framing: Framing::Length(5), set_cookie: b"", ..EDIT });
    let fields: Vec<_> =
        head.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(fields, [("date", &b"then"[..]), ("content-length", &b"5"[..])]);
}

#[test]
fn a_change_of_protocol_is_a_200_without_proof() {
    let text = b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\
        Sec-WebSocket-Protocol: chat\r\n\r\n";
    let head = answered(text, &ResponseEdit { framing: Framing::None, upgrade: true, ..EDIT });
    assert_eq!(head.status(), 200);
    let names: Vec<_> = head.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["sec-websocket-protocol", "date", "set-cookie"]);
}

fn field<'r>(head: &'r Response<()>, name: &str) -> &'r str {
    head.headers()[name].to_str().expect("text")
}

#[test]
fn answers_of_our_own() {
    let busy = Local {
        status: 503,
        fields: &[("retry-after", "1")],
        body: "busy\n",
        version: Version::Http2,
        close: false,
        head_request: false,
        overdue: false,
        date: b"today",
    };
    let (head, body) = local(&busy, false);
    assert_eq!((head.status().as_u16(), &body[..]), (503, &b"busy\n"[..]));
    assert_eq!((field(&head, "content-length"), field(&head, "retry-after")), ("5", "1"));
    let (head, body) = local(&busy, true);
    assert_eq!((head.status().as_u16(), body.len()), (200, 0));
    assert_eq!((field(&head, "grpc-status"), field(&head, "grpc-message")), ("14", "busy"));
    let late = Local { status: 504, overdue: true, ..busy };
    assert_eq!(field(&local(&late, true).0, "grpc-status"), "4");
    assert!(local(&Local { head_request: true, ..busy }, false).1.is_empty());
}
