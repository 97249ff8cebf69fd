//! The one native control thread: probes, questions for loads, timed returns, host names, signals, and the end of
//! everything.
//!
//! It waits for nobody but its timer: a change that is under way is looked at again at the next tick, and the
//! workers are watched until they have ended, not joined before.

mod expiry;
mod load;
mod loads;
pub(crate) mod probe;
mod probes;
pub(crate) mod resolve;
mod resolver;
pub(crate) mod schedule;
pub(crate) mod signals;
mod watch;

use crate::engine::{Crew, Event, State};
use crate::sys;
use expiry::Expiry;
use loads::Loads;
use probes::Probes;
use resolver::Resolver;
use signals::{Signal, Signals};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use steelyard_core::time::Nanos;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use watch::Watch;

/// The name of the thread.
pub(crate) const THREAD: &str = "control";
/// Between two looks at everything that is timed.
const TICK: Duration = Duration::from_millis(50);
/// The same once the engine is ending, where somebody waits for it.
const TICK_ENDING: Duration = Duration::from_millis(2);
/// How long workers may take to stop, and the interpreter to hear of it, before a process that we own is ended.
const PATIENCE: Nanos = Nanos::from_millis(3_000);
/// How long it may take from there to the end.
const PATIENCE_HEARD: Nanos = Nanos::from_millis(15_000);
/// Names that are looked up at once; each occupies a thread.
const LOOKUPS_MAX: usize = 8;

/// What the control thread is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Let requests in flight end.
    Drain,
    /// End every worker at once.
    Stop,
    /// The same, and end the control thread too.
    Close,
    /// Fail, to see what comes of it.
    #[cfg(test)]
    Panic,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// Until this moment.
    Draining(Nanos),
    /// Since this moment.
    Stopping(Nanos),
    /// Since this moment.
    Stopped(Nanos),
}

/// What the control thread works with.
pub(crate) struct Control {
    state: Arc<State>,
    crew: Crew,
    signals: Option<Signals>,
    stage: Stage,
    closing: bool,
    probes: Probes,
    loads: Loads,
    resolver: Resolver,
    watch: Watch,
    expiry: Expiry,
}

/// The runtime of the control thread.
pub(crate) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(LOOKUPS_MAX).build()
}

/// Starts the thread.
pub(crate) fn spawn(
    control: Control,
    runtime: Runtime,
    orders: mpsc::UnboundedReceiver<Order>,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(THREAD.to_owned()).spawn(move || {
        supervise(control, &runtime, orders);
        // A look-up that hangs in the system cannot be called off; it ends alone.
        runtime.shutdown_background();
    })
}

/// Runs the thread, once more after a panic: what is left to do then is to end the workers, and the process where it
/// is ours.
fn supervise(mut control: Control, runtime: &Runtime, mut orders: mpsc::UnboundedReceiver<Order>) {
    for _ in 0..2 {
        let run = AssertUnwindSafe(|| runtime.block_on(control.run(&mut orders)));
        if catch_unwind(run).is_ok() {
            return;
        }
        control.fail("its control thread has panicked");
    }
    let state = Arc::clone(&control.state);
    drop(control);
    state.events.tell(Event::Stopped);
}

impl Control {
    /// Takes the workers over.
    pub fn new(state: Arc<State>, crew: Crew, signals: Option<Signals>) -> Self {
        let now = state.shared.clock.now();
        Self {
            probes: Probes::new(state.shared.seed),
            loads: Loads::default(),
            resolver: Resolver::new(now),
            watch: Watch::default(),
            expiry: Expiry::new(now),
            state,
            crew,
            signals,
            stage: Stage::Running,
            closing: false,
        }
    }

    async fn run(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) {
        let mut ticks = every(TICK);
        loop {
            // Only a tick looks at every endpoint: with thousands of them, one look for each answer is a core's work.
            let mut timed = false;
            tokio::select! {
                order = orders.recv() => self.obey(order.unwrap_or(Order::Close)),
                signal = signals::next(&mut self.signals) => self.heed(signal),
                Some(probed) = self.probes.next() => self.probes.record(probed, &self.state.shared),
                // These come by the thousand, and nothing that is timed hangs on them.
                () = self.state.shared.load_calls.notified() => {
                    self.loads.start_wanted(&self.state.shared);
                    continue;
                }
                Some(answered) = self.loads.next() => {
                    self.loads.record(answered, &self.state.shared);
                    continue;
                }
                answers = self.resolver.next() => self.resolver.take(answers),
                _ = ticks.tick() => timed = true,
            }
            if self.stage != Stage::Running && ticks.period() != TICK_ENDING {
                ticks = every(TICK_ENDING);
            }
            self.look(timed);
            if self.closing && matches!(self.stage, Stage::Stopped(_)) {
                return;
            }
        }
    }

