//! Sockets over a change: what stays, what moves, what fails.

use super::*;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use steelyard_core::document::Document;
use steelyard_core::policy::Phase;
use steelyard_core::pool::Options;
use steelyard_core::snapshot::{Resolved, Snapshot, parse};

/// Listeners as a snapshot has them: a name and what it binds. One whose name ends in 3 speaks HTTP/3.
fn listeners(wanted: &[(&str, &[&str])]) -> Vec<Arc<Listener>> {
    let listeners: Vec<_> = wanted
        .iter()
        .map(|(name, bind)| {
            let speaks = name.ends_with('3');
            let certificates = [serde_json::json!({"cert": "c", "key": "k"})];
            let tls = serde_json::json!({
                "certificates": certificates, "alpn": [], "tickets": true, "session_cache": null,
            });
            let http3 = serde_json::json!({"early_data": false, "advertise": true});
            serde_json::json!({
                "tls": speaks.then_some(tls), "http3": speaks.then_some(http3),
                "name": name, "bind": bind, "pool": null, "trusted_proxies": [], "allow_encoded_slash": false,
                "limits": {"connections": null, "header_bytes_max": 65536, "header_count_max": 100,
                           "target_bytes_max": 8192},
                "timeouts": {"request_header_ms": null, "request_body_ms": null, "idle_ms": null},
            })
        })
        .collect();
    let document = serde_json::json!({
        "workers": 1, "drain_timeout_ms": 1, "listeners": listeners, "routes": [], "pools": [],
    });
    let document: Document = parse(&document.to_string()).unwrap();
    let options = Options { workers: 1, phase: Phase::Zero, seed: 0 };
    Snapshot::build(&document, None, &Resolved::default(), &options).unwrap().listeners
}

/// Puts listeners in force; returns what was opened and closed.
fn change(sockets: &mut Sockets, wanted: &[(&str, &[&str])]) -> (Vec<Opened>, Vec<u64>) {
    let Changed { opened, moved, closed } = change_moving(sockets, wanted);
    assert!(moved.is_empty(), "{moved:?}");
    (opened, closed)
}

fn change_moving(sockets: &mut Sockets, wanted: &[(&str, &[&str])]) -> Changed {
    let prepared = sockets.prepare(&listeners(wanted), 2).unwrap();
    sockets.commit(prepared)
}

fn refused(sockets: &mut Sockets, wanted: &[(&str, &[&str])]) -> BindError {
    sockets.prepare(&listeners(wanted), 2).unwrap_err()
}

fn address(sockets: &Sockets, listener: &str) -> SocketAddr {
    sockets.addresses(listener)[0].parse().unwrap()
}

