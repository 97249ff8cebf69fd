//! The rules of RFC 9114 sections 4.2 and 4.3, one by one.

use super::*;
use crate::http1;
use crate::http1::encode::{Forwarded, RequestEdit};

const KEY: [u8; KEY_BYTES] = *b"dGhlIHNhbXBsZSBub25jZQ==";
const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/path?q=1")];

fn section(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    qpack::begin(&mut out);
    for (name, value) in fields {
        qpack::write(&mut out, name.as_bytes(), value.as_bytes());
    }
    out
}

/// Those of a request, and others behind or instead of them.
fn with(changed: &[(&str, &str)], more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields: Vec<_> = GET.to_vec();
    for (name, value) in changed {
        fields.retain(|(other, _)| other != name);
        fields.insert(0, (name, value));
    }
    fields.extend(more);
    section(&fields)
}

struct Found {
    head: RequestHead,
    bytes: Vec<u8>,
    fields: Vec<(String, String)>,
}

fn take(section: &[u8], ended: bool, limits: &Limits) -> Result<Found, Unsound> {
    let (mut bytes, mut fields) = (Vec::new(), Vec::new());
    let head = request(section, ended, limits, || KEY, &mut bytes, &mut fields)?;
    let text = |span: Span| String::from_utf8_lossy(span.of(&bytes)).into_owned();
    let fields = fields.iter().map(|field| (text(field.name), text(field.value))).collect();
    Ok(Found { head, bytes, fields })
}

fn found(section: &[u8]) -> Found {
    take(section, true, &Limits::default()).expect("a sound request")
}

fn refused(section: &[u8], status: u16, reason: &str) {
    match take(section, true, &Limits::default()) {
        Err(Unsound::Request(reject)) => {
            assert_eq!(reject.status, status, "{reject:?}");
            assert!(reject.reason.contains(reason), "{reject:?}");
        }
        Err(Unsound::Compression) => panic!("it could not be decompressed"),
        Ok(found) => panic!("it was taken: {:?}", found.fields),
    }
}

#[test]
fn a_request_is_what_it_says() {
    let Found { head, bytes, fields } = found(&with(&[], &[("accept", "*/*"), ("te", "trailers")]));
    assert_eq!((head.method, head.method_span.of(&bytes)), (Method::Get, &b"GET"[..]));
    assert_eq!((head.path.of(&bytes), head.query.expect("one").of(&bytes)), (&b"/path"[..], &b"q=1"[..]));
    assert_eq!((head.authority.of(&bytes), head.version), (&b"a.example"[..], Version::Http3));
    assert!(head.te_trailers && head.keep_alive && head.framing == Framing::None);
    assert_eq!(fields[0], ("accept".into(), "*/*".into()));
}

#[test]
fn the_length_is_known_or_the_end_when_it_comes() {
    let framing = |section: &[u8], ended| {
        take(section, ended, &Limits::default()).expect("a sound request").head.framing
    };
    assert_eq!(framing(&with(&[], &[]), false), Framing::Chunked);
    assert_eq!(framing(&with(&[], &[("content-length", "12")]), false), Framing::Length(12));
    refused(&with(&[], &[("content-length", "1"), ("content-length", "1")]), 400, "repeated");
    refused(&with(&[], &[("content-length", "+1")]), 400, "Content-Length");
}

#[test]
fn pseudo_fields_are_whole_come_first_and_once() {
    for missing in [":method", ":scheme", ":path"] {
        let fields: Vec<_> = GET.iter().copied().filter(|(name, _)| *name != missing).collect();
        refused(&section(&fields), 400, missing);
    }
    let nameless: Vec<_> = GET.iter().copied().filter(|(name, _)| *name != ":authority").collect();
    refused(&section(&nameless), 400, "authority");
    let hosted = found(&section(&[&nameless[..], &[("host", "b")]].concat()));
    assert_eq!(hosted.head.authority.of(&hosted.bytes), b"b");
    for (name, value) in GET {
        refused(&with(&[], &[(name, value)]), 400, "repeated");
        refused(&with(&[], &[("accept", "*/*"), (name, value)]), 400, "behind");
    }
    refused(&with(&[], &[("cookie", "a=1"), (":path", "/")]), 400, "behind");
    for unknown in [":stat", ":mine", ":", ":Path"] {
        refused(&raw(unknown.as_bytes(), b"200"), 400, "unknown pseudo-field");
    }
    refused(&with(&[(":path", "")], &[]), 400, ":path");
    refused(&with(&[(":path", "path")], &[]), 400, ":path");
    refused(&with(&[(":scheme", "ftp")], &[]), 400, "scheme");
    refused(&with(&[(":method", "G T")], &[]), 400, ":method");
    refused(&with(&[(":authority", "")], &[]), 400, "authority");
    refused(&with(&[(":authority", "a@b")], &[]), 400, "authority");
    refused(&with(&[], &[("host", "b.example")]), 400, "differ");
    found(&with(&[], &[("host", "A.example")]));
}

