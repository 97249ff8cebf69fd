//! What an engine owns, and how a change is put in force.

use super::{EngineError, Events, Options, limits};
use crate::clock::Clock;
use crate::connections;
use crate::control::resolve::{self, Answers, Name};
use crate::http3;
use crate::shared::{Command, ConnectionWaits, ListenerState, Shared};
use crate::sockets::{Changed, Moved, Opened, Prepared, Sockets};
use crate::tls::{self, Files};
use arc_swap::{ArcSwap, ArcSwapOption};
use rand::TryRng;
use rand::rngs::SysRng;
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;
use steelyard_core::document::{Document, ListenerProtocol};
use steelyard_core::listener::Listener;
use steelyard_core::pool;
use steelyard_core::problem::Problem;
use steelyard_core::snapshot::{self, Resolved, Snapshot};
use steelyard_core::time::Nanos;
use tokio::sync::{Notify, mpsc};

/// How long a change waits for the sockets that it closes.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// What every part of the engine that is no worker shares.
#[derive(Debug)]
pub(crate) struct State {
    /// What the workers see too.
    pub shared: Arc<Shared>,
    /// Whether the engine owns the process: its signals and its end.
    pub owns_process: bool,
    /// What the owner is to be told.
    pub events: Events,
    /// When it began to count.
    pub started: Nanos,
    pools: pool::Options,
    /// What a listener may have open unless it says otherwise.
    connections_auto: u32,
    pid: u32,
    change: Mutex<Change>,
    /// What the status shows; taken only for a moment, unlike `change`.
    listeners: Mutex<Vec<LiveListener>>,
}

/// Held while a change is prepared and put in force.
#[derive(Debug)]
struct Change {
    document: Document,
    resolved: Resolved,
    sockets: Sockets,
    stopped: bool,
}

/// A listener that accepts.
#[derive(Debug, Clone)]
pub(crate) struct LiveListener {
    /// Its live side.
    pub state: Arc<ListenerState>,
    /// Where it accepts, port 0 resolved.
    pub addresses: Vec<String>,
}

type Mailbox = mpsc::UnboundedReceiver<Command>;

impl State {
    /// Prepares everything: the snapshot is built, the sockets are bound. Returns the mailbox of each worker.
    pub fn new(
        document: Document,
        resolved: Resolved,
        options: &Options,
    ) -> Result<(Self, Vec<Mailbox>), EngineError> {
        let connections_auto = limits::connections(limits::raise_descriptors());
        let workers = document.workers.unwrap_or_else(limits::cores);
        let seed = options.seed.map_or_else(system_seed, Ok)?;
        let pools = pool::Options { workers, phase: options.phase, seed };
        let snapshot = Snapshot::build(&document, None, &resolved, &pools)?;
        tls::prepare(&document, None, Files::Read)?.attach(&snapshot);
        let mut sockets = Sockets::default();
        let prepared = sockets.prepare(&snapshot.listeners, workers)?;
        let (senders, mailboxes) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        let clock = Clock::start();
        let state = Self {
            started: clock.now(),
            shared: Arc::new(Shared {
                clock,
                snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
                draining: AtomicBool::new(false),
                seed,
                workers: senders,
                connection_waits: ConnectionWaits::default(),
                load_calls: Notify::new(),
                proofs: ArcSwapOption::empty(),
                connections: AtomicU32::new(0),
                quic: http3::Keys::new(),
                panics: AtomicU64::new(0),
            }),
            owns_process: options.signals,
            events: Events::default(),
            pools,
            connections_auto,
            pid: std::process::id(),
            change: Mutex::new(Change { document, resolved, sockets, stopped: false }),
            listeners: Mutex::default(),
        };
        let snapshot = state.shared.snapshot.load_full();
        state.put_in_force(&mut state.lock_change(), &snapshot, prepared);
        Ok((state, mailboxes))
    }

    /// Fails in a fork of the process that started the engine.
    pub fn here(&self) -> Result<(), EngineError> {
        if std::process::id() == self.pid { Ok(()) } else { Err(EngineError::Forked) }
    }

