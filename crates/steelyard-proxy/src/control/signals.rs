//! Signals, when the engine owns the process.

use crate::sys;
use std::future::pending;
use std::io;
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
            sys::forget_handler(kind.as_raw_value());
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
