//! What the control thread tells whoever owns the engine.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Something for the owner of an engine to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// SIGHUP: read the configuration again.
    Reload,
    /// Every worker has ended.
    Stopped,
    /// The same, and not because anybody asked for it.
    Failed,
}

/// Events that nobody has taken yet. Reloads that come before one is taken are one.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and lives for itself")]
struct Pending {
    reload: bool,
    stopped: bool,
    failed: bool,
    /// Whether somebody has heard that it has stopped, and was free to go on.
    acknowledged: bool,
}

impl Events {
    /// Tells whoever waits.
    pub fn tell(&self, event: Event) {
        let mut pending = self.lock();
        match event {
            Event::Reload => pending.reload = true,
            Event::Stopped => pending.stopped = true,
            // Heard once the workers have ended.
            Event::Failed => pending.failed = true,
        }
        drop(pending);
        self.changed.notify_all();
    }

    /// Waits no longer than `limit`.
    pub fn wait(&self, limit: Duration) -> Option<Event> {
        let end = Instant::now().checked_add(limit);
        let mut pending = self.lock();
        loop {
            if pending.stopped {
                return Some(if pending.failed { Event::Failed } else { Event::Stopped });
            }
            if std::mem::take(&mut pending.reload) {
                return Some(Event::Reload);
            }
            let left = end.map_or(limit, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            pending = self.changed.wait_timeout(pending, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Somebody has heard that everything has ended, and is about to end the process.
    pub fn acknowledge_end(&self) {
        self.lock().acknowledged = true;
    }

    /// Whether it is an end in failure.
    pub fn is_failed(&self) -> bool {
        self.lock().failed
    }

    /// Whether somebody has.
    pub fn is_end_acknowledged(&self) -> bool {
        self.lock().acknowledged
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
