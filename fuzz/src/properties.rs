//! What must hold of the codecs for any input. Each function panics where it does not.
//!
//! The fuzz targets call these, and so does `crates/steelyard-proxy/tests/corpus.rs`, which includes this file.

#[path = "http3.rs"]
mod http3;

pub use http3::http3_stream;

use std::fmt::Debug;

use steelyard_proxy::head::{
    FieldKind, FieldSpan, Fields, Framing, Method, RequestHead, ResponseHead, Version,
};
use steelyard_proxy::http1::{
    Limits, Malformed, Reject,
    chunked::{self, Decoder, Step},
    encode::{self, Forwarded, RequestEdit, ResponseEdit},
    request, response,
};
use steelyard_proxy::http2::translate;
use steelyard_proxy::{hello, proxied};

/// The fields that a request is given on its way.
const FIELDS_ADDED_MAX: u32 = 16;

type Parsed<H, E> = Result<Option<(H, Fields)>, E>;

/// A request head is read the same however it is cut, and what is accepted means the same once written anew.
pub fn request_head(data: &[u8]) {
    let parsed = parse_request(data);
    check_cuts(data, &parsed, parse_request);
    let Ok(Some((head, fields))) = parsed else { return };
    check_lines(&data[..head.head_bytes as usize]);

    let target = target(data, &head);
    let mut out = Vec::new();
    // Most heads end an input, and a line feed is even.
    let trusted = data.last().is_some_and(|byte| byte % 2 == 1);
    encode::request(&mut out, data, &head, &fields, &request_edit(&head, &target, trusted));
    check_lines(&out);
    let Ok(Some((again, again_fields))) = parse_written(&out) else {
        panic!("what we write is refused: {:?}", String::from_utf8_lossy(&out))
    };
    assert_eq!(again.head_bytes as usize, out.len(), "the head ends where we say");
    assert_eq!(again.method, head.method);
    assert_eq!(again.method_span.of(&out), head.method_span.of(data));
    let sent = &out[again.method_span.end as usize + 1..];
    assert!(sent.starts_with(&target) && sent[target.len()..].starts_with(b" HTTP/1.1\r\n"));
    assert_eq!(again.framing, head.framing);
    assert_eq!(again.version, Version::Http11);
    assert!(again.keep_alive);
    assert_eq!(again.expect_continue, head.expect_continue);
    assert_eq!(again.te_trailers, head.te_trailers);
    assert_eq!(again.upgrade.map(|upgrade| upgrade.of(&out)), head.upgrade.map(|upgrade| upgrade.of(data)));
    let authority = if head.authority.is_empty() { b"endpoint" } else { head.authority.of(data) };
    assert_eq!(again.authority.of(&out), authority);
    assert_eq!(passed_on(&out, &again_fields), passed_on(data, &fields));
    if !trusted {
        check_who_asks(&out, &again_fields);
    }
}

/// What a client says of whom it asks for is not believed, under whatever name.
fn check_who_asks(out: &[u8], fields: &[FieldSpan]) {
    let values = |kind| -> Vec<_> {
        fields.iter().filter(|field| field.kind == kind).map(|field| field.value.of(out)).collect()
    };
    assert_eq!(values(FieldKind::XForwardedFor), [b"unknown"]);
    assert_eq!(values(FieldKind::XForwardedProto), [b"http"]);
    assert_eq!(values(FieldKind::XRequestId), [b"0"]);
    let forwarded = values(FieldKind::Forwarded);
    assert!(forwarded.len() == 1 && forwarded[0].starts_with(b"for=unknown;"), "{forwarded:?}");
    assert!(values(FieldKind::XForwardedHost).len() <= 1);
    assert!(values(FieldKind::XForwardedOther).is_empty());
    assert!(values(FieldKind::Lookalike).is_empty());
}

