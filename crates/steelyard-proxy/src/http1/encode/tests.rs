use std::net::IpAddr;

use super::*;
use crate::head::{Framing, Method, Version};
use crate::http1::{self, Limits};

fn forwarded() -> Forwarded<'static> {
    let peer = Some(IpAddr::from([192, 0, 2, 7]));
    Forwarded {
        peer,
        proto: "http",
        trusted: false,
        identity: None,
        early: false,
        request_id: b"0123456789abcdef0123456789abcdef",
    }
}

fn edit() -> RequestEdit<'static> {
    RequestEdit {
        target: b"/t?q",
        set: &[],
        remove: &[],
        forwarded: forwarded(),
        host_fallback: b"endpoint:80",
        framing: Framing::None,
        upgrade: false,
        expect_continue: false,
        max_forwards: None,
    }
}

/// The lines that a client's request becomes, in lower case but for what the client wrote.
fn rewrite(text: &str, edit: &RequestEdit<'_>) -> Vec<String> {
    let mut fields = Vec::new();
    let head = http1::request::parse(text.as_bytes(), &Limits::default(), &mut fields)
        .expect(text)
        .expect("complete");
    let mut out = Vec::new();
    request(&mut out, text.as_bytes(), &head, &fields, edit);
    lines(out)
}

fn lines(out: Vec<u8>) -> Vec<String> {
    let out = String::from_utf8(out).unwrap();
    let head = out.strip_suffix("\r\n\r\n").expect("an empty line at the end");
    head.split("\r\n").map(str::to_owned).collect()
}

/// The lines beside those that tell about the client.
fn passed(text: &str, edit: &RequestEdit<'_>) -> Vec<String> {
    let ours =
        ["x-forwarded-for: ", "x-forwarded-proto: ", "x-forwarded-host: ", "forwarded: ", "x-request-id: "];
    let mut lines = rewrite(text, edit);
    lines.retain(|line| !ours.iter().any(|name| line.starts_with(name)));
    lines
}

#[track_caller]
fn value<'a>(lines: &'a [String], name: &str) -> &'a str {
    let values: Vec<_> =
        lines.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect();
    assert_eq!(values.len(), 1, "{name} in {lines:?}");
    values[0]
}

#[test]
fn a_request_is_written_in_one_form() {
    let text = "GET http://b:81/x HTTP/1.0\r\nAccept: */*\r\nhOst: a\r\nX-A:1\r\nX-B:   2\t \r\nX-C: 3\r\nX-D:\r\n\r\n";
    assert_eq!(
        rewrite(text, &edit()),
        [
            "GET /t?q HTTP/1.1",
            "host: b:81",
            "Accept: */*",
            "X-A: 1",
            "X-B: 2",
            "X-C: 3",
            "X-D: ",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-proto: http",
            "x-forwarded-host: b:81",
            "forwarded: for=192.0.2.7;host=\"b:81\";proto=http",
            "x-request-id: 0123456789abcdef0123456789abcdef",
        ]
    );
}

#[test]
fn what_concerns_one_connection_does_not_pass() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, x-mine, x-forwarded-for\r\nKeep-Alive: timeout=5\r\nX-Mine: 1\r\nTE: gzip\r\nTrailer: x\r\nUpgrade: websocket\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nHTTP2-Settings: AAA\r\nExpect: 100-continue\r\nContent_Length: 3\r\nX_Forwarded_For: 6.6.6.6\r\nX-Yours: 2\r\n\r\n";
    assert_eq!(passed(text, &edit()), ["GET /t?q HTTP/1.1", "host: a", "X-Yours: 2"]);
}

#[test]
fn framing_and_expectation_are_ours() {
    let text = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0005\r\nA: 1\r\nExpect: 100-continue\r\n\r\n";
    let sent = RequestEdit { framing: Framing::Length(5), expect_continue: true, ..edit() };
    assert_eq!(
        passed(text, &sent),
        ["POST /t?q HTTP/1.1", "host: a", "A: 1", "content-length: 5", "expect: 100-continue"]
    );
    let text = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\nTrailer: x\r\n\r\n";
    let sent = RequestEdit { framing: Framing::Chunked, ..edit() };
    assert_eq!(passed(text, &sent)[1..], ["host: a", "Trailer: x", "transfer-encoding: chunked"]);
}