/// A request with one more field, written as it is.
fn raw(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut section = with(&[], &[]);
    assert!(name.len() < 7 && value.len() < 127);
    section.push(0b0010_0000 | name.len() as u8);
    section.extend_from_slice(name);
    section.push(value.len() as u8);
    section.extend_from_slice(value);
    section
}

#[test]
fn names_and_values_are_what_they_may_be() {
    refused(&raw(b"X-Mine", b"a"), 400, "name");
    refused(&raw(b"", b"a"), 400, "name");
    refused(&raw(b"x y", b"a"), 400, "name");
    for value in [&b"a\r"[..], b"a\nb", b"\0", b"a\x7f", b"\x01", b" a", b"a\t"] {
        refused(&raw(b"x-mine", value), 400, "value");
    }
    assert_eq!(found(&raw(b"x-mine", b"a\tb \xff")).fields.len(), 1);
}

#[test]
fn what_belongs_to_a_connection_is_refused() {
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        refused(&with(&[], &[(name, "x")]), 400, "connection");
    }
    refused(&with(&[], &[("te", "gzip")]), 400, "te");
    refused(&with(&[], &[("expect", "more")]), 417, "expectation");
}

#[test]
fn crumbs_of_a_cookie_are_joined() {
    let fields = found(&with(&[], &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")])).fields;
    assert_eq!(
        fields,
        [("x".into(), "y".into()), ("cookie".into(), "a=1; b=2".into())] as [(String, String); 2]
    );
    // An empty one is none, at either end.
    let fields = found(&with(&[], &[("cookie", ""), ("cookie", "a=1"), ("cookie", "")])).fields;
    assert_eq!(fields, [("cookie".into(), "a=1".into())] as [(String, String); 1]);
    // It stands before a pseudo-field like any other.
    let behind = section(&[(":method", "GET"), ("cookie", ""), (":path", "/")]);
    assert!(
        matches!(take(&behind, true, &Limits::default()), Err(Unsound::Request(reject)) if reject.status == 400)
    );
}

#[test]
fn what_is_too_much_is_refused() {
    let limits = Limits { header_bytes_max: 400, header_count_max: 3, target_bytes_max: 20 };
    let status = |section: &[u8]| match take(section, true, &limits) {
        Err(Unsound::Request(reject)) => reject.status,
        Err(Unsound::Compression) => 0,
        Ok(_) => 200,
    };
    assert_eq!(status(&with(&[], &[("a", "1"), ("b", "2"), ("c", "3")])), 200);
    assert_eq!(status(&with(&[], &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")])), 431);
    assert_eq!(status(&with(&[], &[("a", "1"), ("b", "2"), ("c", "3"), ("cookie", "4")])), 431);
    assert_eq!(status(&with(&[], &[("a", &"x".repeat(200))])), 431);
    assert_eq!(status(&with(&[(":path", "/0123456789012345678")], &[])), 200);
    assert_eq!(status(&with(&[(":path", "/01234567890123456789")], &[])), 414);
}

#[test]
fn a_websocket_is_a_get_that_asks_for_an_upgrade() {
    let asked = with(&[(":method", "CONNECT"), (":protocol", "websocket")], &[("sec-websocket-key", "mine")]);
    let Found { head, bytes, fields } = take(&asked, false, &Limits::default()).expect("a sound request");
    assert_eq!((head.method, head.framing), (Method::Get, Framing::None));
    assert_eq!(head.upgrade.expect("an upgrade").of(&bytes), b"websocket");
    assert_eq!(fields, [("sec-websocket-key".to_owned(), String::from_utf8_lossy(&KEY).into_owned())]);
    refused(&with(&[(":method", "CONNECT"), (":protocol", "connect-udp")], &[]), 501, "WebSockets");
    refused(&with(&[(":method", "CONNECT")], &[]), 501, "CONNECT");
    refused(&with(&[(":protocol", "websocket")], &[]), 400, "CONNECT");
}

#[test]
fn trailers_lose_what_steers_and_hold_no_pseudo_field() {
    let (mut out, mut fields) = (Vec::new(), Vec::new());
    let sound = section(&[("x-sum", "1"), ("content-length", "5"), ("host", "b")]);
    trailers(&sound, 1000, &mut out, &mut fields).expect("sound trailers");
    assert_eq!(fields.iter().map(|field| field.name.of(&out)).collect::<Vec<_>>(), [b"x-sum"]);
    for unsound in [section(&[(":path", "/")]), section(&[("x", &"y".repeat(1000))])] {
        assert!(trailers(&unsound, 1000, &mut out, &mut fields).is_err());
    }
    assert_eq!(trailers(&[0, 0, 0x80], 1000, &mut out, &mut fields), Err(Unsound::Compression));
    // As many as over HTTP/1.1, those that are lost among them.
    let most = [[("x", "y"), ("host", "b")]; TRAILER_COUNT_MAX / 2].concat();
    assert!(trailers(&section(&most), 8_000, &mut out, &mut fields).is_ok());
    let more = [&most[..], &[("x", "y")]].concat();
    assert!(trailers(&section(&more), 8_000, &mut out, &mut fields).is_err());
}

/// Fields of a section that was written, as text.
fn written(section: &[u8]) -> Vec<String> {
    let mut section = Section::new(section).expect("a section");
    let mut lines = Vec::new();
    while let Some((name, value)) = section.next().expect("a field") {
        let mut line = Vec::new();
        name.write(&mut line).expect("a name");
        line.extend_from_slice(b": ");
        value.write(&mut line).expect("a value");
        lines.push(String::from_utf8_lossy(&line).into_owned());
    }
    lines
}

const EDIT: ResponseEdit<'static> = ResponseEdit {
    version: Version::Http3,
    framing: Framing::Chunked,
    close: true,
    upgrade: false,
    date: b"today",
    without: b"x-secret",
    hsts: b"max-age=1",
    alt_svc: b"",
    set_cookie: b"s=1",
};

fn answered(text: &str, edit: &ResponseEdit<'_>) -> Vec<String> {
    let mut fields = Vec::new();
    let head = http1::response::parse(text.as_bytes(), Method::Get, &Limits::default(), &mut fields);
    let head = head.expect("sound").expect("whole");
    let mut out = Vec::new();
    response(Parts { head: &head, fields: &fields, bytes: text.as_bytes() }, edit, &mut out);
    written(&out)
}

#[test]
fn a_response_loses_what_belongs_to_its_connection() {
    let text = "HTTP/1.1 203 Fine\r\nX-Up: 1\r\nX-Secret: 1\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\
                Transfer-Encoding: chunked\r\nTrailer: x-sum\r\nSet-Cookie: a=1\r\n\r\n";
    assert_eq!(
        answered(text, &EDIT),
        [
            ":status: 203",
            "x-up: 1",
            "trailer: x-sum",
            "set-cookie: a=1",
            "date: today",
            "strict-transport-security: max-age=1",
            "set-cookie: s=1",
        ]
    );
    let text =
        "HTTP/1.1 200 OK\r\nDate: then\r\nStrict-Transport-Security: max-age=9\r\nContent-Length: 5\r\n\r\n";
    let edit = ResponseEdit { framing: Framing::Length(5), set_cookie: b"", ..EDIT };
    assert_eq!(
        answered(text, &edit),
        [":status: 200", "date: then", "strict-transport-security: max-age=9", "content-length: 5"]
    );
}

#[test]
fn an_agreement_to_a_websocket_is_a_200() {
    let text = "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\
                Sec-WebSocket-Protocol: chat\r\n\r\n";
    let edit =
        ResponseEdit { framing: Framing::None, upgrade: true, hsts: b"", set_cookie: b"", date: b"", ..EDIT };
    assert_eq!(answered(text, &edit), [":status: 200", "sec-websocket-protocol: chat"]);
}

#[test]
fn answers_of_our_own_are_statuses_or_those_of_grpc() {
    let busy = Local {
        status: 503,
        fields: &[("retry-after", "1")],
        body: "busy\n",
        version: Version::Http3,
        close: false,
        head_request: false,
        overdue: false,
        date: b"today",
    };
    let of = |answer: &Local<'_>, is_grpc| {
        let mut out = Vec::new();
        let body = local(answer, is_grpc, &mut out).to_vec();
        (written(&out), body)
    };
    let (head, body) = of(&busy, false);
    assert_eq!(
        head,
        [
            ":status: 503",
            "date: today",
            "retry-after: 1",
            "content-type: text/plain; charset=utf-8",
            "content-length: 5"
        ]
    );
    assert_eq!(body, b"busy\n");
    assert_eq!(of(&Local { head_request: true, ..busy }, false), (head, Vec::new()));
    let (head, body) = of(&busy, true);
    assert_eq!((head[0].as_str(), body), (":status: 200", Vec::new()));
    assert!(head.contains(&"grpc-status: 14".to_owned()) && head.contains(&"grpc-message: busy".to_owned()));
}

/// Names that parsers disagree about, and values that would end a line.
const NAMES: [&str; 16] = [
    ":method",
    ":scheme",
    ":authority",
    ":path",
    ":protocol",
    ":status",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "expect",
    "cookie",
    "x_forwarded_for",
    "X-Mine",
    "x-mine",
];
const VALUES: [&str; 18] = [
    "GET",
    "POST",
    "CONNECT",
    "https",
    "a.example",
    "/",
    "/a?b",
    "*",
    "5",
    "+5",
    "chunked",
    "close",
    "trailers",
    "100-continue",
    "a\r\nb: c",
    " a",
    "a\0",
    "websocket",
];

proptest::proptest! {
    /// Whatever comes is taken or refused; what is taken is, in the form of HTTP/1.1, one sound request and nothing else.
    #[test]
    fn what_is_taken_is_sound_to_others_too(
        picks in proptest::collection::vec((0..NAMES.len(), 0..VALUES.len()), 0..8),
        whole in proptest::bool::ANY,
        ended in proptest::bool::ANY,
    ) {
        let mut fields: Vec<(&str, &str)> = if whole { GET.to_vec() } else { Vec::new() };
        fields.extend(picks.into_iter().map(|(name, value)| (NAMES[name], VALUES[value])));
        let (mut bytes, mut spans) = (Vec::new(), Vec::new());
        let limits = Limits::default();
        if let Ok(head) = request(&exactly(&fields), ended, &limits, || KEY, &mut bytes, &mut spans) {
            let target = head.origin_path(&bytes).to_vec();
            let forwarded = Forwarded {
                peer: None,
                proto: "https",
                trusted: true,
                identity: None,
                early: false,
                request_id: b"id",
            };
            let edit = RequestEdit {
                target: &target,
                set: &[],
                remove: &[],
                forwarded,
                host_fallback: b"",
                framing: head.framing,
                upgrade: head.upgrade.is_some(),
                expect_continue: head.expect_continue,
                max_forwards: None,
            };
            let (mut out, mut again) = (Vec::new(), Vec::new());
            http1::encode::request(&mut out, &bytes, &head, &spans, &edit);
            let read = http1::request::parse(&out, &limits, &mut again).expect("sound").expect("whole");
            proptest::prop_assert_eq!(read.head_bytes as usize, out.len());
            proptest::prop_assert_eq!(read.framing, head.framing);
            proptest::prop_assert_eq!(read.authority.of(&out), head.authority.of(&bytes));
        }
    }

    #[test]
    fn whatever_comes_is_taken_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let section = [&[0, 0], &bytes[..]].concat();
        let _ = take(&section, true, &Limits::default());
        let _ = take(&bytes, true, &Limits::default());
    }
}

/// A section with names as they are, be they in lower case or not.
fn exactly(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![0, 0];
    for (name, value) in fields {
        // Lengths beyond what the first byte holds take another.
        match (name.len() as u8).checked_sub(7) {
            Some(more) => out.extend_from_slice(&[0b0010_0111, more]),
            None => out.push(0b0010_0000 | name.len() as u8),
        }
        out.extend_from_slice(name.as_bytes());
        out.push(value.len() as u8);
        out.extend_from_slice(value.as_bytes());
    }
    out
}
