//! What it costs to read a head and to write it anew, for the heads of a load generator and of a browser.

use std::{hint::black_box, net::IpAddr};

use criterion::{Criterion, criterion_group, criterion_main};
use steelyard_proxy::head::{Fields, Framing, Method, RequestHead, Span, Version};
use steelyard_proxy::http1::{
    Limits,
    encode::{self, Forwarded, RequestEdit, ResponseEdit},
    request, response,
};

const SMALL_REQUEST: &str = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
const BROWSER_REQUEST: &str = "GET /articles/2026/11/weighing?page=2&sort=new HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/articles/\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Cache-Control: no-cache\r\n\r\n";
const SMALL_RESPONSE: &str =
    "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 09:00:00 GMT\r\nContent-Length: 62\r\n\r\n";
const BROWSER_RESPONSE: &str = "HTTP/1.1 200 OK\r\n\
    Server: nginx\r\n\
    Date: Mon, 23 Nov 2026 09:00:00 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 18234\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: private, max-age=0, must-revalidate\r\n\
    ETag: \"5f3e-6123456789abc\"\r\n\
    Vary: Accept-Encoding, Cookie\r\n\
    Set-Cookie: seen=1; Path=/; HttpOnly; SameSite=Lax\r\n\
    X-Frame-Options: DENY\r\n\r\n";

fn edit<'a>(buffer: &'a [u8], head: &RequestHead) -> RequestEdit<'a> {
    let end = head.query.map_or(head.path.end, |query| query.end);
    RequestEdit {
        target: Span { start: head.path.start, end }.of(buffer),
        set: &[],
        remove: &[],
        forwarded: Forwarded {
            peer: Some(IpAddr::from([192, 0, 2, 7])),
            proto: "http",
            trusted: false,
            identity: None,
            early: false,
            request_id: b"0123456789abcdef0123456789abcdef",
        },
        host_fallback: b"",
        framing: Framing::None,
        upgrade: false,
        expect_continue: false,
        max_forwards: None,
    }
}

fn requests(criterion: &mut Criterion) {
    let limits = Limits::default();
    for (size, text) in [("small", SMALL_REQUEST), ("browser", BROWSER_REQUEST)] {
        let buffer = text.as_bytes();
        let mut fields = Fields::new();
        criterion.bench_function(&format!("parse_request/{size}"), |bencher| {
            bencher.iter(|| request::parse(black_box(buffer), &limits, &mut fields));
        });
        let Ok(Some(head)) = request::parse(buffer, &limits, &mut fields) else {
            panic!("not a request: {text}")
        };
        let mut out = Vec::new();
        criterion.bench_function(&format!("encode_request/{size}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode::request(&mut out, black_box(buffer), &head, &fields, &edit(buffer, &head));
                black_box(out.len())
            });
        });
    }
}

fn responses(criterion: &mut Criterion) {
    let limits = Limits::default();
    for (size, text) in [("small", SMALL_RESPONSE), ("browser", BROWSER_RESPONSE)] {
        let buffer = text.as_bytes();
        let mut fields = Fields::new();
        criterion.bench_function(&format!("parse_response/{size}"), |bencher| {
            bencher.iter(|| response::parse(black_box(buffer), Method::Get, &limits, &mut fields));
        });
        let Ok(Some(head)) = response::parse(buffer, Method::Get, &limits, &mut fields) else {
            panic!("not a response: {text}")
        };
        let edit = ResponseEdit {
            version: Version::Http11,
            framing: head.framing,
            close: false,
            upgrade: false,
            date: b"",
            without: b"",
            hsts: b"",
            alt_svc: b"",
            set_cookie: b"",
        };
        let mut out = Vec::new();
        criterion.bench_function(&format!("encode_response/{size}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode::response(&mut out, black_box(buffer), &head, &fields, &edit);
                black_box(out.len())
            });
        });
    }
}

criterion_group!(benches, requests, responses);
criterion_main!(benches);