#[test]
fn an_upgrade_and_trailers_are_asked_for_anew() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, TE\r\nUpgrade: websocket\r\nTE: trailers, gzip\r\n\r\n";
    let sent = RequestEdit { upgrade: true, ..edit() };
    assert_eq!(passed(text, &sent)[2..], ["connection: upgrade, te", "upgrade: websocket", "te: trailers"]);
    assert_eq!(passed(text, &edit())[2..], ["connection: te", "te: trailers"]);
}

#[test]
fn a_client_without_host_gets_the_endpoints() {
    assert_eq!(value(&rewrite("GET / HTTP/1.0\r\n\r\n", &edit()), "host"), "endpoint:80");
    assert_eq!(value(&rewrite("GET / HTTP/1.0\r\n\r\n", &edit()), "forwarded"), "for=192.0.2.7;proto=http");
}

const CHAINED: &str = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: front\r\nX-Forwarded-Port: 443\r\nX-Real-IP: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\nX-Request-Id: theirs\r\nX-Forwarded-For: 2.2.2.2\r\n\r\n";

#[test]
fn an_untrusted_peer_is_not_believed() {
    let lines = rewrite(CHAINED, &edit());
    assert_eq!(value(&lines, "x-forwarded-for"), "192.0.2.7");
    assert_eq!(value(&lines, "x-forwarded-proto"), "http");
    assert_eq!(value(&lines, "x-forwarded-host"), "a");
    assert_eq!(value(&lines, "forwarded"), "for=192.0.2.7;host=a;proto=http");
    assert_eq!(lines.len(), 7, "{lines:?}");
}

