//! Which probe is due when, with a time of our own.

use super::*;
use steelyard_core::policy::Phase;
use steelyard_core::pool::Options;
use steelyard_core::snapshot::{Resolved, Snapshot, parse};

fn at(millis: u64) -> Nanos {
    Nanos::from_millis(1_000 + millis)
}

fn snapshot(endpoints: usize, interval_ms: Option<u64>, previous: Option<&Snapshot>) -> Snapshot {
    let endpoints: Vec<_> = (0..endpoints)
        .map(|index| serde_json::json!({"address": format!("10.0.{}.{}:80", index / 200, index % 200 + 1), "weight": 1, "drain": false}))
        .collect();
    let document = serde_json::json!({
        "workers": 1, "drain_timeout_ms": 1, "routes": [],
        "listeners": [{
            "name": "web", "bind": [":80"], "pool": "app", "trusted_proxies": [], "allow_encoded_slash": false,
            "limits": {"connections": null, "header_bytes_max": 65536, "header_count_max": 100,
                       "target_bytes_max": 8192},
            "timeouts": {"request_header_ms": null, "request_body_ms": null, "idle_ms": null},
        }],
        "pools": [{
            "name": "app", "policy": {"name": "random"}, "endpoints": endpoints, "fail_open": true,
            "threshold": {"requests": null, "latency_ms": null, "bytes_per_second": null},
            "queue": {"size": null, "timeout_ms": null},
            "health": {"path": null, "host": null, "interval_ms": interval_ms, "timeout_ms": 100, "rise": 1,
                       "fall": 1, "expect_status": [[200, 399]]},
            "connections": {"idle_timeout_ms": null, "idle_max": 1, "max": null},
            "timeouts": {"connect_ms": null, "response_ms": null, "idle_ms": null, "tunnel_ms": null,
                         "total_ms": null},
            "retry": {"attempts": 1, "on": [], "body_bytes_max": 1, "budget": null},
        }],
    });
    let document = parse(&document.to_string()).unwrap();
    let options = Options { workers: 1, phase: Phase::Zero, seed: 0 };
    Snapshot::build(&document, previous, &Resolved::default(), &options).unwrap()
}

/// What is found due and may start.
fn due(schedule: &mut Schedule, pools: &[Arc<Pool>], now: Nanos) -> Vec<Due> {
    schedule.look(pools, now);
    std::iter::from_fn(|| schedule.next(now)).collect()
}

fn ids(due: &[Due]) -> Vec<u32> {
    due.iter().map(|due| due.member.endpoint.id()).collect()
}

#[test]
fn an_endpoint_never_probed_is_due_at_once_and_then_after_an_interval() {
    let snapshot = snapshot(1, Some(1_000), None);
    let mut schedule = Schedule::new(7);
    let mut now = at(0);
    for _ in 0..100 {
        let mut found = due(&mut schedule, &snapshot.pools, now);
        assert_eq!(found.len(), 1);
        assert!(
            due(&mut schedule, &snapshot.pools, now.plus(Nanos::from_millis(5_000))).is_empty(),
            "one at a time"
        );
        let Due { member, .. } = found.remove(0);
        let next = member.endpoint.health().next_probe.since(now);
        assert!((Nanos::from_millis(900)..=Nanos::from_millis(1_100)).contains(&next), "{next:?}");
        now = now.plus(next);
    }
}

#[test]
fn no_more_run_than_may_and_the_longest_overdue_go_first() {
    let snapshot = snapshot(PROBES_MAX + 10, Some(1_000), None);
    let mut schedule = Schedule::new(7);
    let mut first = due(&mut schedule, &snapshot.pools, at(0));
    assert_eq!(first.len(), PROBES_MAX);
    assert!(due(&mut schedule, &snapshot.pools, at(1)).is_empty());
    first.drain(..12);
    // Ten have never been probed, and two of those that were are overdue as well by now.
    let second = due(&mut schedule, &snapshot.pools, at(2_000));
    let waited: Vec<u32> = (PROBES_MAX as u32..PROBES_MAX as u32 + 10).collect();
    assert_eq!(ids(&second[..10]), waited);
    assert_eq!(second.len(), 12);
}

#[test]
fn the_schedule_survives_a_reload_and_follows_a_shorter_interval() {
    let slow = snapshot(1, Some(60_000), None);
    let mut schedule = Schedule::new(7);
    assert_eq!(due(&mut schedule, &slow.pools, at(0)).len(), 1);
    let same = snapshot(1, Some(60_000), Some(&slow));
    assert!(due(&mut schedule, &same.pools, at(1_000)).is_empty());
    let fast = snapshot(1, Some(1_000), Some(&same));
    assert!(due(&mut schedule, &fast.pools, at(1_000)).is_empty());
    assert_eq!(due(&mut schedule, &fast.pools, at(2_101)).len(), 1);
}

#[test]
fn nothing_is_due_where_probes_are_off() {
    assert!(due(&mut Schedule::new(7), &snapshot(3, None, None).pools, at(0)).is_empty());
}

#[test]
fn an_endpoint_whose_probe_panics_is_probed_again() {
    let snapshot = snapshot(1, Some(1_000), None);
    let mut schedule = Schedule::new(7);
    let found = due(&mut schedule, &snapshot.pools, at(0));
    let probe = std::panic::AssertUnwindSafe(move || {
        let _running = found;
        std::panic::resume_unwind(Box::new("a probe with a fault of its own"));
    });
    assert!(std::panic::catch_unwind(probe).is_err());
    assert_eq!(due(&mut schedule, &snapshot.pools, at(2_000)).len(), 1);
}

#[test]
fn one_that_ends_makes_room_for_the_next_without_another_look() {
    let snapshot = snapshot(PROBES_MAX + 2, Some(1_000), None);
    let mut schedule = Schedule::new(7);
    let mut running = due(&mut schedule, &snapshot.pools, at(0));
    assert!(schedule.next(at(1)).is_none());
    running.truncate(PROBES_MAX - 1);
    let next = schedule.next(at(1)).unwrap();
    assert_eq!(next.member.endpoint.id(), PROBES_MAX as u32);
    assert!(schedule.next(at(1)).is_none());
}
