use proptest::prelude::*;

use super::*;

/// Data, trailer section, bytes left over.
type Decoded = (Vec<u8>, Vec<u8>, usize);

/// What a body decodes to when it is given in pieces of `piece` bytes.
fn decode_in(body: &[u8], piece: usize) -> Result<Option<Decoded>, Malformed> {
    let (mut decoder, mut data, mut at) = (Decoder::new(), Vec::new(), 0);
    let mut end = 0;
    loop {
        match decoder.step(&body[at..end])? {
            Step::Data { skip, len } => {
                assert!(len > 0);
                data.extend_from_slice(&body[at + skip..at + skip + len]);
                at += skip + len;
            }
            Step::End { consumed, trailers } => {
                let section = trailers.of(&body[at..]).to_vec();
                return Ok(Some((data, section, body.len() - at - consumed)));
            }
            Step::NeedMore { .. } if end == body.len() => return Ok(None),
            Step::NeedMore { consumed } => {
                at += consumed;
                end = (end + piece).min(body.len());
            }
        }
    }
}

fn decode(body: &str) -> Result<Option<Decoded>, Malformed> {
    let whole = decode_in(body.as_bytes(), body.len().max(1));
    for piece in [1, 2, 3, 7] {
        let pieces = decode_in(body.as_bytes(), piece);
        match (&whole, &pieces) {
            (Err(_), Err(_)) => {}
            _ => assert_eq!(whole, pieces, "{body:?} in pieces of {piece}"),
        }
    }
    whole
}

#[track_caller]
fn decoded(body: &str) -> (String, String, usize) {
    let (data, trailers, left) = decode(body).expect(body).expect("complete");
    (String::from_utf8(data).unwrap(), String::from_utf8(trailers).unwrap(), left)
}

#[track_caller]
fn refused(body: &str) {
    assert!(decode(body).is_err(), "{body:?}");
}

fn plain(data: &str, left: usize) -> (String, String, usize) {
    (data.to_owned(), String::new(), left)
}

#[test]
fn chunks_are_joined_and_what_follows_is_left() {
    assert_eq!(decoded("0\r\n\r\n"), plain("", 0));
    assert_eq!(decoded("3\r\nabc\r\n0A\r\n0123456789\r\n000\r\n\r\nGET /"), plain("abc0123456789", 5));
    assert_eq!(decode("3\r\nabc\r\n0\r\n"), Ok(None));
    assert_eq!(decode("3\r\nab"), Ok(None));
    assert_eq!(decode(""), Ok(None));
}

#[test]
fn malformed_sizes_are_refused() {
    for size in [
        "",
        "-1",
        "+1",
        "0x3",
        " 3",
        "3 ",
        "3\t",
        "g",
        "3g",
        "\u{663}",
        "1 2",
        "3,",
        "11111111111111111",
        "\0",
    ] {
        refused(&format!("{size}\r\nabc\r\n0\r\n\r\n"));
    }
    assert_eq!(decode("ffffffffffffffff\r\nabc"), Ok(None));
    refused("00000000000000003\r\nabc\r\n0\r\n\r\n");
}

#[test]
fn data_that_is_not_of_its_size_is_refused() {
    refused("2\r\nabc\r\n0\r\n\r\n");
    refused("4\r\nabc\r\n0\r\n\r\n");
}

#[test]
fn bare_line_ends_are_refused() {
    for body in [
        "3\nabc\r\n0\r\n\r\n",
        "3\rabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\r0\r\n\r\n",
        "3\r\nabc\r\n0\n\r\n",
        "3\r\nabc\r\n0\r\n\n",
        "3;a\nabc\r\n0\r\n\r\n",
        "3;a\rb\r\nabc\r\n0\r\n\r\n",
        "0\r\nA: b\n\r\n",
        "0\r\nA: b\r\n\n",
        "0\r\nA: b\n\n",
        "0\r\nA: b\nC: d\r\n\r\n",
        "3;a=\"\n\"\r\nabc\r\n0\r\n\r\n",
        "0\r\n\rx",
    ] {
        refused(body);
    }
}

#[test]
fn sound_extensions_are_dropped() {
    for extension in [";a", ";a=b", ";a=\"b c;\\\"\"", ";a;b=c;d=\"\"", ";a=\"\u{e9}\""] {
        assert_eq!(decoded(&format!("3{extension}\r\nabc\r\n0{extension}\r\n\r\n")), plain("abc", 0));
    }
}

#[test]
fn malformed_extensions_are_refused() {
    for extension in [
        ";",
        ";;",
        ";=",
        ";a=",
        ";a=b=c",
        ";a\"",
        ";a=\"",
        ";a=\"b\"c",
        "; a",
        " ;a",
        ";a =b",
        ";a= b",
        ";a\0",
        ";(",
        "=a",
    ] {
        refused(&format!("3{extension}\r\nabc\r\n0\r\n\r\n"));
    }
}

