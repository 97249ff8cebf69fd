//! The engine: everything that carries traffic, behind one verb for change.
//!
//! [`Engine::apply`] prepares everything (snapshot built, sockets bound), then swaps one snapshot in; whatever fails
//! leaves the one in force as it was and nothing half done.

mod crew;
mod events;
mod limits;
mod scores;
mod state;

use crate::control::resolve::{self, Answers, Name};
use crate::control::signals::Signals;
use crate::control::{self, Control, Order};
use crate::logging;
use crate::proofs::Proofs;
use crate::sockets::BindError;
use crate::status;
use crate::tls::Files;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use steelyard_core::policy::Phase;
use steelyard_core::problem::Problem;
use steelyard_core::snapshot::{self, Resolved};
use tokio::sync::mpsc;

pub(crate) use crew::Crew;
pub use events::Event;
pub(crate) use events::Events;
pub(crate) use state::{LiveListener, State};

/// How long host names may hold up a start or a change. What is not resolved by then follows later.
const RESOLVE_LIMIT: Duration = Duration::from_secs(2);

/// What is decided once for an engine, as JSON.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether the engine takes SIGTERM, SIGINT and SIGHUP over for the whole process, and ends the process when
    /// nobody else does.
    pub signals: bool,
    /// Seeds everything random; `None` = from the system.
    pub seed: Option<u64>,
    /// Where rotations begin.
    #[serde(with = "PhaseName")]
    pub phase: Phase,
    /// How much is logged. The first engine of a process decides.
    pub log_level: logging::Level,
    /// How it looks. The first engine of a process decides.
    pub log_format: logging::Format,
}

#[derive(Deserialize)]
#[serde(remote = "Phase", rename_all = "lowercase")]
enum PhaseName {
    Random,
    Zero,
}

/// Why an engine did not do what it was asked to. The engine that is in force stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The document is wrong.
    #[error("the configuration has problems: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Document(Vec<Problem>),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system refused a thread or what one needs.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// It has been stopped, or is about to.
    #[error("the engine has been stopped")]
    Stopped,
    /// This process is a child of the one that started it.
    #[error("the engine belongs to the process that started it, of which this one is a fork")]
    Forked,
}

impl From<Vec<Problem>> for EngineError {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Document(problems)
    }
}

/// A running engine. Dropping it stops it at once.
#[derive(Debug)]
pub struct Engine {
    state: Arc<State>,
    orders: mpsc::UnboundedSender<Order>,
    control: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Binds everything and starts every thread, or fails and leaves nothing behind.
    pub fn start(document: &str, options: &Options) -> Result<Self, EngineError> {
        logging::start(options.log_level, options.log_format);
        let document = snapshot::parse(document)?;
        let names = snapshot::names(&document);
        let answers = look_up_first(names.clone())?;
        let (resolved, _) = resolve::merge(&Resolved::default(), names, answers);
        let (state, mailboxes) = State::new(document, resolved, options)?;
        let state = Arc::new(state);
        let crew = Crew::hire(&state, mailboxes).map_err(EngineError::Thread)?;
        let runtime = control::runtime().map_err(EngineError::Thread)?;
        let signals = options.signals.then(|| Signals::take(&runtime)).transpose();
        let signals = signals.map_err(EngineError::Thread)?;
        let threads = crew.threads();
        let (orders, inbox) = mpsc::unbounded_channel();
        let control = Control::new(Arc::clone(&state), crew, signals);
        let control = control::spawn(control, runtime, inbox).map_err(EngineError::Thread)?;
        let shared = Arc::downgrade(&state.shared);
        logging::watch_panics(threads.into_iter().chain([control.thread().id()]), &shared);
        Ok(Self { state, orders, control: Mutex::new(Some(control)) })
    }

    /// Puts another document in force, with what its files hold or with what they held before; returns the number of its
    /// generation.
    ///
    /// Several may be applied at a time, from any thread; each sees the one before.
    pub fn apply(&self, document: &str, files: Files) -> Result<u64, EngineError> {
        self.state.here()?;
        let document = snapshot::parse(document)?;
        let answers = look_up_first(self.state.unasked(snapshot::names(&document)))?;
        self.state.apply(document, answers, files)
    }

    /// Shows these proofs to an authority from here on, in place of those before.
    pub fn show(&self, proofs: Proofs) -> Result<(), EngineError> {
        self.state.here()?;
        let proofs = (!proofs.is_empty()).then(|| Arc::new(proofs));
        self.state.shared.proofs.store(proofs);
        Ok(())
    }

    /// The status as JSON.
    pub fn status(&self) -> Result<String, EngineError> {
        self.state.here()?;
        Ok(status::render(&self.state))
    }

    /// What functions in Python that are not compiled may look at, as JSON.
    pub fn facts(&self) -> Result<String, EngineError> {
        self.state.here()?;
        Ok(scores::facts(&self.state.shared))
    }

    /// Hands over the weights of one pool that such a function comes to, as JSON; says whether there is such a pool now.
    pub fn take_weights(&self, weights: &str) -> Result<bool, EngineError> {
        self.state.here()?;
        Ok(scores::take_weights(&self.state.shared, &scores::parse(weights)?))
    }

    /// Waits for something to do, no longer than `limit`. [`Event::Stopped`] and [`Event::Failed`] are told again at each
    /// call.
    pub fn wait(&self, limit: Duration) -> Result<Option<Event>, EngineError> {
        self.state.here()?;
        Ok(self.state.events.wait(limit))
    }

    /// Says that the end was not only told but heard: a caller that is free to go on will end the
    /// process, and gets more time for it than one that is stuck.
    pub fn acknowledge_end(&self) {
        if self.state.here().is_ok() {
            self.state.events.acknowledge_end();
        }
    }

    /// Begins to drain, or stops at once; [`Engine::wait`] says when it is done.
    pub fn stop(&self, now: bool) -> Result<(), EngineError> {
        self.state.here()?;
        self.order(if now { Order::Stop } else { Order::Drain });
        Ok(())
    }

    /// Stops at once and joins every thread. After a fork it does nothing.
    pub fn close(&self) {
        if self.state.here().is_err() {
            return;
        }
        self.order(Order::Close);
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(control) = control.take()
            && control.join().is_err()
        {
            tracing::error!("the control thread ended in a panic");
        }
    }

    fn order(&self, order: Order) {
        // Nobody is left to take the order when everything has ended, which is what any order comes to.
        let _ = self.orders.send(order);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.state.here().is_ok() {
            return self.close();
        }
        // The threads, and whoever held a lock, are in the parent: nothing here may be touched, nor dropped.
        mem::forget(Arc::clone(&self.state));
        if let Ok(mut control) = self.control.try_lock() {
            mem::forget(control.take());
        }
    }
}

/// Looks up names that nobody has asked for before, while somebody waits for the change that brings them.
fn look_up_first(names: BTreeSet<Name>) -> Result<Answers, EngineError> {
    let answers = resolve::now(names, RESOLVE_LIMIT).map_err(EngineError::Thread)?;
    for ((host, port), answer) in &answers {
        if let Err(why) = answer {
            let name = format!("{host}:{port}");
            tracing::warn!(name, why, "cannot resolve an endpoint's name; it will be tried again");
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests;
