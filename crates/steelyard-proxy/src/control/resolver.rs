//! Looks host names up again and again, and puts a change in force.

use super::resolve::{self, Answers, Lookups, Name};
use crate::engine::{EngineError, State};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use steelyard_core::snapshot;
use steelyard_core::time::Nanos;
use tokio::sync::mpsc;

/// Between the starts of two rounds.
const INTERVAL: Nanos = Nanos::from_millis(10_000);
/// For one round.
const LIMIT: Duration = Duration::from_secs(8);

/// Rounds of look-ups, one at a time.
#[derive(Debug)]
pub(super) struct Resolver {
    next: Nanos,
    running: bool,
    lookups: Lookups,
    sender: mpsc::UnboundedSender<Answers>,
    inbox: mpsc::UnboundedReceiver<Answers>,
    /// Answers that wait for a change that is under way.
    waiting: Option<Answers>,
    /// Names whose failure has been told.
    failing: BTreeSet<String>,
}

impl Resolver {
    /// The first round is due an interval from now: a start has looked names up itself.
    pub fn new(now: Nanos) -> Self {
        let (sender, inbox) = mpsc::unbounded_channel();
        Self {
            next: now.plus(INTERVAL),
            running: false,
            lookups: Lookups::default(),
            sender,
            inbox,
            waiting: None,
            failing: BTreeSet::new(),
        }
    }

    /// The answers of a round. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Answers {
        // There is always a sender, that of this very resolver.
        self.inbox.recv().await.unwrap_or_default()
    }

    /// Keeps answers until the next tick.
    pub fn take(&mut self, answers: Answers) {
        self.running = false;
        self.waiting = Some(answers);
    }

    /// Starts a round when it is due, and puts in force what the last one found.
    pub fn tick(&mut self, state: &Arc<State>, now: Nanos) {
        if let Some(answers) = self.waiting.take() {
            self.waiting = self.put_in_force(state, answers);
        }
        if self.running || self.waiting.is_some() || now < self.next {
            return;
        }
        let Some(names) = state.names() else { return };
        self.next = now.plus(INTERVAL);
        if !names.is_empty() {
            self.start(names);
        }
    }

    fn start(&mut self, names: BTreeSet<Name>) {
        self.running = true;
        let (sender, lookups) = (self.sender.clone(), self.lookups.clone());
        tokio::spawn(async move {
            // Nobody to tell means that the control thread has ended.
            let _ = sender.send(lookups.look_up(names, LIMIT).await);
        });
    }

    /// Gives the answers back while another change is under way.
    fn put_in_force(&mut self, state: &Arc<State>, answers: Answers) -> Option<Answers> {
        let outcome = state.refresh(|document, known| {
            let names = snapshot::names(document);
            let (resolved, failed) = resolve::merge(known, names.clone(), answers.clone());
            self.tell(failed);
            resolve::differ(&names, known, &resolved).then_some(resolved)
        });
        match outcome {
            None => return Some(answers),
            Some(Ok(Some(generation))) => {
                tracing::info!(generation, "names of endpoints stand for other addresses now");
            }
            Some(Ok(None) | Err(EngineError::Stopped)) => {}
            Some(Err(error)) => tracing::error!(%error, "cannot take new addresses of endpoints in"),
        }
        None
    }

    /// Tells each name that fails once, until it is found again.
    fn tell(&mut self, failed: Vec<(String, String)>) {
        for (name, why) in &failed {
            if !self.failing.contains(name) {
                tracing::warn!(name, why, "cannot resolve an endpoint's name; its last addresses stay");
            }
        }
        self.failing = failed.into_iter().map(|(name, _)| name).collect();
    }
}