#[test]
fn extensions_are_bounded_by_line_and_by_message() {
    refused(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(LINE_BYTES_MAX)));
    refused(&format!("3;{}", "a".repeat(LINE_BYTES_MAX)));
    let just_fitting = LINE_BYTES_MAX - "3;\r\n".len();
    assert!(decode(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(just_fitting))).is_ok());
    refused(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(just_fitting + 1)));
    let chunk = format!("1;{}\r\nx\r\n", "a".repeat(256));
    assert!(decode(&format!("{}0\r\n\r\n", chunk.repeat(10))).is_ok());
    refused(&chunk.repeat(EXTENSION_BYTES_MAX as usize / 256));
}

// Trailers: RFC 9110 section 6.5, RFC 9112 section 7.1.2.

#[test]
fn trailer_fields_are_read() {
    let body = "1\r\nx\r\n0\r\nX-Sum:  1 \r\ngrpc-status: 0\r\n\r\nrest";
    let (_, section, left) = decoded(body);
    assert_eq!(left, 4);
    let mut fields = Vec::new();
    trailer_fields(section.as_bytes(), &mut fields).unwrap();
    let text = |span: Span| std::str::from_utf8(span.of(section.as_bytes())).unwrap();
    let read: Vec<_> = fields.iter().map(|field| (text(field.name), text(field.value))).collect();
    assert_eq!(read, [("X-Sum", "1"), ("grpc-status", "0")]);
    trailer_fields(b"", &mut fields).unwrap();
    assert!(fields.is_empty());
}

#[test]
fn fields_that_a_merge_would_act_on_are_refused() {
    for name in [
        "Content-Length",
        "transfer-encoding",
        "Host",
        "Trailer",
        "TE",
        "Connection",
        "Authorization",
        "Set-Cookie",
        "Cookie",
        "Content-Type",
        "Content-Encoding",
        "Content-Range",
        "Cache-Control",
        "Expect",
        "Max-Forwards",
        "Range",
        "If-Match",
        "Location",
        "Date",
        "Vary",
        "X-Forwarded-For",
        "Forwarded",
        "X-Request-Id",
        "Upgrade",
        "Proxy-Authorization",
        "Keep-Alive",
        "Content_Length",
        "X-Real-IP",
    ] {
        refused(&format!("0\r\n{name}: x\r\n\r\n"));
    }
    assert!(decode("0\r\nETag: \"x\"\r\n\r\n").is_ok());
}

#[test]
fn malformed_trailers_are_refused() {
    for line in ["A : b", " A: b", "A", ": b", "A: b\0", "A: b\r\n c", "(: b"] {
        refused(&format!("0\r\n{line}\r\n\r\n"));
    }
}

#[test]
fn trailers_are_bounded() {
    assert!(decode(&format!("0\r\n{}\r\n", "A: b\r\n".repeat(TRAILER_COUNT_MAX))).is_ok());
    refused(&format!("0\r\n{}\r\n", "A: b\r\n".repeat(TRAILER_COUNT_MAX + 1)));
    refused(&format!("0\r\nA: {}\r\n\r\n", "b".repeat(TRAILER_BYTES_MAX)));
    refused(&format!("0\r\nA: {}", "b".repeat(TRAILER_BYTES_MAX)));
}

#[test]
fn the_decoder_stays_at_the_end() {
    let mut decoder = Decoder::new();
    assert!(matches!(decoder.step(b"0\r\n\r\n"), Ok(Step::End { consumed: 5, .. })));
    assert!(matches!(decoder.step(b"junk"), Ok(Step::End { consumed: 0, .. })));
}

#[test]
fn the_line_before_a_chunk_is_its_size() {
    for (len, line) in
        [(1, "1\r\n"), (26, "1a\r\n"), (0x1000, "1000\r\n"), (usize::MAX, "ffffffffffffffff\r\n")]
    {
        assert_eq!(encode_chunk_head(len, &mut [0; 18]), line.as_bytes());
    }
}

proptest! {
    /// Whatever is encoded decodes to the same, however it is cut.
    #[test]
    fn encoding_and_decoding_meet(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8), piece in 1_usize..400) {
        let mut body = Vec::new();
        for chunk in &chunks {
            body.extend_from_slice(encode_chunk_head(chunk.len(), &mut [0; 18]));
            body.extend_from_slice(chunk);
            body.extend_from_slice(CHUNK_END);
        }
        body.extend_from_slice(b"0\r\n\r\n");
        prop_assert_eq!(decode_in(&body, piece), Ok(Some((chunks.concat(), Vec::new(), 0))));
    }
}