#[test]
fn a_trusted_peer_is_believed_and_added_to() {
    let trusting = RequestEdit { forwarded: Forwarded { trusted: true, ..forwarded() }, ..edit() };
    let lines = rewrite(CHAINED, &trusting);
    assert_eq!(value(&lines, "x-forwarded-for"), "1.1.1.1, 2.2.2.2, 192.0.2.7");
    assert_eq!(value(&lines, "forwarded"), "for=1.1.1.1, for=192.0.2.7;host=a;proto=http");
    for kept in [
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: front",
        "X-Forwarded-Port: 443",
        "X-Real-IP: 1.1.1.1",
        "X-Request-Id: theirs",
    ] {
        assert_eq!(lines.iter().filter(|line| line.eq_ignore_ascii_case(kept)).count(), 1, "{kept}");
    }
    assert_eq!(lines.len(), 9, "{lines:?}");
    assert_eq!(
        value(&rewrite("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &trusting), "x-forwarded-for"),
        "192.0.2.7"
    );
}

#[test]
fn peers_of_every_family_are_written_as_rfc_7239_asks() {
    for (peer, plain, element) in [
        (Some("2001:db8::1"), "2001:db8::1", "for=\"[2001:db8::1]\""),
        (Some("::ffff:10.0.0.1"), "10.0.0.1", "for=10.0.0.1"),
        (None, "unknown", "for=unknown"),
    ] {
        let peer = peer.map(|peer| peer.parse().unwrap());
        let sent = RequestEdit { forwarded: Forwarded { peer, proto: "https", ..forwarded() }, ..edit() };
        let lines = rewrite("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", &sent);
        assert_eq!(value(&lines, "x-forwarded-for"), plain);
        assert_eq!(value(&lines, "forwarded"), format!("{element};host=\"[::1]:80\";proto=https"));
    }
}

#[test]
fn routes_set_and_remove_fields_but_not_the_framing() {
    let boxed = |text: &str| Box::from(text.as_bytes());
    let set = [
        (boxed("X-New"), boxed("1")),
        (boxed("X-Old"), boxed("2")),
        (boxed("Host"), boxed("inner")),
        (boxed("Content-Length"), boxed("9")),
        (boxed("X-Forwarded-For"), boxed("hidden")),
    ];
    let remove = [boxed("cookie"), boxed("forwarded"), boxed("host")];
    let routed = RequestEdit { set: &set, remove: &remove, framing: Framing::Length(3), ..edit() };
    let text =
        "POST / HTTP/1.1\r\nHost: a\r\nx-old: 1\r\nCookie: c\r\nContent-Length: 3\r\nX-Kept: k\r\n\r\n";
    assert_eq!(
        rewrite(text, &routed),
        [
            "POST /t?q HTTP/1.1",
            "X-Kept: k",
            "X-New: 1",
            "X-Old: 2",
            "Host: inner",
            "X-Forwarded-For: hidden",
            "content-length: 3",
            "x-forwarded-proto: http",
            "x-forwarded-host: a",
            "x-request-id: 0123456789abcdef0123456789abcdef",
        ]
    );
}

fn answer() -> ResponseEdit<'static> {
    ResponseEdit {
        version: Version::Http11,
        framing: Framing::Length(3),
        close: false,
        upgrade: false,
        date: b"now",
        without: b"",
        hsts: b"",
        alt_svc: b"",
        set_cookie: b"",
    }
}

/// The lines that an endpoint's response to this method becomes.
fn relay(method: Method, text: &str, edit: &ResponseEdit<'_>) -> Vec<String> {
    let mut fields = Vec::new();
    let head = http1::response::parse(text.as_bytes(), method, &Limits::default(), &mut fields)
        .expect(text)
        .unwrap();
    let mut out = Vec::new();
    response(&mut out, text.as_bytes(), &head, &fields, edit);
    lines(out)
}

#[test]
fn a_response_is_written_in_one_form() {
    let text = "HTTP/1.0 200\r\nDate: then\r\nServer: s\r\nConnection: keep-alive, x-mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=3\r\nContent-Length: 3\r\nX-A:b\r\nProxy-Authenticate: Basic\r\nTrailer: x\r\nSet-Cookie: c\r\nSet-Cookie: d\r\n\r\n";
    assert_eq!(
        relay(Method::Get, text, &answer()),
        [
            "HTTP/1.1 200 ",
            "Date: then",
            "Server: s",
            "X-A: b",
            "Set-Cookie: c",
            "Set-Cookie: d",
            "content-length: 3"
        ]
    );
    let text = "HTTP/1.1 404 Not Here\r\nA: 1\r\nB: 2\r\nContent-Length: 3\r\nC: 3\r\n\r\n";
    assert_eq!(
        relay(Method::Get, text, &answer()),
        ["HTTP/1.1 404 Not Here", "A: 1", "B: 2", "C: 3", "date: now", "content-length: 3"]
    );
}

#[test]
fn a_status_line_without_reason_gets_its_space() {
    let text = "HTTP/1.1 200\r\nDate: then\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(relay(Method::Get, text, &answer()), ["HTTP/1.1 200 ", "Date: then", "content-length: 3"]);
}

#[test]
fn responses_are_framed_for_the_client() {
    let text = "HTTP/1.1 200 OK\r\nDate: then\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n";
    let chunked = ResponseEdit { framing: Framing::Chunked, ..answer() };
    assert_eq!(relay(Method::Get, text, &chunked)[2..], ["Trailer: x", "transfer-encoding: chunked"]);
    let until_close = ResponseEdit { framing: Framing::UntilClose, version: Version::Http10, ..answer() };
    assert_eq!(relay(Method::Get, text, &until_close)[2..], ["connection: close"]);
}

#[test]
fn persistence_is_said_where_it_is_not_the_default() {
    let text = "HTTP/1.1 200 OK\r\nDate: then\r\nContent-Length: 3\r\n\r\n";
    let lines =
        |version, close| relay(Method::Get, text, &ResponseEdit { version, close, ..answer() })[3..].to_vec();
    assert!(lines(Version::Http11, false).is_empty());
    assert_eq!(lines(Version::Http11, true), ["connection: close"]);
    assert_eq!(lines(Version::Http10, false), ["connection: keep-alive"]);
    assert_eq!(lines(Version::Http10, true), ["connection: close"]);
}

#[test]
fn the_length_of_content_that_is_not_sent_is_kept_where_it_may_be_said() {
    let none = ResponseEdit { framing: Framing::None, date: b"", ..answer() };
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
    assert_eq!(relay(Method::Head, text, &none)[1..], ["content-length: 7"]);
    assert_eq!(relay(Method::Get, &text.replace("200", "304"), &none)[1..], ["content-length: 7"]);
    assert!(relay(Method::Get, &text.replace("200", "204"), &none)[1..].is_empty());
}

#[test]
fn an_upgrade_passes_only_where_it_was_agreed() {
    let text = "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
    let edit = ResponseEdit { framing: Framing::None, upgrade: true, date: b"", ..answer() };
    assert_eq!(
        relay(Method::Get, text, &edit)[1..],
        ["Sec-WebSocket-Accept: x", "connection: upgrade", "upgrade: websocket"]
    );
}

#[test]
fn interim_responses_lose_their_connection_fields() {
    let text = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: close\r\nContent-Length: 3\r\n\r\n";
    let mut fields = Vec::new();
    let parsed = http1::response::parse(text.as_bytes(), Method::Get, &Limits::default(), &mut fields);
    let mut out = Vec::new();
    interim(&mut out, text.as_bytes(), &parsed.unwrap().unwrap(), &fields);
    assert_eq!(lines(out), ["HTTP/1.1 103 Early Hints", "Link: </a>"]);
}

#[test]
fn our_own_answers_are_whole() {
    let busy = Local {
        overdue: false,
        status: 503,
        fields: &[("retry-after", "1")],
        body: "busy\n",
        version: Version::Http11,
        close: true,
        head_request: false,
        date: b"now",
    };
    let written = |answer: &Local<'_>| {
        let mut out = Vec::new();
        local(&mut out, answer);
        String::from_utf8(out).unwrap()
    };
    let head = "HTTP/1.1 503 Service Unavailable\r\ndate: now\r\nretry-after: 1\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 5\r\nconnection: close\r\n\r\n";
    assert_eq!(written(&busy), format!("{head}busy\n"));
    assert_eq!(written(&Local { head_request: true, ..busy }), head);
    let empty = Local { status: 204, fields: &[], body: "", close: false, version: Version::Http10, ..busy };
    assert_eq!(written(&empty), "HTTP/1.1 204 No Content\r\ndate: now\r\nconnection: keep-alive\r\n\r\n");
}

