use super::*;
use crate::head::{FieldKind, FieldSpan};

fn parse_with(limits: &Limits, head: &str) -> Result<Option<(RequestHead, Vec<FieldSpan>)>, Reject> {
    let mut fields = Vec::new();
    parse(head.as_bytes(), limits, &mut fields).map(|head| head.map(|head| (head, fields)))
}

fn parse_all(head: &str) -> Result<Option<RequestHead>, Reject> {
    parse_with(&Limits::default(), head).map(|head| head.map(|(head, _)| head))
}

#[track_caller]
fn accepted(head: &str) -> RequestHead {
    parse_all(head).expect("accepted").expect("complete")
}

#[track_caller]
fn rejected(head: &str) -> u16 {
    parse_all(head).expect_err(head).status
}

/// A GET with these lines after Host.
fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// A GET of this target.
fn target(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn an_ordinary_request_is_read() {
    let text =
        "POST /a/b?c=d HTTP/1.1\r\nHost: example.com:80\r\nContent-Length: 12\r\nX-Y:  z \t\r\n\r\nbody";
    let (head, fields) = parse_with(&Limits::default(), text).unwrap().unwrap();
    let of = |span: Span| std::str::from_utf8(span.of(text.as_bytes())).unwrap();
    assert_eq!(head.method, Method::Post);
    assert_eq!(of(head.method_span), "POST");
    assert_eq!(of(head.path), "/a/b");
    assert_eq!(head.query.map(of), Some("c=d"));
    assert_eq!(of(head.authority), "example.com:80");
    assert_eq!(head.framing, Framing::Length(12));
    assert_eq!(head.head_bytes as usize, text.len() - 4);
    assert!(head.keep_alive && !head.expect_continue && head.upgrade.is_none());
    assert_eq!(of(fields[2].name), "X-Y");
    assert_eq!(of(fields[2].value), "z");
    assert_eq!(fields[1].kind, FieldKind::ContentLength);
}

#[test]
fn every_prefix_is_incomplete() {
    let text = "\r\nGET http://b/x?y HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\nX: y\r\n\r\n";
    for end in 0..text.len() {
        assert_eq!(parse_all(&text[..end]), Ok(None), "{:?}", &text[..end]);
    }
    assert!(parse_all(text).unwrap().is_some());
}

// Framing: RFC 9112 sections 6.1 to 6.3.

#[test]
fn both_framings_at_once_are_refused() {
    assert_eq!(rejected(&get("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n")), 400);
    assert_eq!(rejected(&get("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n")), 400);
}

#[test]
fn a_malformed_or_repeated_content_length_is_refused() {
    let values = [
        "",
        "+1",
        "-1",
        " 1 2",
        "0x10",
        "1a",
        "a",
        "1,1",
        "1, 1",
        "1.0",
        "18446744073709551616",
        "000000000000000000001",
        "\u{661}",
    ];
    for value in values {
        assert_eq!(rejected(&get(&format!("Content-Length: {value}\r\n"))), 400, "{value}");
    }
    assert_eq!(rejected(&get("Content-Length: 1\r\nContent-Length: 2\r\n")), 400);
    assert_eq!(rejected(&get("Content-Length: 1\r\ncontent-length: 1\r\n")), 400);
}

#[test]
fn any_length_within_64_bits_is_read() {
    let head = accepted(&get("Content-Length: 18446744073709551615\r\n"));
    assert_eq!(head.framing, Framing::Length(u64::MAX));
    assert_eq!(accepted(&get("Content-Length: 007\r\n")).framing, Framing::Length(7));
    assert_eq!(accepted(&get("Content-Length: 0\r\n")).framing, Framing::Length(0));
    assert_eq!(accepted(&get("")).framing, Framing::None);
}

#[test]
fn only_a_final_chunked_is_served() {
    assert_eq!(accepted(&get("Transfer-Encoding: chunked\r\n")).framing, Framing::Chunked);
    assert_eq!(accepted(&get("transfer-encoding:\tCHUNKED \r\n")).framing, Framing::Chunked);
    for value in
        ["gzip", "chunked, gzip", "chunked, chunked", "identity", "xchunked", "chunked;q=1", "", ",chunked"]
    {
        assert_eq!(rejected(&get(&format!("Transfer-Encoding: {value}\r\n"))), 400, "{value}");
    }
    assert_eq!(rejected(&get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")), 400);
    assert_eq!(rejected(&get("Transfer-Encoding: \"chunked\"\r\n")), 400);
    assert_eq!(rejected(&get("Transfer-Encoding: gzip, chunked\r\n")), 501);
    assert_eq!(rejected(&get("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n")), 501);
}

#[test]
fn http_1_0_has_no_transfer_coding() {
    assert_eq!(rejected("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}

#[test]
fn trace_has_no_content() {
    assert_eq!(rejected("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"), 400);
    accepted("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n");
}

// Lines: RFC 9112 sections 2.2 and 5, RFC 9110 section 5.5.

#[test]
fn white_space_and_folding_where_none_belongs_are_refused() {
    for lines in [
        "X : y\r\n",
        "X\t: y\r\n",
        " X: y\r\n",
        "X: y\r\n z\r\n",
        "X: y\r\n\tz\r\n",
        "X: y\r\n \r\n",
        "X\r\n",
    ] {
        assert_eq!(rejected(&get(lines)), 400, "{lines:?}");
    }
    assert_eq!(rejected("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400);
    assert_eq!(rejected("GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n"), 400);
}

#[test]
fn a_bare_cr_or_lf_is_refused_wherever_it_stands() {
    let sound = "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nEmpty:\r\n\r\n";
    let ends: Vec<usize> = sound.match_indices("\r\n").map(|(at, _)| at).collect();
    for &at in &ends {
        for instead in ["\n", "\r", "\r\r\n", "\n\r\n"] {
            let text = format!("{}{instead}{}x", &sound[..at], &sound[at + 2..]);
            assert!(!matches!(parse_all(&text), Ok(Some(_))), "{text:?}");
        }
        let text = format!("{}\n{}", &sound[..at], &sound[at + 2..]);
        assert_eq!(rejected(&text), 400, "{text:?}");
    }
    assert_eq!(rejected(&sound.replace("\r\n", "\n")), 400);
    assert_eq!(rejected(&get("X: a\rb\r\n")), 400);
    assert_eq!(rejected(&get("X: a\nb: c\r\n")), 400);
}

#[test]
fn control_bytes_are_refused() {
    for byte in (0..=0x1f_u8).filter(|byte| !b"\t\r\n".contains(byte)).chain([0x7f]) {
        let byte = char::from(byte);
        assert_eq!(rejected(&get(&format!("X: a{byte}b\r\n"))), 400, "{byte:?} in a value");
        assert_eq!(
            rejected(&get(&format!("X: {}{byte}\r\n", "long".repeat(20)))),
            400,
            "{byte:?} in a value"
        );
        assert_eq!(rejected(&get(&format!("X: {byte}\r\n"))), 400, "{byte:?} as value");
        assert_eq!(rejected(&get(&format!("X{byte}: a\r\n"))), 400, "{byte:?} in a name");
        assert_eq!(rejected(&target(&format!("/{byte}"))), 400, "{byte:?} in a target");
        assert_eq!(
            rejected(&format!("GET{byte} / HTTP/1.1\r\nHost: a\r\n\r\n")),
            400,
            "{byte:?} in a method"
        );
    }
    accepted(&get("X: a\tb \u{e9}\r\n"));
}

#[test]
fn names_are_tokens() {
    for name in ["", "a b", "a(", "a/", "a@", "\"a\"", "\u{e9}", "a{", "a[", "a;", "a,", "a="] {
        assert_eq!(rejected(&get(&format!("{name}: x\r\n"))), 400, "{name:?}");
    }
}

#[test]
fn a_few_empty_lines_before_a_request_are_skipped() {
    let request = get("");
    let head = accepted(&format!("\r\n\r\n{request}"));
    assert_eq!(head.head_bytes as usize, request.len() + 4);
    assert_eq!(rejected(&format!("{}{request}", "\r\n".repeat(5))), 400);
    assert_eq!(rejected(&"\r\n".repeat(5)), 400);
    assert_eq!(rejected(&format!("\n{request}")), 400);
    assert_eq!(rejected(&format!("\r{request}")), 400);
}

// The request line: RFC 9112 section 3.

#[test]
fn malformed_request_lines_are_refused() {
    for line in [
        "GET",
        "GET /",
        "GET / ",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.10",
        "GET / HTTP/01.1",
        "GET / HTTP/1.",
        "GET / HTTP1.1",
        "GET / FTP/1.1",
        "G(T / HTTP/1.1",
        "GE\u{e9} / HTTP/1.1",
        "/ HTTP/1.1",
        "GET HTTP/1.1",
    ] {
        assert_eq!(rejected(&format!("{line}\r\nHost: a\r\n\r\n")), 400, "{line:?}");
    }
}

#[test]
fn another_version_is_named_as_such() {
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3.0", "HTTP/9.9"] {
        assert_eq!(rejected(&format!("GET / {version}\r\nHost: a\r\n\r\n")), 505, "{version}");
    }
}

#[test]
fn targets_are_of_a_form_that_the_method_has() {
    for sound in
        ["/", "/a%20b?c=d&e", "http://b", "http://b?x", "HTTPS://[::1]:443/x", "http://b:80/", "//b/c"]
    {
        accepted(&target(sound));
    }
    for unsound in [
        "*",
        "a",
        "b:443",
        "http:/b",
        "http://",
        "http:///x",
        "http://u@b/",
        "http://u:p@b/",
        "ftp://b/",
        "/a#b",
        "http://b/#c",
        "http://b#c",
        "/a\\b",
        "/%zz",
        "/%",
        "?a",
        "/\u{e9}",
        "http://b:65536/",
        "http://b,c/",
        "mailto:x",
    ] {
        assert_eq!(rejected(&target(unsound)), 400, "{unsound}");
    }
    accepted("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(rejected("CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n"), 501);
}

#[test]
fn the_authority_of_an_absolute_target_wins_over_host() {
    let text = "GET http://b:8080?x HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = accepted(text);
    assert_eq!(head.authority.of(text.as_bytes()), b"b:8080");
    assert!(head.path.is_empty());
    assert_eq!(head.query.map(|query| query.of(text.as_bytes())), Some(&b"x"[..]));
}

// Host: RFC 9112 section 3.2.

#[test]
fn exactly_one_sound_host_is_asked_for() {
    assert_eq!(rejected("GET / HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(rejected("GET http://b/ HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(rejected("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
    assert_eq!(rejected("GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n"), 400);
    for host in ["", "a b", "a,b", "u@a", "a/b", "a:x", "http://a", "[::1", "a\u{e9}"] {
        assert_eq!(rejected(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), 400, "{host:?}");
    }
    assert_eq!(rejected("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
    assert!(accepted("GET / HTTP/1.0\r\n\r\n").authority.is_empty());
}

// Connection: RFC 9110 section 7.6.1, RFC 9112 section 9.3.

#[test]
fn persistence_follows_version_and_connection() {
    assert!(accepted(&get("")).keep_alive);
    assert!(!accepted(&get("Connection: close\r\n")).keep_alive);
    assert!(!accepted(&get("Connection: keep-alive, Close\r\n")).keep_alive);
    assert!(!accepted("GET / HTTP/1.0\r\n\r\n").keep_alive);
    assert!(accepted("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
}

#[test]
fn fields_named_by_connection_are_hop_by_hop_unless_they_have_a_meaning_of_their_own() {
    let text = get(
        "Connection: x-private, host, Content-Length, X-Forwarded-For, cookie\r\nX-Private: 1\r\nContent-Length: 1\r\nX-Forwarded-For: b\r\nCookie: c\r\nx-other: d\r\n",
    );
    let (head, fields) = parse_with(&Limits::default(), &text).unwrap().unwrap();
    let kinds: Vec<FieldKind> = fields.iter().map(|field| field.kind).collect();
    assert_eq!(
        kinds,
        [
            FieldKind::Host,
            FieldKind::Connection,
            FieldKind::HopByHop,
            FieldKind::ContentLength,
            FieldKind::XForwardedFor,
            FieldKind::EndToEnd,
            FieldKind::Other
        ]
    );
    assert_eq!(head.framing, Framing::Length(1));
    assert_eq!(rejected(&get(&format!("Connection: {}\r\n", "a,".repeat(40)))), 400);
}

#[test]
fn an_upgrade_is_seen_only_when_the_connection_may_change() {
    let upgrade = |lines: &str| accepted(&get(lines)).upgrade.is_some();
    assert!(upgrade("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    assert!(!upgrade("Upgrade: websocket\r\n"));
    assert!(!upgrade("Connection: upgrade\r\n"));
    assert!(!upgrade("Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: other\r\n"));
    for hidden in ["h2c", "H2C", "TLS/1.2", "HTTP/2.0", "websocket, h2c", ""] {
        assert!(
            !upgrade(&format!("Connection: upgrade, http2-settings\r\nUpgrade: {hidden}\r\n")),
            "{hidden}"
        );
    }
    let old = "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(accepted(old).upgrade.is_none());
}

#[test]
fn an_expectation_is_honoured_or_refused() {
    let expecting = |lines: &str| accepted(&get(lines)).expect_continue;
    assert!(expecting("Expect: 100-Continue\r\nContent-Length: 1\r\n"));
    assert!(expecting("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"));
    assert!(!expecting("Expect: 100-continue\r\n"));
    assert!(!expecting("Expect: 100-continue\r\nContent-Length: 0\r\n"));
    assert_eq!(rejected(&get("Expect: 200-ok\r\n")), 417);
    let old = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    assert!(!accepted(old).expect_continue);
}

// Limits.

#[test]
fn limits_hold_for_whole_and_for_incomplete_heads() {
    let limits = Limits { header_bytes_max: 100, header_count_max: 3, target_bytes_max: 20 };
    let status =
        |text: &str| parse_with(&limits, text).map(|head| head.is_some()).map_err(|reject| reject.status);
    let long = get(&format!("X: {}\r\n", "y".repeat(100)));
    assert_eq!(status(&long), Err(431));
    assert_eq!(status(&long[..100]), Err(431));
    assert_eq!(status(&long[..99]), Ok(false));
    assert_eq!(status(&get("A: 1\r\nB: 2\r\n")), Ok(true));
    assert_eq!(status(&get("A: 1\r\nB: 2\r\nC: 3\r\n")), Err(431));
    assert_eq!(status(&target(&format!("/{}", "a".repeat(19)))), Ok(true));
    assert_eq!(status(&target(&format!("/{}", "a".repeat(20)))), Err(414));
    assert_eq!(status(&format!("GET /{}", "a".repeat(30))), Err(414));
    assert_eq!(status(&format!("GET /{}", "a".repeat(300))), Err(414));
    assert_eq!(status(&format!("\r\nGET /{} HTTP/2.0\r\n", "a".repeat(20))), Err(414));
    assert_eq!(status(&"A".repeat(100)), Err(431));
}

#[test]
fn a_head_of_just_the_limit_is_read_though_more_follows() {
    let text = get("");
    let limits = Limits { header_bytes_max: text.len() as u32, ..Limits::default() };
    assert!(parse_with(&limits, &format!("{text}{}", "body".repeat(100))).unwrap().is_some());
    let limits = Limits { header_bytes_max: text.len() as u32 - 1, ..Limits::default() };
    assert_eq!(parse_with(&limits, &text).unwrap_err().status, 431);
}

#[test]
fn more_fields_than_fit_the_stack_are_read() {
    let limits = Limits { header_count_max: 500, ..Limits::default() };
    let text = get(&"X: y\r\n".repeat(499));
    assert_eq!(parse_with(&limits, &text).unwrap().unwrap().1.len(), 500);
}

#[test]
fn another_version_is_told_from_nonsense_only_once_it_is_whole() {
    let text = "GET / HTTP/2.0\r\nHost: a\r\n\r\n";
    for length in 0..="GET / HTTP/2.0".len() {
        assert!(
            parse_with(&Limits::default(), &text[..length]).is_ok_and(|head| head.is_none()),
            "{:?}",
            &text[..length]
        );
    }
    assert_eq!(parse_with(&Limits::default(), text).unwrap_err().status, 505);
    for nonsense in ["GET / HTTP/2x", "GET / HTPT", "GET / HTTP/22", "GET / HTTP/2.0 "] {
        assert_eq!(parse_with(&Limits::default(), nonsense).unwrap_err().status, 400, "{nonsense}");
    }
}