    /// Those of these names that have never been asked for. One that had no answer is not among them: it is asked for
    /// again from time to time, and no change needs to wait for it.
    pub fn unasked(&self, names: BTreeSet<Name>) -> BTreeSet<Name> {
        let change = self.lock_change();
        names.into_iter().filter(|(host, port)| !change.resolved.is_known(host, *port)).collect()
    }

    /// Puts a document in force. `answers` are to what was [`State::unasked`] a while ago; where somebody else has had an
    /// answer meanwhile, that one is newer and stays.
    pub fn apply(&self, document: Document, mut answers: Answers, files: Files) -> Result<u64, EngineError> {
        let mut change = self.lock_change();
        answers.retain(|(host, port), _| change.resolved.get(host, *port).is_empty());
        let (resolved, _) = resolve::merge(&change.resolved, snapshot::names(&document), answers);
        self.change(&mut change, document, resolved, files)
    }

    /// The host names of the document in force; `None` while a change is under way.
    pub fn names(&self) -> Option<BTreeSet<Name>> {
        Some(snapshot::names(&self.try_lock_change()?.document))
    }

    /// Puts the document in force once more, if its names stand for something else: `find` is given it and what
    /// they stood for. `None` while another change is under way, for which this one never waits; `Ok(None)` when
    /// there is nothing to change.
    pub fn refresh(
        &self,
        find: impl FnOnce(&Document, &Resolved) -> Option<Resolved>,
    ) -> Option<Result<Option<u64>, EngineError>> {
        let mut change = self.try_lock_change()?;
        let Some(resolved) = find(&change.document, &change.resolved) else { return Some(Ok(None)) };
        let document = change.document.clone();
        Some(self.change(&mut change, document, resolved, Files::Keep).map(Some))
    }

    fn change(
        &self,
        change: &mut Change,
        document: Document,
        resolved: Resolved,
        files: Files,
    ) -> Result<u64, EngineError> {
        if change.stopped {
            return Err(EngineError::Stopped);
        }
        self.check_workers(&document, change.document.workers)?;
        let previous = self.shared.snapshot.load_full();
        let snapshot = Arc::new(Snapshot::build(&document, Some(&previous), &resolved, &self.pools)?);
        tls::prepare(&document, Some(&previous), files)?.attach(&snapshot);
        let prepared = change.sockets.prepare(&snapshot.listeners, self.pools.workers)?;
        // Nothing can fail from here on.
        self.say_farewell(&previous, &snapshot);
        self.shared.snapshot.store(Arc::clone(&snapshot));
        change.document = document;
        change.resolved = resolved;
        self.put_in_force(change, &snapshot, prepared);
        Ok(snapshot.generation)
    }

    /// Workers are threads that hold connections and count for themselves: their number stays.
    fn check_workers(&self, document: &Document, before: Option<usize>) -> Result<(), EngineError> {
        let now = self.pools.workers;
        if document.workers == before || document.workers.unwrap_or_else(limits::cores) == now {
            return Ok(());
        }
        let message = format!("the number of workers cannot change while it runs; there are {now}");
        let hint = Some(format!("restart to change it, or write workers = {now}"));
        Err(vec![Problem { path: vec!["workers".into()], message, hint }].into())
    }

