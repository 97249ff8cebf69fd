//! Asking endpoints for their loads, as `prequal` wants them asked: beside the requests, never in their way.
//!
//! Core decides who is asked and bounds how often; here are the connections, one kept for each endpoint.

use super::load::{self, Answer, Outcome, Question};
use crate::shared::Shared;
use crate::tls::{PoolTls, same};
use std::collections::HashMap;
use std::sync::Arc;
use steelyard_core::document::{Protocol, ProxyVersion};
use steelyard_core::endpoint::Endpoint;
use steelyard_core::pool::Pool;
use steelyard_core::time::Nanos;
use tokio::task::JoinSet;

/// How long a connection may lie idle; under what common servers use (5 s).
const IDLE_MAX: Nanos = Nanos::from_millis(4_000);

/// An answer, or what there is instead.
#[derive(Debug)]
pub(super) struct Answered {
    pool: String,
    endpoint: Arc<Endpoint>,
    rules: Rules,
    answer: Answer,
}

/// The questions that are under way and the connections between two.
#[derive(Debug, Default)]
pub(super) struct Loads {
    running: JoinSet<Answered>,
    idle: HashMap<usize, Kept>,
}

/// A connection between two questions, or what will be one. It holds its endpoint, so that no other comes to have the same key.
#[derive(Debug)]
struct Kept {
    line: load::Kept,
    rules: Rules,
    since: Nanos,
    _endpoint: Arc<Endpoint>,
}

/// By what a connection was opened: under other rules it is not used again.
#[derive(Debug)]
struct Rules {
    protocol: Protocol,
    send_proxy: Option<ProxyVersion>,
    tls: Option<Arc<PoolTls>>,
}

impl Rules {
    fn of(pool: &Pool) -> Self {
        let config = pool.config();
        Self { protocol: config.protocol, send_proxy: config.send_proxy, tls: pool.prepared.get().cloned() }
    }

    fn are(&self, others: &Self) -> bool {
        self.protocol == others.protocol
            && self.send_proxy == others.send_proxy
            && same(self.tls.as_ref(), others.tls.as_ref())
    }
}

impl Loads {
    /// Asks whomever the pools want asked. Must be called within the runtime.
    pub fn start_wanted(&mut self, shared: &Shared) {
        for pool in &shared.snapshot.load().pools {
            for member in pool.probes_wanted() {
                let address = member.endpoint.address().clone();
                let rules = Rules::of(pool);
                let question = Question::new(pool.config(), address, &member.configured)
                    .over(rules.tls.as_ref(), &member.configured)
                    .announced(rules.send_proxy);
                let kept = self.idle.remove(&key(&member.endpoint));
                let kept = kept.filter(|kept| kept.rules.are(&rules)).map(|kept| kept.line);
                let (pool, endpoint) = (pool.name().to_owned(), member.endpoint);
                self.running.spawn(async move {
                    let answer = question.ask(kept).await;
                    Answered { pool, endpoint, rules, answer }
                });
            }
        }
    }

    /// The next answer; `None` when nothing is asked. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Answered> {
        self.running.join_next().await?.ok()
    }

    /// Takes the answer in, if the pool is still there.
    pub fn record(&mut self, answered: Answered, shared: &Shared) {
        let Answered { pool, endpoint, rules, answer: (outcome, line) } = answered;
        let now = shared.clock.now();
        if let Some(pool) = shared.snapshot.load().pool(&pool) {
            match outcome {
                Outcome::Report(report) => pool.take_report(&endpoint, Some(report), now),
                Outcome::Nothing => pool.take_report(&endpoint, None, now),
                Outcome::PutOff => pool.put_question_off(&endpoint),
            }
        }
        if let Some(line) = line {
            self.idle.insert(key(&endpoint), Kept { line, rules, since: now, _endpoint: endpoint });
        }
    }

    /// Closes connections that nobody has used for long.
    pub fn sweep(&mut self, now: Nanos) {
        self.idle.retain(|_, kept| now.since(kept.since) < IDLE_MAX);
    }

    /// Calls every question off.
    pub fn abort(&mut self) {
        self.running.abort_all();
        self.idle.clear();
    }
}

/// Unique while somebody holds the endpoint.
fn key(endpoint: &Arc<Endpoint>) -> usize {
    Arc::as_ptr(endpoint).addr()
}
