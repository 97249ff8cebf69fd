//! Sound documents become snapshots; every mistake of the others is told at once.

mod layer4;
mod tls;
mod udp;

use super::*;
use crate::document::{self, Action, Protocol};
use crate::policy::Phase;
use crate::sample::{self, endpoint, listener, pool, route, with};

/// Breaks one thing.
type Change<T> = fn(&mut T);

const OPTIONS: Options = Options { workers: 1, phase: Phase::Zero, seed: 0 };

fn build(document: &Document, previous: Option<&Snapshot>) -> Snapshot {
    Snapshot::build(document, previous, &Resolved::default(), &OPTIONS).unwrap()
}

fn problems(document: &Document) -> Vec<String> {
    let problems = Snapshot::build(document, None, &Resolved::default(), &OPTIONS).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

/// The one problem of the sample document with this change begins so and has a hint that says so.
fn refused(change: impl FnOnce(&mut Document), expected: &str, hint: &str) {
    let problems = problems(&with(change));
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let (message, given) = problems[0].split_once("\nhint: ").unwrap_or((&problems[0], ""));
    assert!(message.starts_with(expected), "{message} instead of {expected}");
    assert!(given.contains(hint), "{given} instead of {hint}");
}

fn addresses(pool: &Pool) -> Vec<String> {
    pool.members().iter().map(|member| member.endpoint.address().to_string()).collect()
}

#[test]
fn a_sound_document_becomes_a_snapshot() {
    let snapshot = build(&sample::document(), None);
    assert_eq!(snapshot.generation, 1);
    assert_eq!(snapshot.drain_timeout_ms, 25_000);
    assert_eq!(snapshot.listener("web").unwrap().binds, [crate::address::Bind::Any { port: 8080 }]);
    assert_eq!(addresses(snapshot.pool("app").unwrap()), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert!(snapshot.pool("other").is_none());
}

#[test]
fn endpoints_that_stay_keep_their_state_and_others_do_not() {
    let first = build(&sample::document(), None);
    let second = build(
        &with(|document| {
            document.pools[0].endpoints = vec![endpoint("10.0.0.3:80"), endpoint("10.0.0.2:80")];
        }),
        Some(&first),
    );
    assert_eq!(second.generation, 2);
    let (before, after) = (first.pools[0].members(), second.pools[0].members());
    assert!(Arc::ptr_eq(&before[1].endpoint, &after[1].endpoint));
    assert!(!Arc::ptr_eq(&before[0].endpoint, &after[0].endpoint));
}

#[test]
fn a_host_name_stands_for_every_address_that_it_has() {
    let document = with(|document| {
        document.pools[0].endpoints = vec![endpoint("10.0.0.1:80"), endpoint("App.internal:80")];
        document.pools[0].endpoints[1].weight = 3;
    });
    assert_eq!(names(&document).into_iter().collect::<Vec<_>>(), [("app.internal".to_owned(), 80)]);
    assert_eq!(addresses(&build(&document, None).pools[0]), ["10.0.0.1:80"], "not resolved yet");

    let mut resolved = Resolved::default();
    let found = ["10.0.0.7:80", "10.0.0.1:80", "[fd00::1]:80"].map(|address| address.parse().unwrap());
    resolved.insert("app.internal".into(), 80, found.to_vec());
    let snapshot = Snapshot::build(&document, None, &resolved, &OPTIONS).unwrap();
    let pool = &snapshot.pools[0];
    assert_eq!(addresses(pool), ["10.0.0.1:80", "10.0.0.7:80", "[fd00::1]:80"], "each once");
    assert_eq!(pool.members().iter().map(|member| member.weight).collect::<Vec<_>>(), [1, 3, 3]);
    assert_eq!(&*pool.members()[1].configured, "app.internal:80");
}

#[test]
fn every_problem_is_told_at_once_and_in_order() {
    let problems = problems(&with(|document| {
        document.workers = Some(0);
        document.listeners[0].pool = Some("ap".into());
        document.listeners[0].bind = vec!["8080".into()];
        document.routes.push(route(Action::Respond(99)));
        document.pools[0].endpoints.clear();
    }));
    let places: Vec<&str> = problems.iter().map(|problem| problem.split_once(": ").unwrap().0).collect();
    assert_eq!(
        places,
        [
            "workers",
            "pools.app.endpoints",
            "listeners.web.bind[0]",
            "listeners.web.pool",
            "routes[0].respond"
        ]
    );
}

#[test]
fn check_tells_what_build_tells_and_what_json_lacks() {
    assert_eq!(check("{").len(), 1);
    let missing = check(r#"{"workers": null, "listeners": [], "routes": [], "pools": []}"#);
    assert!(missing[0].message.contains("missing field `drain_timeout_ms`"), "{missing:?}");
    assert!(missing[0].path.is_empty());
    let problems =
        check(r#"{"workers": 0, "drain_timeout_ms": 1, "listeners": [], "routes": [], "pools": []}"#);
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("workers: 0 is ambiguous"), "{told:?}");
    assert!(told[1].starts_with("listeners: there is no listener"), "{told:?}");
    assert_eq!(told.len(), 2);
}

#[test]
fn the_process_has_workers_and_time_to_drain() {
    refused(|d| d.workers = Some(0), "workers: 0 is ambiguous", "\"auto\"");
    refused(|d| d.workers = Some(1025), "workers: there can be 1024 workers", "");
    refused(|d| d.drain_timeout_ms = 0, "drain_timeout: 0 is ambiguous", "\"1ms\"");
}

#[test]
fn listeners_have_names_addresses_and_pools_that_exist() {
    refused(|d| d.listeners.clear(), "listeners: there is no listener", "bind = [\":8080\"]");
    refused(|d| d.listeners[0].name = "a b".into(), "listeners.a b: \"a b\" is no name", "letters");
    refused(
        |d| d.listeners.push(listener("web", ":81")),
        "listeners.web: there is another listener \"web\"",
        "",
    );
    refused(|d| d.listeners[0].bind.clear(), "listeners.web.bind: the listener has no address", ":8080");
    refused(
        |d| d.listeners[0].bind.push("localhost:1".into()),
        "listeners.web.bind[1]: a listener binds an IP address",
        "127.0.0.1:1",
    );
    refused(
        |d| d.listeners[0].pool = Some("apps".into()),
        "listeners.web.pool: there is no pool \"apps\"",
        "did you mean \"app\"?",
    );
    refused(
        |d| d.listeners[0].trusted_proxies = vec!["10.0.0.0/8".into(), "10.0.0.0/40".into()],
        "listeners.web.trusted_proxies[1]: \"10.0.0.0/40\" is no network",
        "CIDR",
    );
}

#[test]
fn no_address_is_bound_twice() {
    refused(
        |d| d.listeners.push(listener("other", "127.0.0.1:8080")),
        "listeners.other.bind[0]: 127.0.0.1:8080 conflicts with :8080 of web",
        "cannot share",
    );
    refused(
        |d| d.listeners[0].bind.push("[::1]:8080".into()),
        "listeners.web.bind[1]: [::1]:8080 conflicts with :8080 of this listener",
        "cannot share",
    );
    build(
        &with(|d| {
            d.listeners[0].bind = vec![":0".into(), ":0".into()];
            d.listeners.push(listener("other", "127.0.0.1:0"));
        }),
        None,
    );
}

#[test]
fn bounds_of_a_listener_are_bounds() {
    refused(
        |d| d.listeners[0].limits.connections = Some(0),
        "listeners.web.limits.connections: 0 is ambiguous",
        "\"auto\"",
    );
    for count in [0, 1001] {
        refused(
            |d| d.listeners[0].limits.header_count_max = count,
            "listeners.web.limits.header_count",
            "it may be 1 to 1000",
        );
    }
    for bytes in [0, 255, (1 << 20) + 1] {
        refused(
            |d| d.listeners[0].limits.header_bytes_max = bytes,
            "listeners.web.limits.header_bytes",
            "it may be 256 to 1048576",
        );
    }
    refused(|d| d.listeners[0].limits.target_bytes_max = 0, "listeners.web.limits.target_bytes", "1 to");
    refused(|d| d.listeners[0].limits.streams_max = 0, "listeners.web.limits.streams", "1 to");
    refused(|d| d.listeners[0].limits.resets_max = 0, "listeners.web.limits.resets", "1 to");
    refused(
        |d| d.listeners[0].limits.control_frames_max = 9,
        "listeners.web.limits.control_frames",
        "100 to",
    );
    refused(
        |d| d.listeners[0].timeouts.request_header_ms = Some(0),
        "listeners.web.timeouts.request_header",
        "off",
    );
    refused(
        |d| d.listeners[0].timeouts.request_body_ms = Some(0),
        "listeners.web.timeouts.request_body",
        "off",
    );
    refused(|d| d.listeners[0].timeouts.idle_ms = Some(0), "listeners.web.timeouts.idle", "off");
}

#[test]
fn routes_lead_from_listeners_to_pools_that_exist() {
    let to = |pool: &str| route(Action::Pool(pool.into()));
    refused(|d| d.routes.push(to("appp")), "routes[0].pool: there is no pool", "did you mean \"app\"?");
    refused(
        |d| {
            d.routes.push(to("app"));
            d.routes.push(to("app"));
            d.routes[1].listener = Some("wbe".into());
        },
        "routes[1].listener: there is no listener \"wbe\"",
        "did you mean \"web\"?",
    );
}

#[test]
fn pools_have_names_and_endpoints() {
    refused(|d| d.pools[0].endpoints.clear(), "pools.app.endpoints: the pool has no endpoints", "write");
    refused(|d| d.pools.push(pool("app", &["10.0.0.9:80"])), "pools.app: there is another pool", "");
    refused(|d| d.pools.push(pool("a/b", &["10.0.0.9:80"])), "pools.a/b: \"a/b\" is no name", "letters");
    refused(
        |d| d.pools[0].endpoints[1].address = "10.0.0.2".into(),
        "pools.app.endpoints[1].address: \"10.0.0.2\" has no port",
        "10.0.0.2:8080",
    );
    refused(
        |d| d.pools[0].endpoints[1].address = "[::ffff:10.0.0.1]:80".into(),
        "pools.app.endpoints[1].address: 10.0.0.1:80 is in the pool already",
        "weight",
    );
    refused(
        |d| d.pools[0].endpoints[0].weight = 65_536,
        "pools.app.endpoints[0].weight: a weight of 65536",
        "65535",
    );
}

#[test]
fn a_pool_whose_weights_are_all_0_is_sound() {
    build(
        &with(|d| {
            for endpoint in &mut d.pools[0].endpoints {
                endpoint.weight = 0;
            }
        }),
        None,
    );
}

/// A policy with what it cannot do without.
fn policy(name: &str) -> document::Policy {
    let key = crate::policy::KEYED.contains(&name).then(|| "address".into());
    let secret = (name == "sticky").then(|| secret(SECRET));
    document::Policy { name: name.into(), key, secret, ..document::Policy::default() }
}

const SECRET: &str = "00112233445566778899aabbccddeeff";

fn secret(digits: &str) -> document::Secret {
    serde_json::from_value(digits.into()).unwrap()
}

#[test]
fn a_sticky_policy_has_a_secret_that_is_never_shown() {
    refused(
        |d| d.pools[0].policy.name = "sticky".into(),
        "pools.app.policy: sticky needs a secret_file",
        "openssl rand -hex 32",
    );
    let snapshot = build(&with(|d| d.pools[0].policy = policy("sticky")), None);
    let shown = format!("{snapshot:?}");
    assert!(!shown.contains(SECRET) && shown.contains("Secret"), "{shown}");
    let broken = serde_json::from_value::<document::Secret>("0x".into()).unwrap_err();
    assert_eq!(broken.to_string(), "a secret is written in pairs of hexadecimal digits");
}

#[test]
fn a_session_s_cookie_is_one_that_browsers_take() {
    let cases: [(Change<document::Policy>, &str, &str); 5] = [
        (|p| p.secret = Some(secret("0011")), "secret_file: the secret is too short", "at least 16 bytes"),
        (|p| p.cookie = Some("a b".into()), "cookie: \"a b\" is no name", "letters"),
        (|p| p.same_site = Some(document::SameSite::None), "same_site: browsers refuse", "secure = true"),
        (|p| p.max_age_ms = Some(0), "max_age: 0 is ambiguous", "off"),
        (|p| p.key = Some("path".into()), "key: sticky has no \"key\"", "sticky knows cookie, "),
    ];
    for (change, message, hint) in cases {
        let broken = |d: &mut Document| {
            d.pools[0].policy = policy("sticky");
            change(&mut d.pools[0].policy);
        };
        refused(broken, &format!("pools.app.policy.{message}"), hint);
    }
}

#[test]
fn a_policy_that_goes_by_a_key_is_given_one() {
    for name in crate::policy::KEYED {
        refused(
            |d| d.pools[0].policy.name = name.into(),
            &format!("pools.app.policy: {name} needs a key"),
            "\"address\", \"path\", \"header:NAME\", \"cookie:NAME\" or \"query:NAME\"",
        );
    }
    let hashed = |key: &'static str| {
        move |d: &mut Document| {
            d.pools[0].policy = document::Policy { key: Some(key.into()), ..policy("ring_hash") };
        }
    };
    refused(hashed("user"), "pools.app.policy.key: \"user\" is no key", "\"header:NAME\"");
}

#[test]
fn settings_of_a_policy_are_its_own_and_within_bounds() {
    let cases: [(&str, Change<document::Policy>, &str, &str); 10] = [
        ("maglev", |p| p.ring_size = Some(9), "ring_size: maglev has no", "knows key, table_size"),
        ("random", |p| p.key = Some("path".into()), "key: random has no", "has no settings"),
        ("rendezvous", |p| p.balance = Some(2.0), "balance: rendezvous has no", "knows key"),
        ("ring_hash", |p| p.ring_size = Some(0), "ring_size: a ring of 0", "from 1 to 8388608"),
        ("ring_hash", |p| p.ring_size = Some(8_388_609), "ring_size: a ring of", "from 1 to 8388608"),
        ("maglev", |p| p.table_size = Some(65_536), "table_size: 65536 is no prime", "is 65537"),
        ("maglev", |p| p.table_size = Some(2), "table_size: a table of 2", "to 5000011"),
        ("maglev", |p| p.table_size = Some(5_000_077), "table_size: a table of", "to 5000011"),
        ("bounded_hash", |p| p.balance = Some(1.0), "balance: the balance is", "above 1"),
        ("bounded_hash", |p| p.balance = Some(f64::NAN), "balance: the balance is", "above 1"),
    ];
    for (name, change, message, hint) in cases {
        let expected = format!("pools.app.policy.{message}");
        let broken = |d: &mut Document| {
            d.pools[0].policy = policy(name);
            change(&mut d.pools[0].policy);
        };
        refused(broken, &expected, hint);
    }
}

#[test]
fn a_policy_is_one_that_there_is() {
    for name in crate::policy::NAMES {
        build(&with(|d| d.pools[0].policy = policy(name)), None);
    }
    let with_policy = |name: &'static str| move |d: &mut Document| d.pools[0].policy.name = name.into();
    refused(
        with_policy("roundrobin"),
        "pools.app.policy: there is no policy",
        "did you mean \"round_robin\"?",
    );
    refused(with_policy("fastest"), "pools.app.policy: there is no policy", "there are round_robin, ");
    refused(with_policy("mine:choose"), "pools.app.policy: the policy", "there are round_robin, ");
}

#[test]
fn what_can_be_off_is_not_0() {
    let zeros: [(&str, Change<document::Pool>); 12] = [
        ("threshold.requests", |pool| pool.threshold.requests = Some(0)),
        ("threshold.latency", |pool| pool.threshold.latency_ms = Some(0)),
        ("threshold.bytes_per_second", |pool| pool.threshold.bytes_per_second = Some(0)),
        ("queue.size", |pool| pool.queue.size = Some(0)),
        ("queue.timeout", |pool| pool.queue.timeout_ms = Some(0)),
        ("health.interval", |pool| pool.health.interval_ms = Some(0)),
        ("connections.idle_timeout", |pool| pool.connections.idle_timeout_ms = Some(0)),
        ("connections.max", |pool| pool.connections.max = Some(0)),
        ("timeouts.connect", |pool| pool.timeouts.connect_ms = Some(0)),
        ("timeouts.response", |pool| pool.timeouts.response_ms = Some(0)),
        ("timeouts.idle", |pool| pool.timeouts.idle_ms = Some(0)),
        ("timeouts.tunnel", |pool| pool.timeouts.tunnel_ms = Some(0)),
    ];
    for (key, change) in zeros {
        refused(|d| change(&mut d.pools[0]), &format!("pools.app.{key}: 0 is ambiguous"), "write \"off\"");
    }
    refused(|d| d.pools[0].timeouts.total_ms = Some(0), "pools.app.timeouts.total: 0", "write \"off\"");
}

#[test]
fn what_needs_a_version_of_http_needs_it() {
    let grpc = |service: &str, protocol| {
        let service = service.to_owned();
        move |d: &mut Document| {
            d.pools[0].protocol = protocol;
            d.pools[0].health.grpc = Some(service);
        }
    };
    build(&with(grpc("app.Service", Protocol::H2c)), None);
    build(&with(grpc("", Protocol::H2c)), None);
    refused(grpc("", Protocol::Http1), "pools.app.health.grpc: gRPC is spoken over HTTP/2", "\"h2c\"");
    refused(grpc("a b", Protocol::H2c), "pools.app.health.grpc: \"a b\" is no service", "package.Service");
    let both = |d: &mut Document| {
        grpc("a", Protocol::H2c)(d);
        d.pools[0].health.path = Some("/".into());
    };
    refused(both, "pools.app.health.grpc: a probe asks for a path or", "take path or grpc out");
}

#[test]
fn health_checks_can_succeed_and_end_before_the_next() {
    let broken: [(&str, &str, Change<document::Health>); 11] = [
        ("path: \"ready\"", "write \"/ready\"", |health| health.path = Some("ready".into())),
        ("path: \"/a b\"", "%20", |health| health.path = Some("/a b".into())),
        ("path: \"/a\\r\\nb\"", "escape it", |health| health.path = Some("/a\r\nb".into())),
        ("host: \"a b\" is no host", "app.internal", |health| health.host = Some("a b".into())),
        ("timeout: 0 is ambiguous", "time to be answered", |health| health.timeout_ms = 0),
        ("timeout: a probe may take 5001 ms", "no longer", |health| health.timeout_ms = 5_001),
        ("rise: 0 is ambiguous", "write 1", |health| health.rise = 0),
        ("fall: 0 is ambiguous", "write 1", |health| health.fall = 0),
        ("expect_status: no status", "200-399", |health| health.expect_status.clear()),
        ("expect_status[1]: 399-200 is out of order", "200-399", |health| {
            health.expect_status.push((399, 200));
        }),
        ("expect_status[0]: 200-600 holds", "100 to 599", |health| health.expect_status[0].1 = 600),
    ];
    for (expected, hint, change) in broken {
        refused(|d| change(&mut d.pools[0].health), &format!("pools.app.health.{expected}"), hint);
    }
    build(&with(|d| d.pools[0].health.timeout_ms = 5_000), None);
    build(&with(|d| d.pools[0].health.path = Some("/ready?deep=1".into())), None);
}

#[test]
fn what_spreads_the_load_is_within_its_bounds() {
    let slow_start = |change: Change<document::SlowStart>| {
        move |d: &mut Document| {
            let mut slow_start = document::SlowStart { window_ms: 1, aggression: 1.0, min_weight: 0.1 };
            change(&mut slow_start);
            d.pools[0].slow_start = Some(slow_start);
        }
    };
    refused(slow_start(|start| start.window_ms = 0), "pools.app.slow_start.window: 0 is ambiguous", "off");
    for aggression in [0.0, -1.0, 101.0, f64::NAN] {
        let change = |d: &mut Document| {
            d.pools[0].slow_start = Some(document::SlowStart { window_ms: 1, aggression, min_weight: 0.1 });
        };
        refused(change, "pools.app.slow_start.aggression: an aggression of", "from 0.01 to 100");
    }
    refused(slow_start(|start| start.min_weight = 0.0), "pools.app.slow_start.min_weight: 0", "0.001 to 1");
    refused(|d| d.pools[0].panic_threshold = Some(0), "pools.app.panic_threshold: 0 is ambiguous", "off");
    refused(|d| d.pools[0].panic_threshold = Some(101), "pools.app.panic_threshold: 101 is no", "1 to 100");
    let subset = |size, instance, instances| {
        move |d: &mut Document| d.pools[0].subset = Some(document::Subset { size, instance, instances })
    };
    refused(subset(0, 0, 1), "pools.app.subset.size: 0 is ambiguous", "every endpoint");
    refused(subset(1, 0, 0), "pools.app.subset.instances: 0 is ambiguous", "counts this instance");
    refused(subset(1, 3, 3), "pools.app.subset.instance: there is no instance 3 of 3", "0 to 2");
    refused(
        |d| {
            let addresses: Vec<String> = (1..=9).map(|number| format!("10.0.0.{number}:80")).collect();
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            d.pools[0] = pool("app", &addresses);
            for (priority, endpoint) in d.pools[0].endpoints.iter_mut().enumerate() {
                endpoint.priority = priority as u32;
            }
        },
        "pools.app.endpoints[8].priority: the pool has more than 8 different priorities",
        "give several endpoints the same",
    );
    refused(
        |d| d.pools[0].endpoints[0].zone = Some(String::new()),
        "pools.app.endpoints[0].zone: a zone has a name",
        "no zones",
    );
}

#[test]
fn retries_are_bounded() {
    refused(|d| d.pools[0].retry.attempts = 0, "pools.app.retry.attempts: 0 is", "write 1");
    refused(|d| d.pools[0].retry.attempts = 101, "pools.app.retry.attempts: 101", "the most is 100");
    for budget in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        refused(|d| d.pools[0].retry.budget = Some(budget), "pools.app.retry.budget", "0 to 1");
    }
}
