//! What any decent server does, over real sockets.

use crate::client::{Client, origin, until};

#[test]
fn a_page_is_as_long_as_was_asked_and_names_its_origin() {
    let origin = origin(r#"{"name": "a"}"#);
    let answer = Client::of(&origin).get("/");
    assert_eq!((answer.status, answer.body.len()), (200, 62));
    assert!(answer.text().starts_with("hello from a."));
    assert_eq!(answer.field("x-origin"), Some("a"));
    assert_eq!(answer.field("date").map(str::len), Some(29));
}

#[test]
fn a_connection_is_kept_and_pipelined_requests_are_answered_in_order() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    let one = |status| format!("GET /status/{status} HTTP/1.1\r\nhost: a\r\n\r\n");
    client.send((201..=260).map(one).collect::<String>());
    for status in 201..=260 {
        let has_body = status != 204;
        assert_eq!(client.answer(has_body).status, status);
    }
    assert_eq!((origin.stats().requests, origin.stats().connections), (60, 1));
}

#[test]
fn head_has_the_fields_and_no_body() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    for target in ["/", "/bytes/1000", "/chunked/3/10", "/echo", "/drip/5/1000", "/healthz", "/status/404"] {
        let answer = client.head(target);
        let framed = answer.field("content-length").or(answer.field("transfer-encoding"));
        assert!(framed.is_some_and(|value| value != "0"), "{target}: {}", answer.head);
    }
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn statuses_without_a_body_have_none() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    assert_eq!(client.get("/204").status, 204);
    let unchanged = client.get("/304");
    assert_eq!((unchanged.status, unchanged.field("content-length")), (304, Some("62")));
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn bodies_in_each_framing_are_whole() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    let bytes = client.get("/bytes/1000000").body;
    assert!(bytes.len() == 1_000_000 && bytes.iter().zip((b'a'..=b'z').cycle()).all(|(is, be)| *is == be));
    let chunked = client.get("/chunked/3/1000?trailer=1");
    let sum: u64 = chunked.body.iter().map(|byte| u64::from(*byte)).sum();
    assert_eq!((chunked.body.len(), chunked.trailers), (3000, format!("x-checksum: {sum}\n")));
    assert_eq!(client.get("/chunked/1/5").trailers, "");
    let closed = client.get("/close-delimited/100");
    assert_eq!((closed.body.len(), closed.field("connection")), (100, Some("close")));
}

#[test]
fn echo_tells_what_came() {
    let origin = origin(r#"{"name": "e"}"#);
    let mut client = Client::of(&origin);
    let fields = "transfer-encoding: chunked\r\nX-Two: 1\r\nx-two: 2\r\n";
    client.request("PUT", "/echo?a=b", fields, "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nx-end: yes\r\n\r\n");
    let seen: serde_json::Value = serde_json::from_slice(&client.answer(true).body).unwrap();
    assert_eq!(seen["method"], "PUT");
    assert_eq!(seen["target"], "/echo?a=b");
    assert_eq!(seen["version"], "HTTP/1.1");
    assert_eq!(seen["framing"], "chunked");
    assert_eq!((&seen["body"], &seen["body_bytes"]), (&"abcde".into(), &5.into()));
    assert_eq!(seen["trailers"], serde_json::json!([["x-end", "yes"]]));
    assert_eq!(seen["headers"][2], serde_json::json!(["X-Two", "1"]));
    assert_eq!(seen["headers"][3], serde_json::json!(["x-two", "2"]));
}

#[test]
fn echo_body_keeps_the_framing() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    let long = "0123456789".repeat(30_000);
    let counted = client.post("/echo-body", &long);
    assert!(counted.text() == long && counted.field("content-length") == Some("300000"));
    client.request("POST", "/echo-body", "transfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n");
    let chunked = client.answer(true);
    assert!(chunked.text() == "abc" && chunked.field("transfer-encoding") == Some("chunked"));
}

