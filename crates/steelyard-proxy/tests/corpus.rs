//! Replays the corpus of the fuzz targets, and mutations of it, through the properties that they check.

use std::{fs, path::PathBuf};

use proptest::prelude::*;

#[path = "../../../fuzz/src/properties.rs"]
mod properties;

/// What the corpus is mutated with: the words that parsers of HTTP/1 disagree about.
const WORDS: [&[u8]; 42] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b"\x7f",
    b":",
    b",",
    b";",
    b"=",
    b"\"",
    b"0",
    b"1",
    b"-",
    b"+",
    b"0x",
    b"_",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Connection: x, close\r\n",
    b"Connection: upgrade\r\n",
    b"Upgrade: websocket\r\n",
    b"Host: b\r\n",
    b"Expect: 100-continue\r\n",
    b"TE: trailers\r\n",
    b"chunked",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/2.0",
    b"http://b",
    b"[::1]",
    b"@",
    b"#",
    b"%",
    b"ffffffffffffffff",
    b"X-Forwarded-For: 1\r\n",
    b"X_Forwarded_For: 1\r\n",
    b"Max-Forwards: 1\r\n",
    b"\xff",
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs: Vec<_> =
        fs::read_dir(&folder).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    inputs.sort();
    assert!(inputs.len() >= 10, "{} is no corpus", folder.display());
    inputs.iter().map(|path| fs::read(path).expect("an input")).collect()
}

#[test]
fn the_corpus_of_request_heads_holds() {
    for mut input in corpus("request_head") {
        properties::request_head(&input);
        // A byte behind the head decides whether its sender is trusted.
        input.push(b'1');
        properties::request_head(&input);
    }
}

#[test]
fn the_corpus_of_response_heads_holds() {
    for input in corpus("response_head") {
        properties::response_head(&input);
    }
}

#[test]
fn the_corpus_of_chunked_bodies_holds() {
    for input in corpus("chunked") {
        properties::chunked(&input);
    }
}

#[test]
fn the_corpus_of_http2_requests_holds() {
    for input in corpus("http2_request") {
        properties::http2_request(&input);
    }
}

#[test]
fn the_corpus_of_http3_streams_holds() {
    for input in corpus("http3_stream") {
        properties::http3_stream(&input);
    }
}

#[test]
fn the_corpus_of_proxy_headers_holds() {
    for input in corpus("proxy_header") {
        properties::proxy_header(&input);
    }
}

#[test]
fn the_corpus_of_hellos_holds() {
    for input in corpus("client_hello") {
        properties::client_hello(&input);
    }
}

/// An input of the corpus with some words put in or over it.
fn mutated(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let edits = prop::collection::vec(
        (any::<prop::sample::Index>(), 0..4_usize, prop::sample::select(&WORDS[..])),
        0..4,
    );
    (prop::sample::select(corpus(target)), edits).prop_map(|(mut input, edits)| {
        for (at, overwritten, word) in edits {
            let at = at.index(input.len() + 1);
            let end = (at + overwritten).min(input.len());
            input.splice(at..end, word.iter().copied());
        }
        input
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_request_heads_hold(input in mutated("request_head")) {
        properties::request_head(&input);
    }

    #[test]
    fn mutated_response_heads_hold(input in mutated("response_head")) {
        properties::response_head(&input);
    }

    #[test]
    fn mutated_http2_requests_hold(input in mutated("http2_request")) {
        properties::http2_request(&input);
    }

    #[test]
    fn mutated_http3_streams_hold(input in mutated("http3_stream")) {
        properties::http3_stream(&input);
    }

    #[test]
    fn mutated_proxy_headers_hold(input in mutated("proxy_header")) {
        properties::proxy_header(&input);
    }

    #[test]
    fn mutated_hellos_hold(input in mutated("client_hello")) {
        properties::client_hello(&input);
    }

    #[test]
    fn mutated_chunked_bodies_hold(input in mutated("chunked")) {
        properties::chunked(&input);
    }
}
