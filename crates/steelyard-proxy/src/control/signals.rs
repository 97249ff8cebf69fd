//! Signals, when the engine owns the process.

use crate::sys;
use std::collections::BTreeSet;
use std::future::pending;
use std::io;
use std::sync::{Mutex, PoisonError};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What somebody outside asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM or SIGINT: end.
    End,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR2: hand over to a new process. Taken over so that it does not end this one.
    HandOver,
}

/// The signals that were taken over.
pub(crate) struct Signals {
    terminate: Stream,
    interrupt: Stream,
    hang_up: Stream,
    hand_over: Stream,
}

impl Signals {
    /// Takes them over for the whole process; whoever handled them before is not called any more.
    pub fn take(runtime: &Runtime) -> io::Result<Self> {
        let _inside = runtime.enter();
        let take = |kind: SignalKind| {
            forget_handler_once(kind);
            signal(kind)
        };
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            hang_up: take(SignalKind::hangup())?,
            hand_over: take(SignalKind::user_defined2())?,
        })
    }
}

/// The runtime puts its handler in once per process and signal, and never again: taken away a second time, the signal
/// would have no handler at all, and end the process.
fn forget_handler_once(kind: SignalKind) {
    static FORGOTTEN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
    let number = kind.as_raw_value();
    if FORGOTTEN.lock().unwrap_or_else(PoisonError::into_inner).insert(number) {
        sys::forget_handler(number);
    }
}

/// The next signal; never, where none were taken over. Nothing is lost when the future is dropped.
pub(crate) async fn next(signals: &mut Option<Signals>) -> Signal {
    let Some(signals) = signals else { return pending().await };
    tokio::select! {
        Some(()) = signals.terminate.recv() => Signal::End,
        Some(()) = signals.interrupt.recv() => Signal::End,
        Some(()) = signals.hang_up.recv() => Signal::Reload,
        Some(()) = signals.hand_over.recv() => Signal::HandOver,
        else => pending().await,
    }
}
