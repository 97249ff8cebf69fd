use super::*;

fn parse_for(method: Method, head: &str) -> Result<Option<ResponseHead>, Malformed> {
    parse(head.as_bytes(), method, &Limits::default(), &mut Vec::new())
}

#[track_caller]
fn accepted(head: &str) -> ResponseHead {
    parse_for(Method::Get, head).expect(head).expect("complete")
}

#[track_caller]
fn refused(head: &str) {
    parse_for(Method::Get, head).expect_err(head);
}

/// A response with this status and these lines.
fn with(status: &str, lines: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{lines}\r\n")
}

#[test]
fn an_ordinary_response_is_read() {
    let text = "HTTP/1.1 404 Not Here\r\nContent-Length: 3\r\nKeep-Alive: max=10, Timeout=5\r\n\r\nabc";
    let head = accepted(text);
    assert_eq!(head.status, 404);
    assert_eq!(head.reason.of(text.as_bytes()), b"Not Here");
    assert_eq!(head.framing, Framing::Length(3));
    assert_eq!(head.keep_alive_timeout_s, Some(5));
    assert!(head.keep_alive);
    assert_eq!(head.head_bytes as usize, text.len() - 3);
}

#[test]
fn every_prefix_is_incomplete() {
    let text = with("200 OK", "Content-Length: 3\r\nX: y\r\n");
    for end in 0..text.len() {
        assert_eq!(parse_for(Method::Get, &text[..end]), Ok(None), "{end}");
    }
}

#[test]
fn the_reason_may_be_missing_or_beyond_ascii() {
    for (line, reason) in
        [("200 OK", "OK"), ("200 ", ""), ("200", ""), ("200 caf\u{e9}", "caf\u{e9}"), ("200  x", " x")]
    {
        let text = with(line, "");
        assert_eq!(accepted(&text).reason.of(text.as_bytes()), reason.as_bytes(), "{line:?}");
    }
}

#[test]
fn malformed_status_lines_are_refused() {
    for line in [
        "HTTP/1.1 99 x",
        "HTTP/1.1 099 x",
        "HTTP/1.1 600 x",
        "HTTP/1.1 999 x",
        "HTTP/1.1 2000 x",
        "HTTP/1.1 20x x",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 -20 x",
        "HTTP/2.0 200 OK",
        "HTTP/1.2 200 OK",
        "http/1.1 200 OK",
        "ICY 200 OK",
        "HTTP/1.1",
        "200 OK",
        " HTTP/1.1 200 OK",
        "\r\nHTTP/1.1 200 OK",
        "\nHTTP/1.1 200 OK",
        "HTTP/1.1 200\tOK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\x7fK",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.1\t200 OK",
    ] {
        refused(&format!("{line}\r\nContent-Length: 0\r\n\r\n"));
    }
}

#[test]
fn bare_line_ends_and_folded_lines_are_refused() {
    let sound = with("200 OK", "Content-Length: 0\r\nX: y\r\n");
    for (at, _) in sound.match_indices("\r\n") {
        refused(&format!("{}\n{}", &sound[..at], &sound[at + 2..]));
        let text = format!("{}\r{}x", &sound[..at], &sound[at + 2..]);
        assert!(!matches!(parse_for(Method::Get, &text), Ok(Some(_))), "{text:?}");
    }
    refused(&with("200\n", ""));
    for lines in ["X: y\r\n z\r\n", " X: y\r\n", "X : y\r\n", "X: a\0b\r\n", ": y\r\n", "X: a\x7f\r\n"] {
        refused(&with("200 OK", lines));
    }
}

// Framing: RFC 9112 section 6.3.

#[test]
fn framing_of_ordinary_answers() {
    let framing = |lines: &str| accepted(&with("200 OK", lines)).framing;
    assert_eq!(framing("Content-Length: 0\r\n"), Framing::Length(0));
    assert_eq!(framing("Transfer-Encoding: chunked\r\n"), Framing::Chunked);
    assert_eq!(framing(""), Framing::UntilClose);
}

#[test]
fn answers_without_content_have_no_framing() {
    for (method, status) in
        [(Method::Head, "200"), (Method::Get, "204"), (Method::Get, "304"), (Method::Get, "103")]
    {
        for lines in ["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
            let head = parse_for(method, &with(status, lines)).unwrap().unwrap();
            assert_eq!(head.framing, Framing::None, "{status} {lines}");
            assert!(head.keep_alive);
        }
    }
    let head = parse_for(Method::Head, &with("200 OK", "Content-Length: 5\r\n")).unwrap().unwrap();
    assert_eq!(head.content_length, Some(5));
}

#[test]
fn ambiguous_framing_is_refused_even_without_content() {
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: \r\n",
    ] {
        for (method, status) in [(Method::Get, "200"), (Method::Head, "200"), (Method::Get, "304")] {
            parse_for(method, &with(status, lines)).expect_err(lines);
        }
    }
    refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
}

#[test]
fn persistence_follows_version_connection_and_framing() {
    let persists = |text: &str| accepted(text).keep_alive;
    assert!(persists("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert!(!persists("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
    assert!(!persists("HTTP/1.1 200 OK\r\n\r\n"), "the end of the content is the end of the connection");
    assert!(!persists("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert!(persists("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"));
}

#[test]
fn a_malformed_keep_alive_timeout_is_as_none() {
    for value in [
        "timeout",
        "timeout=",
        "timeout=-1",
        "timeout=x",
        "max=3",
        "",
        "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
    ] {
        let text = with("204 x", &format!("Keep-Alive: {value}\r\n"));
        assert_eq!(accepted(&text).keep_alive_timeout_s, None, "{value}");
    }
}

// Upgrades: RFC 9110 sections 7.8 and 15.2.2.

#[test]
fn a_101_names_what_it_changes_to() {
    let text = with("101 Switching", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    assert_eq!(accepted(&text).upgrade.map(|upgrade| upgrade.of(text.as_bytes())), Some(&b"websocket"[..]));
    refused(&with("101 Switching", ""));
    refused(&with("101 Switching", "Upgrade: websocket\r\n"));
    refused(&with("101 Switching", "Connection: upgrade\r\n"));
    refused("HTTP/1.0 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    let offer = with("426 Upgrade", "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n");
    assert_eq!(accepted(&offer).upgrade, None);
}

#[test]
fn an_upgrade_is_agreed_when_all_of_it_was_asked_for() {
    assert!(upgrade_agreed(b"websocket", b"WebSocket"));
    assert!(upgrade_agreed(b"a, b/1", b"b/1"));
    for (asked, answered) in
        [("websocket", "h2c"), ("websocket", "websocket, h2c"), ("a", ""), ("", "a"), ("b/1", "b/2")]
    {
        assert!(!upgrade_agreed(asked.as_bytes(), answered.as_bytes()), "{asked} {answered}");
    }
}

#[test]
fn limits_hold_for_whole_and_for_incomplete_heads() {
    let limits = Limits { header_bytes_max: 60, header_count_max: 2, target_bytes_max: 1 };
    let parse = |text: &str| parse(text.as_bytes(), Method::Get, &limits, &mut Vec::new());
    let long = with("200 OK", &format!("X: {}\r\n", "y".repeat(60)));
    assert!(parse(&long).is_err());
    assert!(parse(&long[..60]).is_err());
    assert_eq!(parse(&long[..59]), Ok(None));
    assert!(parse(&with("200 OK", "A: 1\r\nB: 2\r\n")).is_ok());
    assert!(parse(&with("200 OK", "A: 1\r\nB: 2\r\nC: 3\r\n")).is_err());
}
