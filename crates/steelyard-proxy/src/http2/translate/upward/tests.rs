//! The rules towards an endpoint that speaks HTTP/2, one by one.

use super::*;
use crate::http1::encode::{Forwarded, SetField};

const FORWARDED: Forwarded<'static> =
    Forwarded { peer: None, proto: "http", trusted: false, identity: None, early: false, request_id: b"id" };

fn edit(target: &[u8]) -> RequestEdit<'_> {
    RequestEdit {
        target,
        set: &[],
        remove: &[],
        forwarded: FORWARDED,
        host_fallback: b"10.0.0.1:80",
        framing: Framing::None,
        upgrade: false,
        expect_continue: false,
        max_forwards: None,
    }
}

/// A request of HTTP/1.1 as an endpoint gets it.
fn asked(text: &[u8], change: impl FnOnce(&mut RequestEdit<'_>), websockets: bool) -> (Request<()>, Asking) {
    let mut fields = Vec::new();
    let parsed = crate::http1::request::parse(text, &Limits::default(), &mut fields);
    let head = parsed.expect("sound").expect("whole");
    let mut edit = RequestEdit {
        framing: head.framing,
        upgrade: head.upgrade.is_some(),
        expect_continue: head.expect_continue,
        ..edit(head.origin_path(text))
    };
    change(&mut edit);
    let towards = Towards { websockets, secure: false };
    let (asked, asking, _) = request(Parts { head: &head, fields: &fields, bytes: text }, &edit, towards);
    (asked, asking)
}

fn values<'r>(asked: &'r Request<()>, name: &str) -> Vec<&'r [u8]> {
    asked.headers().get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

#[test]
fn nothing_of_the_connection_passes() {
    let text = b"GET /a HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, x-hop, te\r\nX-Hop: 1\r\n\
        Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers, deflate\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\
        X-Kept: 1\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n";
    let (asked, asking) = asked(text, |_| {}, true);
    assert!(!asking.is_websocket());
    let names: Vec<_> = asked.headers().keys().map(http::HeaderName::as_str).collect();
    let ours = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-request-id"];
    assert_eq!(names, [&["x-kept", "te"][..], &ours].concat());
    assert_eq!(values(&asked, "te"), [b"trailers"]);
    assert_eq!(asked.uri(), "http://a.example/a");
    assert_eq!(values(&asked, "forwarded"), [b"for=unknown;host=a.example;proto=http"]);
}

#[test]
fn names_are_in_lower_case_and_values_as_they_came() {
    let (asked, _) = asked(b"GET / HTTP/1.1\r\nHost: a\r\nX-Mixed: A b\xe9\r\n\r\n", |_| {}, false);
    assert_eq!(values(&asked, "x-mixed"), [b"A b\xe9"]);
}

