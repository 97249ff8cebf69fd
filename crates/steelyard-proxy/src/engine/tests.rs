//! An engine over its life: what it refuses leaves the rest as it was.

use super::*;
use crate::shared::Command;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn pool(endpoints: &[&str]) -> Value {
    let endpoints: Vec<_> =
        endpoints.iter().map(|address| json!({"address": address, "weight": 1, "drain": false})).collect();
    json!({
        "name": "app", "policy": {"name": "least_request"}, "endpoints": endpoints, "fail_open": true,
        "threshold": {"requests": null, "latency_ms": null, "bytes_per_second": null},
        "queue": {"size": null, "timeout_ms": null},
        "health": {"path": null, "host": null, "interval_ms": 60_000, "timeout_ms": 10_000, "rise": 1, "fall": 1,
                   "expect_status": [[200, 399]]},
        "connections": {"idle_timeout_ms": null, "idle_max": 1, "max": null},
        "timeouts": {"connect_ms": null, "response_ms": null, "idle_ms": null, "tunnel_ms": null,
                     "total_ms": null},
        "retry": {"attempts": 1, "on": [], "body_bytes_max": 1, "budget": null},
    })
}

fn document(listeners: &[(&str, &str)], endpoints: &[&str]) -> Value {
    let listeners: Vec<_> = listeners
        .iter()
        .map(|(name, bind)| {
            json!({
                "name": name, "bind": [bind], "pool": "app", "trusted_proxies": [],
                "allow_encoded_slash": false,
                "limits": {"connections": null, "header_bytes_max": 65536, "header_count_max": 100,
                           "target_bytes_max": 8192},
                "timeouts": {"request_header_ms": null, "request_body_ms": null, "idle_ms": null},
            })
        })
        .collect();
    json!({"workers": 2, "drain_timeout_ms": 60_000, "listeners": listeners, "routes": [],
           "pools": [pool(endpoints)]})
}

fn start(document: &Value) -> Result<Engine, EngineError> {
    let options = Options { seed: Some(7), phase: Phase::Zero, ..Options::default() };
    Engine::start(&document.to_string(), &options)
}

fn status(engine: &Engine) -> Value {
    serde_json::from_str(&engine.status().unwrap()).unwrap()
}