    fn put_in_force(&self, change: &mut Change, snapshot: &Snapshot, prepared: Prepared) {
        let now = self.shared.clock.now();
        for pool in &snapshot.pools {
            pool.activate(now);
        }
        let members = || snapshot.pools.iter().flat_map(|pool| pool.members());
        let endpoints: HashSet<usize> = members().map(|member| connections::key(&member.endpoint)).collect();
        self.shared.connection_waits.retain(|endpoint| endpoints.contains(&endpoint));
        let Changed { opened, moved, closed } = change.sockets.commit(prepared);
        let live = self.live(&snapshot.listeners, &change.sockets);
        self.listen(opened, &live);
        for Moved { from, to, listener } in moved {
            let Some(owner) = live.iter().find(|live| live.state.name == listener) else { continue };
            self.tell_workers(|| Command::Move { from, to, listener: Arc::clone(&owner.state) });
        }
        *self.lock_listeners() = live;
        self.tell_workers(|| Command::Reloaded);
        let (closing, all_closed) = std::sync::mpsc::channel();
        for id in closed {
            self.tell_workers(|| Command::Unlisten { id, closed: closing.clone() });
        }
        drop(closing);
        // A change that is done has given its addresses back: the next one may want them. A worker that is busy for
        // longer than that closes them all the same.
        let _: Result<(), _> = all_closed.recv_timeout(CLOSE_WAIT);
    }

    /// Leaves listeners that are about to go their last configuration, before the one without them is in force.
    fn say_farewell(&self, previous: &Snapshot, next: &Snapshot) {
        for LiveListener { state, .. } in self.lock_listeners().iter() {
            if let (Some(last), None) = (previous.listener(&state.name), next.listener(&state.name)) {
                // It leaves once: whoever comes back under its name is another.
                let _ = state.farewell.set(Arc::clone(last));
            }
        }
    }

    /// The live side of each listener: kept by name, with the bounds of the new snapshot.
    fn live(&self, listeners: &[Arc<Listener>], sockets: &Sockets) -> Vec<LiveListener> {
        let before = self.lock_listeners().clone();
        let live = listeners.iter().map(|listener| {
            let most = listener.limits.connections.unwrap_or_else(|| match listener.protocol {
                ListenerProtocol::Udp => limits::sessions(self.connections_auto),
                _ => self.connections_auto,
            });
            let kept = before.iter().find(|live| live.state.name == listener.name);
            let state = kept.map_or_else(
                || Arc::new(ListenerState::new(listener.name.clone(), most)),
                |live| Arc::clone(&live.state),
            );
            state.connections_max.store(most, Ordering::Relaxed);
            // More room than before wakes whoever waits for some.
            state.freed.notify_waiters();
            LiveListener { state, addresses: sockets.addresses(&listener.name) }
        });
        live.collect()
    }

    fn listen(&self, opened: Vec<Opened>, live: &[LiveListener]) {
        for Opened { id, listener, sockets } in opened {
            let Some(owner) = live.iter().find(|live| live.state.name == listener) else { continue };
            for (worker, socket) in self.shared.workers.iter().zip(sockets) {
                let listener = Arc::clone(&owner.state);
                // A worker that has ended needs no socket; it closes here.
                let _ = worker.send(Command::Listen { id, listener, socket });
            }
        }
    }

    /// Sends a command to every worker.
    pub fn tell_workers(&self, command: impl Fn() -> Command) {
        for worker in &self.shared.workers {
            // A worker that has ended needs no command.
            let _ = worker.send(command());
        }
    }

    /// No change from here on: workers accept what is waiting, and end when their last connection has.
    pub fn drain(&self) {
        self.shut();
        self.shared.draining.store(true, Ordering::Relaxed);
        self.tell_workers(|| Command::Drain);
    }

    /// No change from here on: workers end at once.
    pub fn stop(&self) {
        self.shut();
        self.tell_workers(|| Command::Stop);
    }

    fn shut(&self) {
        let mut change = self.lock_change();
        change.stopped = true;
        change.sockets.clear();
    }

    /// The listeners that accept now.
    pub fn listeners(&self) -> Vec<LiveListener> {
        self.lock_listeners().clone()
    }

    fn lock_listeners(&self) -> MutexGuard<'_, Vec<LiveListener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_change(&self) -> MutexGuard<'_, Change> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock_change(&self) -> Option<MutexGuard<'_, Change>> {
        match self.change.try_lock() {
            Ok(change) => Some(change),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

fn system_seed() -> Result<u64, EngineError> {
    SysRng.try_next_u64().map_err(|error| EngineError::Thread(std::io::Error::other(error)))
}
