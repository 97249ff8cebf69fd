//! Policies in Python that are not compiled: what they may look at goes out, and the weights they come to come in.
//!
//! Whoever evaluates them does so on a thread of its own, when it likes. Nothing here waits for it: the workers have the
//! weights that came last.

use super::EngineError;
use crate::shared::Shared;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use steelyard_core::problem::Problem;

/// The weights of one pool by address; who is not among them keeps what it has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Weights {
    pool: String,
    weights: HashMap<String, f32>,
}

/// Of every pool with such a policy, what there is to know of each endpoint.
pub(super) fn facts(shared: &Shared) -> String {
    let now = shared.clock.now();
    let snapshot = shared.snapshot.load();
    let pools = snapshot.pools.iter().filter(|pool| pool.is_interpreted()).map(|pool| {
        let facts = pool.facts(now);
        let endpoints = pool.members().iter().zip(facts).map(|(member, facts)| {
            json!({
                "address": member.endpoint.address().to_string(),
                "in_flight": facts.in_flight,
                "latency": facts.latency,
                "error_rate": facts.error_rate,
                "weight": facts.weight,
                "bytes_per_second": facts.bytes_per_second,
                "age": facts.age,
                "zone_match": facts.zone_match,
            })
        });
        (pool.name().to_owned(), endpoints.collect::<Value>())
    });
    pools.collect::<Value>().to_string()
}

pub(super) fn parse(weights: &str) -> Result<Weights, EngineError> {
    serde_json::from_str(weights).map_err(|error| {
        let message = format!("the weights do not have the shape that the engine expects: {error}");
        EngineError::Document(vec![Problem { path: Vec::new(), message, hint: None }])
    })
}

/// Notes the weights; whether there is a pool that takes them.
pub(super) fn take_weights(shared: &Shared, weights: &Weights) -> bool {
    match shared.snapshot.load().pool(&weights.pool) {
        Some(pool) if pool.is_interpreted() => {
            pool.take_weights(|address| weights.weights.get(address).copied());
            true
        }
        _ => false,
    }
}