    fn now(&self) -> Nanos {
        self.state.shared.clock.now()
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Drain => self.drain(),
            Order::Stop => self.stop(),
            Order::Close => {
                self.closing = true;
                self.stop();
            }
            #[cfg(test)]
            Order::Panic => panic!("as it was told"),
        }
    }

    fn heed(&mut self, signal: Signal) {
        match (signal, self.stage) {
            (Signal::Reload, Stage::Running) => self.state.events.tell(Event::Reload),
            (Signal::Reload, _) => {}
            (Signal::HandOver, _) => tracing::warn!(
                "SIGUSR2 does nothing: a new process cannot take over from this one yet; restart it instead"
            ),
            (Signal::End, Stage::Running) => self.drain(),
            (Signal::End, _) => self.stop(),
        }
    }

    fn drain(&mut self) {
        if self.stage == Stage::Running {
            let limit_ms = self.state.shared.snapshot.load().drain_timeout_ms;
            tracing::info!(
                limit_ms,
                "draining: requests in flight may end, new connections are not accepted"
            );
            self.stage = Stage::Draining(self.now().plus(Nanos::from_millis(limit_ms)));
            self.state.drain();
        }
    }

    fn stop(&mut self) {
        if matches!(self.stage, Stage::Running | Stage::Draining(_)) {
            self.stage = Stage::Stopping(self.now());
            self.probes.abort();
            self.state.stop();
        }
    }

    /// Stops for a fault of our own, of which the owner is told.
    fn fail(&mut self, why: &'static str) {
        tracing::error!(why, "the engine has failed; stopping");
        self.state.events.tell(Event::Failed);
        self.stop();
    }

    /// How far the end has come, and with `timed` everything that is due.
    fn look(&mut self, timed: bool) {
        let now = self.now();
        match self.stage {
            Stage::Draining(until) if until <= now => {
                let connections = &self.state.shared.connections;
                let left = connections.load(std::sync::atomic::Ordering::Relaxed);
                tracing::warn!(connections = left, "the time to drain is over; stopping");
                self.stop();
            }
            Stage::Stopping(since) if self.state.owns_process && now.since(since) > PATIENCE => {
                tracing::error!("a worker does not stop; ending the process");
                sys::exit_now(1);
            }
            Stage::Running | Stage::Draining(_) | Stage::Stopping(_) => {}
            Stage::Stopped(since) => return self.end_process_if_stuck(now.since(since)),
        }
        if self.crew.has_ended() {
            return self.ended(now);
        }
        if timed && matches!(self.stage, Stage::Running | Stage::Draining(_)) {
            self.tick(now);
        }
    }

    fn tick(&mut self, now: Nanos) {
        for pool in self.state.shared.snapshot.load().live_pools() {
            for returned in pool.tick(now) {
                let (pool, endpoint) = (&pool, returned.endpoint.address());
                if pool.config().health.interval_ms.is_some() {
                    tracing::info!(pool = pool.name(), %endpoint, "ejection is over; probing at once");
                    returned.endpoint.health().next_probe = Nanos(0);
                } else {
                    tracing::info!(pool = pool.name(), %endpoint, "ejection is over");
                }
            }
        }
        self.watch.look(&self.state.shared);
        self.expiry.look(&self.state.shared, now);
        if self.stage == Stage::Running {
            self.resolver.tick(&self.state, now);
        }
        self.probes.look(&self.state.shared, now);
        self.loads.sweep(now);
    }

    fn ended(&mut self, now: Nanos) {
        if self.stage == Stage::Running {
            self.fail("its workers have ended without being told to");
        }
        self.crew.join();
        self.probes.abort();
        self.loads.abort();
        self.stage = Stage::Stopped(now);
        tracing::info!("stopped");
        self.state.events.tell(Event::Stopped);
    }

    /// Ends a process that is ours once its interpreter has not done so for too long.
    fn end_process_if_stuck(&self, since: Nanos) {
        let patience = if self.state.events.is_end_acknowledged() { PATIENCE_HEARD } else { PATIENCE };
        if self.state.owns_process && !self.closing && since > patience {
            tracing::warn!("the interpreter does not end the process; ending it");
            sys::exit_now(i32::from(self.state.events.is_failed()));
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