fn address(engine: &Engine, listener: usize) -> SocketAddr {
    status(engine)["listeners"][listener]["bind"][0].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_change_counts_on_and_keeps_the_sockets() {
    let engine = start(&document(&[("web", "127.0.0.1:0")], &["127.0.0.1:1"])).unwrap();
    let before = address(&engine, 0);
    let changed = document(&[("web", "127.0.0.1:0"), ("new", "127.0.0.1:0")], &["127.0.0.1:2"]);
    assert_eq!(engine.apply(&changed.to_string(), Files::Read).unwrap(), 2);
    assert_eq!(address(&engine, 0), before);
    assert!(TcpStream::connect(address(&engine, 1)).is_ok());
    assert_eq!(status(&engine)["pools"][0]["endpoints"][0]["address"], "127.0.0.1:2");
}

#[test]
fn a_change_that_cannot_be_made_leaves_everything_as_it_was() {
    let sound = document(&[("web", "127.0.0.1:0")], &["127.0.0.1:1"]);
    let engine = start(&sound).unwrap();
    let before = address(&engine, 0);
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let refused = engine.apply(&document(&[("new", &taken)], &["127.0.0.1:2"]).to_string(), Files::Read);
    assert!(matches!(refused, Err(EngineError::Bind(_))), "{refused:?}");
    let refused = engine.apply(&document(&[("web", "127.0.0.1:0")], &[]).to_string(), Files::Read);
    assert!(matches!(refused, Err(EngineError::Document(_))), "{refused:?}");
    let mut workers = sound.clone();
    workers["workers"] = json!(3);
    let Err(EngineError::Document(problems)) = engine.apply(&workers.to_string(), Files::Read) else {
        panic!("the number of workers cannot change")
    };
    assert_eq!(problems[0].path, ["workers".into()]);
    let status = status(&engine);
    assert_eq!((&status["generation"], status["listeners"].as_array().unwrap().len()), (&json!(1), 1));
    assert_eq!(status["pools"][0]["endpoints"][0]["address"], "127.0.0.1:1");
    assert_eq!(address(&engine, 0), before);
    assert!(TcpStream::connect(before).is_ok());
}

#[test]
fn a_second_engine_on_the_same_address_is_refused_until_the_first_is_closed() {
    let first = start(&document(&[("web", "127.0.0.1:0")], &["127.0.0.1:1"])).unwrap();
    let same = document(&[("web", &address(&first, 0).to_string())], &["127.0.0.1:1"]);
    let refused = start(&same).unwrap_err();
    assert!(matches!(&refused, EngineError::Bind(error) if error.listener == "web"), "{refused}");
    drop(first);
    start(&same).unwrap().close();
}

#[test]
fn a_probe_decides_and_its_verdict_survives_a_change() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let up = origin.local_addr().unwrap().to_string();
    let document = document(&[("web", "127.0.0.1:0")], &[&up, "127.0.0.1:1"]);
    let engine = start(&document).unwrap();
    let verdicts = |engine: &Engine| {
        let status = status(engine);
        let endpoints = status["pools"][0]["endpoints"].as_array().unwrap().clone();
        endpoints.iter().map(|endpoint| endpoint["verdict"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let end = std::time::Instant::now() + PATIENCE;
    while verdicts(&engine) != ["healthy", "unhealthy"] {
        assert!(std::time::Instant::now() < end, "{}", engine.status().unwrap());
        // Something to wait on: nothing is told, so this is the time between two looks.
        assert_eq!(engine.wait(Duration::from_millis(1)).unwrap(), None);
    }
    engine.apply(&document.to_string(), Files::Read).unwrap();
    assert_eq!(verdicts(&engine), ["healthy", "unhealthy"]);
    assert_eq!(status(&engine)["pools"][0]["endpoints"][1]["why"], "probe: connection refused");
}

#[test]
fn a_stop_is_told_again_and_again_and_nothing_is_changed_after_it() {
    let document = document(&[("web", "127.0.0.1:0")], &["127.0.0.1:1"]);
    let engine = start(&document).unwrap();
    let bound = address(&engine, 0);
    engine.stop(false).unwrap();
    for _ in 0..2 {
        assert_eq!(engine.wait(PATIENCE).unwrap(), Some(Event::Stopped));
    }
    assert!(matches!(engine.apply(&document.to_string(), Files::Read), Err(EngineError::Stopped)));
    assert_eq!(status(&engine)["state"], "draining");
    assert!(TcpStream::connect(bound).is_err());
    engine.close();
    engine.close();
}

#[test]
fn reloads_that_nobody_has_taken_are_one() {
    let events = Events::default();
    events.tell(Event::Reload);
    events.tell(Event::Reload);
    assert_eq!(events.wait(Duration::ZERO), Some(Event::Reload));
    assert_eq!(events.wait(Duration::ZERO), None);
}

#[test]
fn an_unknown_option_is_refused() {
    let options = |text: &str| serde_json::from_str::<Options>(text);
    assert_eq!(options(r#"{"signals": true, "seed": 1, "phase": "zero"}"#).unwrap().phase, Phase::Zero);
    assert!(options(r#"{"signal": true}"#).is_err());
}

#[test]
fn a_tunnel_holds_nothing_of_its_snapshot() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let document = document(&[("web", "127.0.0.1:0")], &[&origin.local_addr().unwrap().to_string()]);
    let engine = start(&document).unwrap();
    let mut client = TcpStream::connect(address(&engine, 0)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").unwrap();
    let (mut endpoint, _) = loop {
        let mut accepted = origin.accept().unwrap();
        accepted.0.set_read_timeout(Some(PATIENCE)).unwrap();
        // A probe only connects.
        if accepted.0.read(&mut [0; 4096]).unwrap() > 0 {
            break accepted;
        }
    };
    endpoint.write_all(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nfirst").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"first") {
        let mut some = [0; 4096];
        let count = client.read(&mut some).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&some[..count]);
    }
    let before = engine.state.shared.snapshot.load_full();
    let (snapshot, pool) = (Arc::downgrade(&before), Arc::downgrade(&before.pools[0]));
    drop(before);
    engine.apply(&document.to_string(), Files::Read).unwrap();
    let end = std::time::Instant::now() + PATIENCE;
    while snapshot.strong_count() + pool.strong_count() > 0 {
        assert!(std::time::Instant::now() < end, "the old snapshot is still held");
        assert_eq!(engine.wait(Duration::from_millis(1)).unwrap(), None);
    }
    // And goes on, counted in flight until it ends.
    client.write_all(b"up").unwrap();
    endpoint.read_exact(&mut [0; 2]).unwrap();
    assert_eq!(status(&engine)["pools"][0]["endpoints"][0]["in_flight"], 1);
    drop((client, endpoint));
    while status(&engine)["pools"][0]["endpoints"][0]["in_flight"] != 0 {
        assert!(std::time::Instant::now() < end, "the slot is given back");
        assert_eq!(engine.wait(Duration::from_millis(1)).unwrap(), None);
    }
}

fn name(host: &str) -> Name {
    (host.to_owned(), 1)
}

#[test]
fn a_change_does_not_undo_what_was_looked_up_meanwhile() {
    let engine = start(&document(&[("web", "127.0.0.1:0")], &["localhost:1"])).unwrap();
    let found = |last: u8| vec![SocketAddr::from(([127, 0, 0, last], 1))];
    let next = document(&[("web", "127.0.0.1:0")], &["localhost:1", "new.invalid:1"]);
    let next = snapshot::parse(&next.to_string()).unwrap();
    // Another change has brought the new name in, and both have been looked up again, while this one was prepared.
    let mut newer = Resolved::default();
    newer.insert("localhost".to_owned(), 1, found(8));
    newer.insert("new.invalid".to_owned(), 1, found(9));
    assert!(matches!(engine.state.refresh(|_, _| Some(newer)), Some(Ok(Some(2)))));
    let answers = Answers::from([(name("new.invalid"), Ok(found(7)))]);
    engine.state.apply(next, answers, Files::Keep).unwrap();
    let status = status(&engine);
    let addresses = [0, 1].map(|index| status["pools"][0]["endpoints"][index]["address"].clone());
    assert_eq!(addresses, ["127.0.0.8:1", "127.0.0.9:1"]);
}

#[test]
fn a_name_that_has_no_answer_is_waited_for_once() {
    let document = document(&[("web", "127.0.0.1:0")], &["127.0.0.1:1", "none.invalid:1"]);
    let engine = start(&document).unwrap();
    let unasked = engine.state.unasked(BTreeSet::from([name("none.invalid"), name("new.invalid")]));
    assert_eq!(unasked, BTreeSet::from([name("new.invalid")]));
    assert_eq!(engine.apply(&document.to_string(), Files::Read).unwrap(), 2);
}

#[test]
fn workers_end_with_a_control_thread_that_never_ran() {
    let document =
        snapshot::parse(&document(&[("web", "127.0.0.1:0")], &["127.0.0.1:1"]).to_string()).unwrap();
    let (state, mailboxes) = State::new(document, Resolved::default(), &Options::default()).unwrap();
    let state = Arc::new(state);
    let crew = Crew::hire(&state, mailboxes).unwrap();
    // As when the system refuses the thread: what it was to work with is dropped.
    drop(Control::new(Arc::clone(&state), crew, None));
    assert_eq!(Arc::strong_count(&state.shared), 1, "no worker holds it");
}

#[test]
fn workers_that_end_untold_are_a_failure() {
    let document = document(&[("web", "127.0.0.1:0")], &["127.0.0.1:1"]);
    let engine = start(&document).unwrap();
    engine.state.tell_workers(|| Command::Stop);
    for _ in 0..2 {
        assert_eq!(engine.wait(PATIENCE).unwrap(), Some(Event::Failed));
    }
    assert!(matches!(engine.apply(&document.to_string(), Files::Read), Err(EngineError::Stopped)));
}

#[test]
fn a_panic_of_the_control_thread_stops_the_engine_and_is_a_failure() {
    let document = document(&[("web", "127.0.0.1:0")], &["127.0.0.1:1"]);
    for panics in 1..=3 {
        let engine = start(&document).unwrap();
        let bound = address(&engine, 0);
        for _ in 0..panics {
            engine.order(Order::Panic);
        }
        assert_eq!(engine.wait(PATIENCE).unwrap(), Some(Event::Failed));
        assert!(TcpStream::connect(bound).is_err());
        assert!(matches!(engine.apply(&document.to_string(), Files::Read), Err(EngineError::Stopped)));
        engine.close();
    }
}