/// The same for a response head, as the answer to GET and to HEAD.
pub fn response_head(data: &[u8]) {
    for method in [Method::Get, Method::Head] {
        let parse = |data: &[u8]| parse_response(data, method);
        let parsed = parse(data);
        check_cuts(data, &parsed, parse);
        let Ok(Some((head, fields))) = parsed else { continue };
        check_lines(&data[..head.head_bytes as usize]);

        let mut out = Vec::new();
        if (100..=199).contains(&head.status) && head.status != 101 {
            encode::interim(&mut out, data, &head, &fields);
        } else {
            encode::response(&mut out, data, &head, &fields, &response_edit(&head));
        }
        check_lines(&out);
        let Ok(Some((again, again_fields))) = parse(&out) else {
            panic!("what we write is refused: {:?}", String::from_utf8_lossy(&out))
        };
        assert_eq!(again.head_bytes as usize, out.len(), "the head ends where we say");
        assert_eq!(again.status, head.status);
        assert_eq!(again.reason.of(&out), head.reason.of(data));
        assert_eq!(again.framing, head.framing);
        assert_eq!(again.keep_alive, head.framing != Framing::UntilClose);
        assert_eq!(
            again.upgrade.map(|upgrade| upgrade.of(&out)),
            head.upgrade.map(|upgrade| upgrade.of(data))
        );
        assert_eq!(passed_on(&out, &again_fields), passed_on(data, &fields));
    }
}

/// A chunked body decodes to the same however it is cut, and once encoded anew.
pub fn chunked(data: &[u8]) {
    let whole = decode(data, data.len());
    for piece in [1, 2, 5, 64] {
        assert_same(&whole, &decode(data, piece));
    }
    let Ok(Some(body)) = whole else { return };
    assert!(body.end <= data.len());
    let mut fields = Fields::new();
    chunked::trailer_fields(&body.trailers, &mut fields).expect("trailers that were found sound are sound");

    let mut out = Vec::new();
    for chunk in body.data.chunks(100) {
        out.extend_from_slice(chunked::encode_chunk_head(chunk.len(), &mut [0; 18]));
        out.extend_from_slice(chunk);
        out.extend_from_slice(chunked::CHUNK_END);
    }
    encode::trailers(&mut out, &body.trailers, &fields);
    let again = decode(&out, out.len()).expect("what we write is sound").expect("and whole");
    assert_eq!(again.data, body.data);
    assert_eq!(again.end, out.len());
    let mut again_fields = Fields::new();
    chunked::trailer_fields(&again.trailers, &mut again_fields).expect("what we write is sound");
    assert_eq!(text(&again.trailers, &again_fields), text(&body.trailers, &fields));
}

fn text(section: &[u8], fields: &[FieldSpan]) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields.iter().map(|field| (field.name.of(section).to_vec(), field.value.of(section).to_vec())).collect()
}

/// What an HTTP/2 client asks for is what an endpoint of HTTP/1.1 is asked: nothing in it becomes another line, another
/// length or another request.
///
/// The input is text: the method, the authority, the target and flags (`e` = the head is all, `w` = a WebSocket is asked
/// for), a line each, then the fields. What `h2` would not let through is left out.
pub fn http2_request(data: &[u8]) {
    let Some((parts, ended)) = http2_parts(data) else { return };
    let (mut bytes, mut fields) = (Vec::new(), Fields::new());
    let key = || *b"dGhlIHNhbXBsZSBub25jZQ==";
    let asked = translate::request(&parts, ended, &Limits::default(), key, &mut bytes, &mut fields);
    let Ok(head) = asked else { return };
    check_asked(&head, &bytes, &fields);
}

/// A request that came otherwise, and was written down as one of HTTP/1.1, is that once it has gone.
fn check_asked(head: &RequestHead, bytes: &[u8], fields: &[FieldSpan]) {
    let target = target(bytes, head);
    let mut out = Vec::new();
    encode::request(&mut out, bytes, head, fields, &request_edit(head, &target, false));
    check_lines(&out);
    let Ok(Some((again, again_fields))) = parse_written(&out) else {
        panic!("what we write is refused: {:?}", String::from_utf8_lossy(&out))
    };
    assert_eq!(again.head_bytes as usize, out.len(), "the head ends where we say");
    assert_eq!(again.method_span.of(&out), head.method_span.of(bytes));
    let sent = &out[again.method_span.end as usize + 1..];
    assert!(sent.starts_with(&target) && sent[target.len()..].starts_with(b" HTTP/1.1\r\n"));
    assert_eq!(again.framing, head.framing);
    assert_eq!(again.expect_continue, head.expect_continue);
    assert_eq!(again.te_trailers, head.te_trailers);
    assert_eq!(again.upgrade.map(|upgrade| upgrade.of(&out)), head.upgrade.map(|upgrade| upgrade.of(bytes)));
    assert_eq!(again.authority.of(&out), head.authority.of(bytes));
    assert_eq!(passed_on(&out, &again_fields), passed_on(bytes, fields));
    assert!(again_fields.iter().filter(|field| field.name.of(&out) == b"cookie").count() <= 1, "crumbs");
    check_who_asks(&out, &again_fields);
}

