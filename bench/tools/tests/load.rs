//! The load generator against a small server of its own: what it counts is what the server has seen.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{HandshakeKind, ServerConfig, ServerConnection, Stream};
use steelyard_bench_tools::client::{Speaks, Way};
use steelyard_bench_tools::load::{Plan, Report, run};
use steelyard_bench_tools::once;
use steelyard_bench_tools::tls::Tls;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench.example\r\n\r\n";
const AGREED: &str = "TLSv1_3 TLS13_AES_128_GCM_SHA256 X25519 http/1.1";
const CONNECTIONS: usize = 4;

/// A server that answers every request with as many bytes as it was told.
struct Server {
    address: SocketAddr,
    full: Arc<AtomicU64>,
    resumed: Arc<AtomicU64>,
}

fn pem(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pem").join(name)
}

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_file(pem("test.pem")).unwrap()
}

fn serve(tickets: Option<usize>, body: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (full, resumed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counts = (full.clone(), resumed.clone());
    let config = tickets.map(|tickets| {
        let key = PrivateKeyDer::from_pem_file(pem("test.key")).unwrap();
        let mut config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate()], key).unwrap();
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
        config.send_tls13_tickets = tickets;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    });
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            socket.set_nodelay(true).unwrap();
            let (config, counts) = (config.clone(), counts.clone());
            thread::spawn(move || match config {
                None => answer(&mut socket, body),
                Some(config) => {
                    let mut connection = ServerConnection::new(config).unwrap();
                    while connection.is_handshaking() {
                        if connection.complete_io(&mut socket).is_err() {
                            return;
                        }
                    }
                    let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
                    if resumed { &counts.1 } else { &counts.0 }.fetch_add(1, Ordering::Relaxed);
                    answer(&mut Stream::new(&mut connection, &mut socket), body);
                }
            });
        }
    });
    Server { address, full, resumed }
}

/// Every read is taken for a whole request, since the client waits for its answer.
fn answer(stream: &mut (impl Read + Write), body: usize) {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n\r\n");
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b'x'; body])).is_err() {
            return;
        }
    }
}

fn way(server: &Server, speaks: Speaks, tls: Option<Tls>) -> Way {
    Way { to: server.address, tls, speaks, path: "/".to_owned() }
}

fn tls(resumes: bool) -> Tls {
    Tls::new(certificate(), "http/1.1", resumes).unwrap()
}

fn load(way: Way, rate: Option<f64>) -> Report {
    let (warmup_s, seconds) = (0.1, 0.3);
    let request = REQUEST.to_vec();
    let plan = Plan { way, connections: CONNECTIONS, streams: 1, request, warmup_s, seconds, rate };
    run(&plan, || Ok(())).unwrap()
}

#[test]
fn bytes_of_bodies_are_counted() {
    const BODY: usize = 300_000;
    let server = serve(None, BODY);
    let report = load(way(&server, Speaks::Http1, None), None);
    assert!(report.requests > 0);
    assert_eq!(report.errors, 0);
    // What was under way when counting began and ended is the difference.
    let most = (report.requests + CONNECTIONS) * BODY;
    assert!((report.body_bytes as usize) <= most, "{report:?}");
    assert!(report.body_bytes as usize + CONNECTIONS * BODY >= report.requests * BODY, "{report:?}");
}

#[test]
fn a_rate_is_kept() {
    let server = serve(None, 10);
    let report = load(way(&server, Speaks::Http1, None), Some(100.0));
    // 100 a second for 0.3 s, and the edges.
    assert!(report.backlog == 0 && (25..=35).contains(&report.requests), "{report:?}");
}

#[test]
fn connections_that_stay_make_one_handshake_each() {
    let server = serve(Some(2), 62);
    let report = load(way(&server, Speaks::Http1, Some(tls(false))), None);
    assert_eq!((report.errors, server.full.load(Ordering::Relaxed)), (0, CONNECTIONS as u64));
    let negotiated = report.tls.unwrap();
    assert!(report.requests > CONNECTIONS);
    assert_eq!((negotiated.full, negotiated.resumed), (0, 0), "none in the time that counts");
    assert_eq!(negotiated.with.into_iter().collect::<Vec<_>>(), [AGREED]);
}

#[test]
fn handshakes_are_full_unless_sessions_are_resumed() {
    let server = serve(Some(2), 0);
    let report = load(way(&server, Speaks::Handshake, Some(tls(false))), None);
    let negotiated = report.tls.unwrap();
    assert_eq!((report.errors, negotiated.resumed, server.resumed.load(Ordering::Relaxed)), (0, 0, 0));
    assert!(negotiated.full > 0 && negotiated.tickets > 0, "{negotiated:?}");
    assert!(negotiated.full.abs_diff(report.requests as u64) <= CONNECTIONS as u64);
}

#[test]
fn sessions_are_resumed_where_there_are_tickets() {
    let server = serve(Some(2), 0);
    let report = load(way(&server, Speaks::Handshake, Some(tls(true))), None);
    let negotiated = report.tls.unwrap();
    assert_eq!((report.errors, negotiated.full), (0, 0), "{negotiated:?}");
    assert!(negotiated.resumed > 0);
    // The first ones, in the warm-up, had no ticket yet.
    assert!((1..=CONNECTIONS as u64 * 2).contains(&server.full.load(Ordering::Relaxed)));
}

#[test]
fn without_tickets_nothing_is_resumed() {
    let server = serve(Some(0), 0);
    let negotiated = load(way(&server, Speaks::Handshake, Some(tls(true))), None).tls.unwrap();
    assert!(negotiated.full > 0);
    assert_eq!((negotiated.resumed, negotiated.tickets), (0, 0));
}

#[test]
fn one_request_tells_whether_the_next_session_is_resumed() {
    for (tickets, resumed) in [(2, 1), (0, 0)] {
        let server = serve(Some(tickets), 5);
        let answer = once::ask(&way(&server, Speaks::Http1, Some(tls(true))), REQUEST).unwrap();
        assert_eq!(answer.body, "xxxxx");
        assert_eq!(answer.tls.unwrap().resumed, resumed);
    }
}

#[test]
fn another_certificate_is_refused() {
    let server = serve(Some(2), 5);
    let mut other = certificate().to_vec();
    *other.last_mut().unwrap() ^= 1;
    let tls = Tls::new(CertificateDer::from(other), "http/1.1", false).unwrap();
    assert!(once::ask(&way(&server, Speaks::Http1, Some(tls)), REQUEST).is_err());
}
