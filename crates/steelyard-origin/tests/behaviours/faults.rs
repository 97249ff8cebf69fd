//! What the origin does when it is told to misbehave, over real sockets.

use std::io::ErrorKind;

use crate::client::{Client, origin, until};

#[test]
fn a_reset_is_a_reset() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    client.request("GET", "/reset", "", "");
    assert_eq!(client.rest().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_body_is_cut_by_a_reset_or_by_a_clean_end() {
    let origin = origin("{}");
    let mut reset = Client::of(&origin);
    reset.request("GET", "/reset-after/10", "", "");
    let head = reset.answer(false);
    assert_eq!(head.field("content-length"), Some("1010"));
    assert_eq!(reset.exact(10), b"abcdefghij");
    assert_eq!(reset.rest().unwrap_err().kind(), ErrorKind::ConnectionReset);

    let mut short = Client::of(&origin);
    short.request("GET", "/short/10", "", "");
    assert_eq!(short.answer(false).field("content-length"), Some("1010"));
    assert_eq!(short.rest().unwrap(), b"abcdefghij");
}

#[test]
fn a_hanging_request_ends_when_its_client_leaves() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    client.request("GET", "/hang", "", "");
    until("it hangs", || origin.stats().in_flight == 1);
    drop(client);
    until("it ends", || origin.stats().in_flight == 0 && origin.stats().open == 0);
    assert_eq!(origin.stats().aborted, 1);
}

#[test]
fn a_delayed_request_notices_that_its_client_has_left() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    client.request("GET", "/delay/600000", "", "");
    until("it waits", || origin.stats().in_flight == 1);
    drop(client);
    until("it ends", || origin.stats().in_flight == 0);
}

#[test]
fn what_is_pipelined_behind_a_delay_is_answered_after_it() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    client.request("GET", "/delay/20", "", "");
    client.request("GET", "/status/202", "", "");
    assert_eq!((client.answer(true).status, client.answer(true).status), (200, 202));
}

#[test]
fn a_drip_is_whole_in_the_end() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    assert_eq!(client.get("/drip/4/1").text(), "....");
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn garbage_is_no_answer() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    client.request("GET", "/garbage", "", "");
    assert_eq!(client.try_answer(true).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn raw_says_what_it_is_told() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    client.request("GET", "/raw?HTTP/1.1%20299%20Odd%0d%0a%0d%0abody", "", "");
    assert_eq!(client.rest().unwrap(), b"HTTP/1.1 299 Odd\r\n\r\nbody");
    let mut kept = Client::of(&origin);
    let answer = kept.post("/raw/keep", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(answer.text(), "hi");
    assert_eq!(kept.get("/").status, 200);
}

#[test]
fn an_early_answer_precedes_the_body() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    client.request("POST", "/early", "content-length: 5\r\n", "");
    assert_eq!(client.answer(true).status, 200);
    client.send("hello");
    assert_eq!(client.get("/").status, 200);

    let mut closing = Client::of(&origin);
    closing.request("POST", "/early/close", "content-length: 5\r\n", "");
    assert_eq!(closing.answer(true).field("connection"), Some("close"));
    assert_eq!(closing.rest().unwrap(), b"");
}

#[test]
fn interim_answers_precede_the_final_one() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    assert_eq!(client.get("/continue").status, 100);
    assert_eq!(client.answer(true).status, 200);
    let hints = client.get("/hints");
    assert_eq!((hints.status, hints.field("link")), (103, Some("</style.css>; rel=preload")));
    assert_eq!(client.answer(true).status, 200);
}

#[test]
fn an_upgrade_echoes_if_it_was_asked_for() {
    let origin = origin("{}");
    let mut client = Client::of(&origin);
    assert_eq!(client.get("/upgrade").status, 426);
    client.request("GET", "/upgrade", "connection: keep-alive, Upgrade\r\nupgrade: echo\r\n", "first ");
    let answer = client.answer(true);
    assert_eq!((answer.status, answer.field("upgrade")), (101, Some("echo")));
    client.send("second");
    client.finish();
    assert_eq!(client.rest().unwrap(), b"first second");
    assert_eq!(Client::of(&origin).get("/upgrade/other").field("upgrade"), Some("other"));
}

#[test]
fn keep_alive_ends_when_it_was_said_to_or_without_a_word() {
    let origin = origin("{}");
    let mut announced = Client::of(&origin);
    assert_eq!(announced.get("/close").field("connection"), Some("close"));
    assert_eq!(announced.rest().unwrap(), b"");
    let mut silent = Client::of(&origin);
    assert_eq!(silent.get("/close/silent").field("connection"), None);
    assert_eq!(silent.rest().unwrap(), b"");
    let mut timed = Client::of(&origin);
    assert_eq!(timed.get("/keepalive-timeout/1").field("keep-alive"), Some("timeout=1"));
    assert_eq!(timed.rest().unwrap(), b"");
}

#[test]
fn an_idle_timeout_closes_what_is_idle() {
    let origin = origin(r#"{"idle_timeout": "10ms"}"#);
    let mut client = Client::of(&origin);
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn a_fault_holds_for_every_request_until_it_is_taken_away() {
    let origin = origin(r#"{"fault": "status/503"}"#);
    let mut client = Client::of(&origin);
    assert_eq!(client.get("/").status, 503);
    assert_eq!(client.post("/control/fault/status/500", "").status, 200);
    assert_eq!(client.get("/bytes/10").status, 500);
    assert_eq!(client.post("/control/fault/off", "").status, 200);
    assert_eq!(client.get("/bytes/10").status, 200);
    assert_eq!(client.post("/control/fault/fire", "").status, 400);
}

#[test]
fn a_delay_is_set_while_it_runs() {
    let origin = origin(r#"{"delay": "10m"}"#);
    let mut client = Client::of(&origin);
    assert_eq!(client.post("/control/delay/1us", "").status, 200);
    assert_eq!(client.get("/").status, 200);
}
