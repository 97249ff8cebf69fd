//! The configuration of a balancer, put together from the scenario and checked by the core itself.

use super::check::way;
use crate::scenario::{Contender, Endpoint, Scenario};
use serde_json::{Value, json};
use std::net::SocketAddr;
use steelyard_core::document::{self, Document};
use steelyard_core::endpoint::Address;
use steelyard_core::policy::Phase;
use steelyard_core::pool::Options;
use steelyard_core::problem::{PathItem, Problem};
use steelyard_core::snapshot::{Resolved, Snapshot};

/// The pool's name in the documents.
const POOL: &str = "simulated";

/// The policy that keeps sessions.
const STICKY: &str = "sticky";
/// Nobody forges a cookie here, so that a scenario need not name a file with a secret.
const SECRET: &str = "00000000000000000000000000000000";

/// The document for each policy; what is wrong with one is added to the problems.
pub(super) fn documents(scenario: &Scenario, problems: &mut Vec<Problem>) -> Vec<Document> {
    let found = scenario.policies.iter().enumerate().filter_map(|(index, contender)| {
        let document = compose(scenario, index, contender).and_then(|document| {
            let options = Options { workers: 1, phase: Phase::Zero, seed: 0 };
            Snapshot::build(&document, None, &Resolved::default(), &options)
                .map_err(|problems| problems.into_iter().map(|problem| moved(problem, index)).collect())
                .map(|_| document)
        });
        document
            .map_err(|found: Vec<Problem>| {
                // What is wrong with the pool is wrong under every policy, and told once.
                let new: Vec<_> = found.into_iter().filter(|problem| !problems.contains(problem)).collect();
                problems.extend(new);
            })
            .ok()
    });
    found.collect()
}

fn compose(scenario: &Scenario, index: usize, contender: &Contender) -> Result<Document, Vec<Problem>> {
    let refuse = |path: Vec<PathItem>, error: serde_json::Error| {
        vec![Problem {
            path,
            message: format!("it does not have the shape that is expected: {error}"),
            hint: None,
        }]
    };
    let mut policy = contender.policy.clone();
    if policy["name"] == STICKY && policy["secret"].is_null() {
        policy["secret"] = SECRET.into();
    }
    let policy: document::Policy =
        serde_json::from_value(policy).map_err(|error| refuse(way!["policies", index], error))?;
    let mut pool = scenario.pool.clone();
    pool.insert("name".to_owned(), POOL.into());
    pool.insert("policy".to_owned(), json!({"name": policy.name}));
    pool.insert("endpoints".to_owned(), endpoints(&scenario.endpoints));
    let mut pool: document::Pool =
        serde_json::from_value(Value::Object(pool)).map_err(|error| refuse(way!["pool"], error))?;
    pool.policy = policy;
    let listener = serde_json::from_value(listener()).map_err(|error| refuse(Vec::new(), error))?;
    Ok(Document {
        workers: None,
        zone: scenario.zone.clone(),
        drain_timeout_ms: 1,
        listeners: vec![listener],
        routes: Vec::new(),
        pools: vec![pool],
    })
}

/// Each endpoint gets an address of its own, made from its number.
fn endpoints(endpoints: &[Endpoint]) -> Value {
    let one = |(number, endpoint): (u32, &Endpoint)| {
        let [_, high, middle, low] = number.to_be_bytes();
        let mut entry = json!({
            "address": format!("10.{high}.{middle}.{low}:80"), "weight": endpoint.weight, "drain": false,
        });
        if !endpoint.zone.is_empty() {
            entry["zone"] = endpoint.zone.as_str().into();
        }
        if endpoint.priority > 0 {
            entry["priority"] = endpoint.priority.into();
        }
        entry
    };
    (0u32..).zip(endpoints).map(one).collect()
}

/// The number of the endpoint that was given this address.
pub(crate) fn number_of(address: &Address) -> u32 {
    match address {
        Address::Socket(SocketAddr::V4(address)) => address.ip().to_bits() & 0x00ff_ffff,
        _ => unreachable!("every endpoint was given an IPv4 address"),
    }
}

/// A document needs one, though nothing listens here.
fn listener() -> Value {
    json!({
        "name": "web", "bind": [":0"], "pool": POOL, "trusted_proxies": [], "allow_encoded_slash": false,
        "limits": {"connections": null, "header_bytes_max": 65_536, "header_count_max": 100,
                   "target_bytes_max": 8_192},
        "timeouts": {"request_header_ms": null, "request_body_ms": null, "idle_ms": null},
    })
}

/// A problem of the document, in the words of the scenario.
fn moved(problem: Problem, policy: usize) -> Problem {
    let rest = problem.path.get(2..).unwrap_or_default();
    let path = match rest.first() {
        Some(PathItem::Key(key)) if key == "policy" => {
            let mut path = way!["policies", policy];
            path.extend_from_slice(&rest[1..]);
            path
        }
        Some(PathItem::Key(key)) if key == "endpoints" => rest.to_vec(),
        _ => {
            let mut path = way!["pool"];
            path.extend_from_slice(rest);
            path
        }
    };
    Problem { path, ..problem }
}