/// A path for a socket in a folder of this test's own, which goes with the guard.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("steelyard-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("web.sock")
    }

    fn bind(&self) -> String {
        format!("unix:{}", self.socket().display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn port_0_is_resolved_once_for_all_workers_and_stays_over_a_change() {
    let mut sockets = Sockets::default();
    let (opened, closed) = change(&mut sockets, &[("web", &["127.0.0.1:0"])]);
    assert_eq!((opened.len(), opened[0].sockets.len(), closed.len()), (1, 2, 0));
    let before = address(&sockets, "web");
    for socket in &opened[0].sockets {
        let Socket::Tcp(socket) = socket else { panic!("a TCP bind gives TCP sockets") };
        assert_eq!(socket.local_addr().unwrap(), before);
    }
    let (opened, closed) = change(&mut sockets, &[("web", &["127.0.0.1:0"]), ("other", &["127.0.0.1:0"])]);
    assert_eq!((opened.len(), closed.len()), (1, 0));
    assert_eq!(address(&sockets, "web"), before);
    assert_ne!(address(&sockets, "other"), before);
}

#[test]
fn an_address_of_somebody_else_is_refused_even_if_it_is_shared_there() {
    let there = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    there.set_reuse_port(true).unwrap();
    there.set_reuse_address(true).unwrap();
    there.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    there.listen(1).unwrap();
    let address = there.local_addr().unwrap().as_socket().unwrap().to_string();
    let error = refused(&mut Sockets::default(), &[("web", &[&address])]);
    assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(
        (error.listener.as_str(), &error.address, error.message.as_str()),
        ("web", &address, "address already in use")
    );
    assert!(error.to_string().contains("hint: "), "{error}");
}

#[test]
fn a_change_that_fails_closes_what_it_had_opened_and_keeps_the_rest() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let folder = Folder::new("rollback");
    let mut sockets = Sockets::default();
    let (_web, _) = change(&mut sockets, &[("web", &["127.0.0.1:0"])]);
    let before = sockets.addresses("web");
    refused(&mut sockets, &[("web", &["127.0.0.1:0"]), ("new", &[&folder.bind(), &taken])]);
    assert!(!folder.socket().exists());
    assert_eq!(sockets.addresses("web"), before);
    assert!(TcpStream::connect(&before[0]).is_ok());
}

#[test]
fn a_bind_that_moves_or_widens_is_open_anew_before_the_old_one_closes() {
    let mut sockets = Sockets::default();
    let (first, _) = change(&mut sockets, &[("a", &["127.0.0.1:0"])]);
    let port = address(&sockets, "a").port();
    let bind = format!("127.0.0.1:{port}");
    // Only a bind of ours that is in force may be joined, so the port is given up and taken with its number.
    drop(first);
    sockets.clear();
    let (first, _) = change(&mut sockets, &[("a", &[&bind])]);
    let (second, closed) = change(&mut sockets, &[("b", &[&bind])]);
    assert_eq!((second.len(), closed), (1, vec![first[0].id]));
    let (third, closed) = change(&mut sockets, &[("b", &[&format!("0.0.0.0:{port}")])]);
    assert_eq!((third.len(), closed), (1, vec![second[0].id]));
    assert!(TcpStream::connect(&bind).is_ok());
}

#[test]
fn every_address_of_both_families_is_bound_by_a_port_alone() {
    let mut sockets = Sockets::default();
    let (_opened, _) = change(&mut sockets, &[("web", &[":0"])]);
    let port = address(&sockets, "web").port();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    if address(&sockets, "web").is_ipv6() {
        assert!(TcpStream::connect(("::1", port)).is_ok());
    }
}

#[test]
fn a_unix_socket_is_shared_moves_and_goes_with_its_last_holder() {
    let folder = Folder::new("shared");
    let mut sockets = Sockets::default();
    let (opened, _) = change(&mut sockets, &[("a", &[&folder.bind()])]);
    assert_eq!(opened[0].sockets.len(), 2);
    assert!(UnixStream::connect(folder.socket()).is_ok());
    let (moved, closed) = change(&mut sockets, &[("b", &[&folder.bind()])]);
    assert_eq!((moved.len(), &closed), (1, &vec![opened[0].id]));
    drop(opened);
    assert!(UnixStream::connect(folder.socket()).is_ok());
    sockets.clear();
    assert!(!folder.socket().exists());
}

#[test]
fn a_stale_file_is_replaced_a_live_one_and_any_other_are_refused() {
    let folder = Folder::new("stale");
    drop(UnixListener::bind(folder.socket()).unwrap());
    assert!(folder.socket().exists());
    let mut sockets = Sockets::default();
    let (_opened, _) = change(&mut sockets, &[("web", &[&folder.bind()])]);
    let error = refused(&mut Sockets::default(), &[("web", &[&folder.bind()])]);
    assert_eq!(error.message, "another process answers there");
    assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    sockets.clear();
    std::fs::write(folder.socket(), "precious").unwrap();
    let error = refused(&mut Sockets::default(), &[("web", &[&folder.bind()])]);
    assert_eq!(error.message, "there is a file that is no socket");
    let mut text = String::new();
    std::fs::File::open(folder.socket()).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "precious");
}

