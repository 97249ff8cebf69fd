//! What a probe makes of every kind of answer.

use super::*;
use steelyard_core::document::Health;
use tokio::io::{DuplexStream, duplex};

fn health(path: Option<&str>) -> Health {
    Health {
        path: path.map(str::to_owned),
        grpc: None,
        host: None,
        interval_ms: Some(1_000),
        timeout_ms: 2_000,
        rise: 1,
        fall: 1,
        expect_status: vec![(200, 299), (404, 404)],
    }
}

fn probe(path: Option<&str>) -> Probe {
    Probe::new(&health(path), Protocol::Http1, Address::Socket(([127, 0, 0, 1], 9).into()), "app.internal:80")
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

/// The verdict about an endpoint that answers with these pieces and then ends.
fn verdict(pieces: &[&[u8]]) -> Verdict {
    run(async {
        let (near, mut far): (DuplexStream, DuplexStream) = duplex(64);
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let endpoint = tokio::spawn(async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(far.read_u8().await.unwrap());
            }
            for piece in pieces {
                // The probe may have heard enough.
                let _ = far.write_all(&piece).await;
            }
            drop(far);
        });
        let verdict = probe(Some("/")).ask(near, Spoken::Http1).await.unwrap_or_else(|error| blame(&error));
        endpoint.abort();
        verdict
    })
}

fn bad(said: &str) -> Verdict {
    Verdict::Bad(said.to_owned())
}

#[test]
fn the_request_names_the_endpoint_as_it_was_configured() {
    let version = env!("CARGO_PKG_VERSION");
    let sent = |health: &Health, configured: &str| {
        let probe = Probe::new(health, Protocol::Http1, Address::Unix("/run/app".into()), configured);
        let Question::Path(http, _) = probe.question else { panic!("it asks nothing") };
        String::from_utf8(http.request).unwrap()
    };
    assert_eq!(
        sent(&health(Some("/up?deep=1")), "app.internal:80"),
        format!(
            "GET /up?deep=1 HTTP/1.1\r\nHost: app.internal:80\r\nUser-Agent: steelyard/{version}\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n"
        )
    );
    let with_host = Health { host: Some("other".to_owned()), ..health(Some("/")) };
    assert!(sent(&with_host, "app.internal:80").contains("\r\nHost: other\r\n"));
    assert!(sent(&health(Some("/")), "unix:/run/app").contains("\r\nHost: localhost\r\n"));
}

#[test]
fn an_expected_status_is_good_and_any_other_says_what_was_expected() {
    assert_eq!(verdict(&[b"HTTP/1.1 200 OK\r\n\r\n"]), Verdict::Good("200 in less than 1 ms".to_owned()));
    assert!(matches!(verdict(&[b"HTTP/1.1 404 Not Found\r\n\r\n"]), Verdict::Good(_)));
    assert_eq!(verdict(&[b"HTTP/1.1 503 Busy\r\n\r\n"]), bad("503, expected 200-299, 404"));
}

#[test]
fn a_head_may_come_in_pieces_and_after_interim_ones() {
    let pieces: [&[u8]; 3] =
        [b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTT", b"P/1.0 204 No Con", b"tent\r\n\r\n"];
    assert!(matches!(verdict(&pieces), Verdict::Good(said) if said.starts_with("204 ")));
}

#[test]
fn what_is_no_http_or_ends_too_early_or_never_is_bad() {
    assert_eq!(verdict(&[b"SSH-2.0-OpenSSH_9.2\r\n"]), bad("no HTTP answer"));
    assert_eq!(verdict(&[b"HTTP/1.1 200 OK\r\nserver:"]), bad("no HTTP answer"));
    assert_eq!(verdict(&[]), bad("no HTTP answer"));
    let endless = vec![b'a'; HEAD_BYTES_MAX];
    assert_eq!(verdict(&[b"HTTP/1.1 200 OK\r\nx: ", &endless]), bad("no HTTP answer"));
}

#[test]
fn failures_are_told_in_words_and_our_own_lack_is_nobody_elses_fault() {
    let of = |errno: rustix::io::Errno| blame(&errno.into());
    assert_eq!(of(rustix::io::Errno::CONNREFUSED), bad("connection refused"));
    assert_eq!(of(rustix::io::Errno::CONNRESET), bad("connection reset"));
    assert_eq!(of(rustix::io::Errno::HOSTUNREACH), bad("no route to host"));
    assert!(matches!(of(rustix::io::Errno::MFILE), Verdict::Ours(_)));
}

#[test]
fn a_silent_endpoint_times_out() {
    let verdict = run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Socket(listener.local_addr().unwrap());
        Probe::new(&health(Some("/")), Protocol::Http1, address, "x:1").run().await
    });
    assert_eq!(verdict, bad("timed out after 2 s"));
}

#[test]
fn without_a_path_a_connection_is_enough() {
    let (good, refused) = run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Socket(listener.local_addr().unwrap());
        let good = Probe::new(&health(None), Protocol::Http1, address.clone(), "x:1").run().await;
        drop(listener);
        (good, Probe::new(&health(None), Protocol::Http1, address, "x:1").run().await)
    });
    assert_eq!((good, refused), (Verdict::Good("connected".to_owned()), bad("connection refused")));
}