#[test]
fn trailers_end_the_message() {
    let section = b"X-Sum:  1\r\n";
    let mut fields = Vec::new();
    http1::chunked::trailer_fields(section, &mut fields).unwrap();
    let mut out = Vec::new();
    trailers(&mut out, section, &fields);
    assert_eq!(out, b"0\r\nX-Sum: 1\r\n\r\n");
}

#[test]
fn a_field_that_is_for_us_stays_here() {
    let text =
        "HTTP/1.1 200 OK\r\na: 1\r\nEndpoint-Load-Metrics: TEXT eps=1\r\nb: 2\r\ncontent-length: 3\r\n\r\n";
    let kept = |without| {
        let mut lines = relay(Method::Get, text, &ResponseEdit { without, ..answer() });
        lines.retain(|line| line.starts_with(['a', 'b', 'E']));
        lines
    };
    assert_eq!(kept(b"endpoint-load-metrics"), ["a: 1", "b: 2"]);
    assert_eq!(kept(b""), ["a: 1", "Endpoint-Load-Metrics: TEXT eps=1", "b: 2"]);
}

#[test]
fn a_cookie_of_ours_stands_beside_the_endpoint_s() {
    let text = "HTTP/1.1 200 OK\r\nset-cookie: app=1\r\ncontent-length: 3\r\n\r\n";
    let ours = ResponseEdit { set_cookie: b"steelyard=1; Path=/", ..answer() };
    let mut cookies = relay(Method::Get, text, &ours);
    cookies.retain(|line| line.starts_with("set-cookie: "));
    assert_eq!(cookies, ["set-cookie: app=1", "set-cookie: steelyard=1; Path=/"]);
}