#[test]
fn a_length_passes_and_chunks_do_not() {
    let (sized, _) = asked(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", |_| {}, false);
    assert_eq!(values(&sized, "content-length"), [b"3"]);
    let (chunked, _) =
        asked(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", |_| {}, false);
    assert!(
        values(&chunked, "content-length").is_empty() && values(&chunked, "transfer-encoding").is_empty()
    );
}

#[test]
fn the_host_becomes_the_authority() {
    let set: Vec<SetField> = vec![(b"Host"[..].into(), b"b.example"[..].into())];
    let (set_by_route, _) = asked(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", |edit| edit.set = &[], false);
    assert_eq!(set_by_route.uri().authority().expect("one"), "a");
    let (none, _) = asked(b"GET / HTTP/1.0\r\n\r\n", |_| {}, false);
    assert_eq!(none.uri().authority().expect("one"), "10.0.0.1:80");
    let head = asked(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", |_| {}, false).0;
    assert!(values(&head, "host").is_empty());
    assert_eq!(edit(b"/").host(&sample(), b""), b"10.0.0.1:80");
    assert_eq!(RequestEdit { set: &set, ..edit(b"/") }.host(&sample(), b""), b"b.example");
}

fn sample() -> RequestHead {
    let parsed = crate::http1::request::parse(b"GET / HTTP/1.0\r\n\r\n", &Limits::default(), &mut Vec::new());
    parsed.expect("sound").expect("whole")
}

#[test]
fn targets_that_http_does_not_take_are_escaped() {
    let (asked, _) = asked(b"GET /a`b HTTP/1.1\r\nHost: a\r\n\r\n", |_| {}, false);
    let target = asked.uri().path_and_query().expect("a target").as_str();
    assert!(matches!(target, "/a`b" | "/a%60b"), "{target}");
    for byte in (0x21..0x7f_u8).filter(|byte| !b"#?\"<>\\%".contains(byte)) {
        let path = [b'/', byte];
        assert!(uri(Scheme::HTTP, b"a", &path).path_and_query().is_some(), "{byte:#x}");
    }
    assert_eq!(uri(Scheme::HTTP, b"a", b"*").path_and_query().expect("one").as_str(), "*");
}

const WEBSOCKET: &[u8] = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn an_upgrade_to_a_websocket_is_an_extended_connect() {
    let (asking_for, asking) = asked(WEBSOCKET, |_| {}, true);
    assert_eq!(asking_for.method(), http::Method::CONNECT);
    assert_eq!(asking_for.extensions().get::<Protocol>().expect("one").as_str(), "websocket");
    assert!(values(&asking_for, "sec-websocket-key").is_empty());
    assert_eq!(values(&asking_for, "sec-websocket-version"), [b"13"]);
    let response = http::Response::builder().status(200).body(()).expect("a response").into_parts().0;
    let head = read(&response, false, Method::Get, &asking).expect("sound");
    assert_eq!((head.0.status, head.0.framing), (101, Framing::None));
    assert!(head.1.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{}", head.1);
}

#[test]
fn an_endpoint_that_knows_none_is_asked_without() {
    let (without, asking) = asked(WEBSOCKET, |_| {}, false);
    assert_eq!(without.method(), http::Method::GET);
    assert!(!asking.is_websocket() && values(&without, "upgrade").is_empty());
}

/// A response as it is read, and as text.
fn read(
    parts: &http::response::Parts,
    ended: bool,
    asked: Method,
    asking: &Asking,
) -> Result<(ResponseHead, String), Fault> {
    let (mut out, mut fields) = (Vec::new(), Vec::new());
    let head = response(parts, ended, asked, asking, &Limits::default(), &mut out, &mut fields)?;
    Ok((head, String::from_utf8_lossy(&out).into_owned()))
}

fn given(status: u16, fields: &[(&str, &str)]) -> http::response::Parts {
    let builder = http::Response::builder().status(status);
    let builder = fields.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(()).expect("a response").into_parts().0
}

#[test]
fn a_response_is_in_the_form_of_http1() {
    let parts = given(204, &[("x-a", "1"), ("set-cookie", "a"), ("set-cookie", "b")]);
    let (head, text) = read(&parts, true, Method::Get, &Asking::default()).expect("sound");
    assert_eq!(text, "HTTP/1.1 204 \r\nx-a: 1\r\nset-cookie: a\r\nset-cookie: b\r\n");
    assert_eq!((head.reason, head.framing), (Span::new(13, 13), Framing::None));
}

#[test]
fn the_end_of_a_response_is_known() {
    let framing = |status, fields: &[_], ended, asked| {
        read(&given(status, fields), ended, asked, &Asking::default()).map(|(head, _)| head.framing)
    };
    assert_eq!(
        framing(200, &[("content-length", "5")], false, Method::Get).expect("sound"),
        Framing::Length(5)
    );
    assert_eq!(framing(200, &[], false, Method::Get).expect("sound"), Framing::Chunked);
    assert_eq!(framing(200, &[], true, Method::Get).expect("sound"), Framing::Length(0));
    assert_eq!(framing(200, &[("content-length", "5")], true, Method::Head).expect("sound"), Framing::None);
    assert_eq!(framing(304, &[], true, Method::Get).expect("sound"), Framing::None);
    framing(200, &[("content-length", "x")], false, Method::Get).expect_err("no length");
    framing(200, &[("content-length", "5"), ("content-length", "5")], false, Method::Get).expect_err("two");
    framing(101, &[], false, Method::Get).expect_err("there is none in HTTP/2");
    framing(600, &[], false, Method::Get).expect_err("no status");
}

#[test]
fn the_scheme_is_that_of_the_connection() {
    let text = b"GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let mut fields = Vec::new();
    let head = crate::http1::request::parse(text, &Limits::default(), &mut fields).unwrap().unwrap();
    let edit = edit(b"/a");
    for (secure, uri) in [(false, "http://a.example/a"), (true, "https://a.example/a")] {
        let parts = Parts { head: &head, fields: &fields, bytes: text };
        let (asked, ..) = request(parts, &edit, Towards { websockets: false, secure });
        assert_eq!(asked.uri(), uri);
    }
}