/// A request as `h2` hands it over, and whether its head is all of it.
fn http2_parts(data: &[u8]) -> Option<(http::request::Parts, bool)> {
    let mut lines = data.split(|&byte| byte == b'\n');
    let (method, authority, target, flags) = (lines.next()?, lines.next()?, lines.next()?, lines.next()?);
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(http::uri::PathAndQuery::try_from(target).ok()?);
    if !authority.is_empty() {
        uri.authority = Some(http::uri::Authority::try_from(authority).ok()?);
        uri.scheme = Some(http::uri::Scheme::HTTP);
    }
    let websocket = flags.contains(&b'w');
    let mut request = http::Request::new(());
    *request.method_mut() =
        if websocket { http::Method::CONNECT } else { http::Method::from_bytes(method).ok()? };
    *request.uri_mut() = http::Uri::from_parts(uri).ok()?;
    if websocket {
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    }
    for line in lines {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let name = http::HeaderName::from_lowercase(&line[..colon]);
        let value = http::HeaderValue::from_bytes(&line[colon + 1..]);
        let (Ok(name), Ok(value)) = (name, value) else { continue };
        let of_connection = ["connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection"]
            .contains(&name.as_str());
        if !of_connection && (name != http::header::TE || value == "trailers") {
            request.headers_mut().append(name, value);
        }
    }
    Some((request.into_parts().0, flags.contains(&b'e')))
}

fn parse_request(data: &[u8]) -> Parsed<RequestHead, Reject> {
    let mut fields = Fields::new();
    Ok(request::parse(data, &Limits::default(), &mut fields)?.map(|head| (head, fields)))
}

/// What we write: there may be a few fields more in it than may come, and their bytes.
fn parse_written(data: &[u8]) -> Parsed<RequestHead, Reject> {
    let all = Limits::default();
    let limits = Limits {
        header_bytes_max: 2 * all.header_bytes_max,
        header_count_max: all.header_count_max + FIELDS_ADDED_MAX,
        ..all
    };
    let mut fields = Fields::new();
    Ok(request::parse(data, &limits, &mut fields)?.map(|head| (head, fields)))
}

fn parse_response(data: &[u8], method: Method) -> Parsed<ResponseHead, Malformed> {
    let mut fields = Fields::new();
    Ok(response::parse(data, method, &Limits::default(), &mut fields)?.map(|head| (head, fields)))
}

/// What a part of the input is read as, more input never changes.
fn check_cuts<H: Debug + PartialEq, E: Debug + PartialEq>(
    data: &[u8],
    whole: &Parsed<H, E>,
    parse: impl Fn(&[u8]) -> Parsed<H, E>,
) {
    // Every cut of a short input, and about as many of a long one.
    for cut in (0..data.len()).step_by(data.len() / 256 + 1) {
        match parse(&data[..cut]) {
            Ok(None) => {}
            Err(_) => assert!(whole.is_err(), "refused at {cut}, accepted later"),
            accepted => assert_eq!(&accepted, whole, "read otherwise at {cut}"),
        }
    }
}

/// Nothing in a head can be taken for a line end that is none.
fn check_lines(head: &[u8]) {
    assert!(head.ends_with(b"\r\n\r\n"));
    for (at, &byte) in head.iter().enumerate() {
        match byte {
            b'\r' => assert_eq!(head.get(at + 1), Some(&b'\n'), "bare CR"),
            b'\n' => assert!(at > 0 && head[at - 1] == b'\r', "bare LF"),
            b'\t' => {}
            _ => assert!(!byte.is_ascii_control(), "control byte {byte}"),
        }
    }
}

/// The fields that a proxy has no part in.
fn passed_on(buffer: &[u8], fields: &[FieldSpan]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let passes = |field: &&FieldSpan| {
        matches!(field.kind, FieldKind::Other | FieldKind::EndToEnd | FieldKind::MaxForwards)
    };
    fields
        .iter()
        .filter(passes)
        .map(|field| (field.name.of(buffer).to_vec(), field.value.of(buffer).to_vec()))
        .collect()
}