#[test]
fn a_body_is_read_to_its_end_before_the_next_request() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    assert_eq!(client.post("/", &"GET /status/500 HTTP/1.1\r\n\r\n".repeat(5000)).status, 200);
    assert_eq!(client.get("/status/202").status, 202);
}

#[test]
fn an_expected_continue_comes_before_the_body_is_sent() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    client.request("POST", "/echo", "expect: 100-continue\r\ncontent-length: 4\r\n", "");
    assert_eq!(client.answer(true).status, 100);
    client.send("body");
    assert!(client.answer(true).text().contains(r#""body":"body""#));
}

#[test]
fn old_clients_get_no_chunks_and_no_interim_answers() {
    let origin = origin("{}");
    let old = |target: &str, fields: &str| {
        let mut client = Client::of(&origin);
        client.send(format!("GET {target} HTTP/1.0\r\n{fields}\r\n"));
        (client.answer(true), client)
    };
    assert_eq!(old("/chunked/2/10", "").0.body.len(), 20);
    assert_eq!(old("/hints", "").0.status, 200);
    let (kept, mut client) = old("/", "connection: keep-alive\r\n");
    assert_eq!(kept.field("connection"), Some("keep-alive"));
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn what_is_ambiguous_is_refused_and_counted() {
    let origin = origin("{}");
    for bytes in [
        "GET / HTTP/1.1\r\n\r\n",
        "nonsense\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n\r\n",
    ] {
        let mut client = Client::of(&origin);
        client.send(bytes);
        let answer = client.answer(true);
        assert_eq!((answer.status, answer.field("connection")), (400, Some("close")), "{bytes:?}");
    }
    assert_eq!(origin.stats().bad_requests, 4);
}

#[test]
fn probes_follow_the_switch_and_are_counted_apart() {
    let origin = origin(r#"{"delay": "1m", "fault": "reset"}"#);
    let mut client = Client::of(&origin);
    assert_eq!(client.get("/healthz").text(), "ok");
    assert_eq!(client.get("/control/health/down").status, 405);
    assert_eq!(client.post("/control/health/down", "").status, 200);
    assert_eq!(client.get("/healthz").status, 503);
    assert_eq!(client.post("/control/health/up", "").status, 200);
    assert_eq!(client.get("/healthz").status, 200);
    assert_eq!((origin.stats().probes, origin.stats().requests), (3, 0));
    assert!(client.get("/control/stats").text().contains(r#""probes":3"#));
}

#[test]
fn a_busy_origin_serves_so_many_at_once_and_the_others_in_turn() {
    let origin = origin(r#"{"concurrency": 2, "workers": 2}"#);
    let mut clients: Vec<Client> = (0..5).map(|_| Client::of(&origin)).collect();
    for client in &mut clients {
        client.request("GET", "/drip/1/20", "", "");
    }
    for client in &mut clients {
        assert_eq!(client.answer(true).status, 200);
    }
    assert_eq!(origin.stats().in_flight_max, 5);
    until("all are done", || origin.stats().in_flight == 0);
}

#[test]
fn one_that_waits_for_its_turn_may_leave() {
    let origin = origin(r#"{"concurrency": 1}"#);
    let mut holder = Client::of(&origin);
    holder.request("GET", "/hang", "", "");
    until("the place is taken", || origin.stats().in_flight == 1);
    let mut waiter = Client::of(&origin);
    waiter.request("GET", "/", "", "");
    until("the second waits", || origin.stats().in_flight == 2);
    drop(waiter);
    until("it has left", || origin.stats().in_flight == 1);
    drop(holder);
    until("both have left", || origin.stats().aborted == 2);
}

#[test]
fn an_origin_that_closes_resets_what_is_open_and_its_port_is_free() {
    let mut first = origin(r#"{"workers": 2}"#);
    let mut clients: Vec<Client> = (0..8).map(|_| Client::of(&first)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    first.close();
    assert_eq!(first.stats().open, 0);
    for client in &mut clients {
        assert_eq!(client.rest().unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    }
    let second = origin(&format!(r#"{{"listen": "{}"}}"#, first.address()));
    assert_eq!(Client::of(&second).get("/").status, 200);
}