#[test]
fn a_file_that_another_has_put_in_the_place_is_left_alone() {
    let folder = Folder::new("replaced");
    let mut sockets = Sockets::default();
    let (_opened, _) = change(&mut sockets, &[("web", &[&folder.bind()])]);
    std::fs::remove_file(folder.socket()).unwrap();
    let _other = UnixListener::bind(folder.socket()).unwrap();
    sockets.clear();
    assert!(folder.socket().exists());
}

fn udp(opened: &Opened) -> Vec<SocketAddr> {
    let address = |socket: &Socket| match socket {
        Socket::Quic(socket, _) => socket.local_addr().unwrap(),
        other => panic!("{other:?}"),
    };
    opened.sockets.iter().map(address).collect()
}

#[test]
fn http3_has_sockets_of_its_own_on_the_same_port_which_come_and_go_alone() {
    let mut sockets = Sockets::default();
    let bind = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (opened, _) = change(&mut sockets, &[("web3", &[&bind])]);
    let [tcp, quic] = &opened[..] else { panic!("{opened:?}") };
    assert_eq!((tcp.sockets.len(), udp(quic)), (2, vec![address(&sockets, "web3"); 2]));
    assert_eq!(sockets.addresses("web3").len(), 1);
    let (again, closed) = change(&mut sockets, &[("web3", &[&bind])]);
    assert!(again.is_empty() && closed.is_empty());
    let (moved, closed) = change(&mut sockets, &[("web", &[&bind])]);
    assert_eq!((moved.len(), closed), (1, vec![tcp.id, quic.id]));
    // Those that were closed may still be there for a while, until their connections have ended.
    let (back, _) = change(&mut sockets, &[("web3", &[&bind])]);
    assert_eq!(back.len(), 2);
}

#[test]
fn what_quic_is_spoken_over_moves_to_a_listener_that_takes_over_its_address() {
    let mut sockets = Sockets::default();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (one, two) = (free(), free());
    let (opened, _) = change(&mut sockets, &[("a3", &[&one]), ("b3", &[&two])]);
    let [a_tcp, a_quic, b_tcp, b_quic] = &opened[..] else { panic!("{opened:?}") };
    // One that is kept is nobody else's.
    let failure = sockets.prepare(&listeners(&[("a3", &[&one]), ("b3", &[&two])]), 2).unwrap();
    assert!(failure.moved.is_empty() && failure.opened.is_empty());
    drop(failure);
    // They change places.
    let Changed { opened, moved, closed } = change_moving(&mut sockets, &[("a3", &[&two]), ("b3", &[&one])]);
    assert_eq!((opened.len(), closed), (2, vec![a_tcp.id, b_tcp.id]));
    let moves: Vec<_> = moved.iter().map(|moved| (moved.from, moved.listener.as_str())).collect();
    assert_eq!(moves, [(b_quic.id, "a3"), (a_quic.id, "b3")]);
    // What has moved is named anew, and closed by that.
    let (_, closed) = change(&mut sockets, &[("a3", &[&two])]);
    assert!(closed.contains(&moved[1].to) && !closed.contains(&moved[0].to), "{closed:?}");
}

#[test]
fn a_udp_port_of_somebody_else_is_refused_by_name() {
    let mut sockets = Sockets::default();
    let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = theirs.local_addr().unwrap().to_string();
    let error = refused(&mut sockets, &[("web3", &[&taken])]);
    assert!(error.to_string().contains("the UDP port that http3 needs is in use"), "{error}");
    assert!(error.to_string().contains("ss -lunp"), "{error}");
    // Nothing is left behind of the one that could be had.
    change(&mut sockets, &[("web", &[&taken])]);
}

#[test]
fn unix_sockets_have_no_http3_and_both_families_share_one_port() {
    let mut sockets = Sockets::default();
    let folder = Folder::new("http3");
    let unix = format!("unix:{}", folder.socket().display());
    let (opened, _) = change(&mut sockets, &[("web3", &[&unix, ":0"])]);
    let [_, _, quic] = &opened[..] else { panic!("{opened:?}") };
    let local: SocketAddr = sockets.addresses("web3")[1].parse().unwrap();
    assert_eq!(udp(quic), [local; 2]);
}