/// The origin form of what the client asked for.
fn target(data: &[u8], head: &RequestHead) -> Vec<u8> {
    let mut target = head.origin_path(data).to_vec();
    if let Some(query) = head.query {
        target.push(b'?');
        target.extend_from_slice(query.of(data));
    }
    target
}

/// A PROXY header is read the same however it is cut: what has not all come is neither one nor none, and what is behind it
/// does not matter.
pub fn proxy_header(data: &[u8]) {
    let whole = proxied::read(data);
    match whole {
        Ok(Some(header)) => {
            assert!((1..=data.len()).contains(&header.bytes));
            assert!(header.bytes <= proxied::HEADER_BYTES_MAX);
            assert_eq!(proxied::read(&data[..header.bytes]), whole, "it ends where it says");
            for end in 0..header.bytes {
                assert_eq!(proxied::read(&data[..end]), Ok(None), "cut at {end}");
            }
        }
        Ok(None) => {
            assert!(data.len() < proxied::HEADER_BYTES_MAX, "an endless header");
            for end in 0..data.len() {
                assert_eq!(proxied::read(&data[..end]), Ok(None), "cut at {end}");
            }
        }
        Err(_) => {
            for end in 0..data.len() {
                let cut = proxied::read(&data[..end]);
                assert!(!matches!(cut, Ok(Some(_))), "cut at {end}, it is one");
            }
        }
    }
}

/// What a connection begins with is read the same however it is cut, and a name that is found can be one.
pub fn client_hello(data: &[u8]) {
    let whole = hello::read(data);
    if let Ok(Some(hello::Beginning::Named(name))) = &whole {
        assert!((1..=253).contains(&name.len()) && name.is_ascii() && !name.contains(['/', ' ', '\0']));
        assert_eq!(**name, name.to_ascii_lowercase());
    }
    if whole == Ok(None) {
        assert!(data.len() < hello::HELLO_BYTES_MAX, "an endless hello");
    }
    let cuts = (0..data.len()).map(|end| hello::read(&data[..end]));
    for (end, cut) in cuts.enumerate().skip_while(|(_, cut)| *cut == Ok(None)) {
        assert_eq!(cut, whole, "cut at {end}");
    }
}

fn request_edit<'a>(head: &RequestHead, target: &'a [u8], trusted: bool) -> RequestEdit<'a> {
    RequestEdit {
        target,
        set: &[],
        remove: &[],
        forwarded: Forwarded {
            peer: None,
            proto: "http",
            trusted,
            identity: None,
            early: false,
            request_id: b"0",
        },
        host_fallback: b"endpoint",
        framing: head.framing,
        upgrade: head.upgrade.is_some(),
        expect_continue: head.expect_continue,
        max_forwards: None,
    }
}

fn response_edit(head: &ResponseHead) -> ResponseEdit<'static> {
    let upgrade = head.upgrade.is_some();
    ResponseEdit {
        version: Version::Http11,
        framing: head.framing,
        close: false,
        upgrade,
        date: b"",
        without: b"",
        hsts: b"",
        alt_svc: b"",
        set_cookie: b"",
    }
}

#[derive(Debug, PartialEq)]
struct Body {
    data: Vec<u8>,
    trailers: Vec<u8>,
    end: usize,
}

fn decode(input: &[u8], piece: usize) -> Result<Option<Body>, Malformed> {
    let (mut decoder, mut data, mut at, mut end) = (Decoder::new(), Vec::new(), 0, 0);
    loop {
        match decoder.step(&input[at..end])? {
            Step::Data { skip, len } => {
                data.extend_from_slice(&input[at + skip..at + skip + len]);
                at += skip + len;
            }
            Step::End { consumed, trailers } => {
                let trailers = trailers.of(&input[at..]).to_vec();
                return Ok(Some(Body { data, trailers, end: at + consumed }));
            }
            Step::NeedMore { .. } if end == input.len() => return Ok(None),
            Step::NeedMore { consumed } => {
                at += consumed;
                assert!(end - at < chunked::BUFFER_BYTES_MIN, "waits for more than it says");
                end = (end + piece).min(input.len());
            }
        }
    }
}

fn assert_same(whole: &Result<Option<Body>, Malformed>, pieces: &Result<Option<Body>, Malformed>) {
    if whole.is_err() && pieces.is_err() {
        return;
    }
    assert_eq!(whole, pieces);
}
