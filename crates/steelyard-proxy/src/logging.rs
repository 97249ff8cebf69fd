//! What the engine says of itself, on standard error, without ever calling Python.

use crate::control;
use crate::shared::Shared;
use serde::Deserialize;
use std::any::Any;
use std::collections::HashMap;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, Once, PoisonError, Weak};
use std::thread::ThreadId;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// A longer panic message is cut.
const PANIC_BYTES_MAX: usize = 500;

/// How much is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What failed.
    Error,
    /// What may soon.
    Warning,
    /// What changed.
    #[default]
    Info,
    /// What happened.
    Debug,
}

/// How it looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// A line for people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// The engines whose threads these are.
static THREADS: Mutex<Option<HashMap<ThreadId, Weak<Shared>>>> = Mutex::new(None);

/// Begins to log. Only the first call in a process decides how; an application that has a subscriber of its own
/// keeps it.
pub fn start(level: Level, format: Format) {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let level = match level {
            Level::Error => LevelFilter::ERROR,
            Level::Warning => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
        };
        let json = match format {
            Format::Auto => !std::io::stderr().is_terminal(),
            Format::Text => false,
            Format::Json => true,
        };
        let builder = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(std::io::stderr)
            .with_target(false)
            .with_ansi(false)
            // A standard error that is gone must not become a panic.
            .log_internal_errors(false);
        // What a peer does to a connection of its own is told by us, once, and not for every frame.
        let quiet =
            filter_fn(|event| *event.level() == tracing::Level::ERROR || !event.target().starts_with("h2"));
        // An error says that there is a subscriber already, which then is the one to use.
        let _ = if json {
            builder.json().flatten_event(true).finish().with(quiet).try_init()
        } else {
            builder.finish().with(quiet).try_init()
        };
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !report_panic(info) {
                before(info);
            }
        }));
    });
}

/// Lets panics of these threads be logged, and counted in `shared`.
pub fn watch_panics(threads: impl IntoIterator<Item = ThreadId>, shared: &Weak<Shared>) {
    let mut known = lock();
    let known = known.get_or_insert_default();
    known.retain(|_, engine| engine.strong_count() > 0);
    known.extend(threads.into_iter().map(|thread| (thread, Weak::clone(shared))));
}

fn lock() -> MutexGuard<'static, Option<HashMap<ThreadId, Weak<Shared>>>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Logs and counts a panic of a thread of ours; says whether it is one.
fn report_panic(info: &PanicHookInfo<'_>) -> bool {
    let thread = std::thread::current();
    let engine = lock().as_ref().and_then(|known| known.get(&thread.id())?.upgrade());
    let Some(engine) = engine else { return false };
    engine.panics.fetch_add(1, Ordering::Relaxed);
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let message = bounded(message(info.payload()));
    // A worker runs one task for each connection. What becomes of the control thread it says itself.
    let what =
        if thread.name() == Some(control::THREAD) { "" } else { "; one connection ends, the others go on" };
    tracing::error!(thread = thread.name(), place, message, "panicked{what}");
    true
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

fn bounded(message: &str) -> &str {
    let fits = (0..=PANIC_BYTES_MAX).rev().find(|&end| message.is_char_boundary(end));
    if message.len() <= PANIC_BYTES_MAX { message } else { &message[..fits.unwrap_or_default()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_panic_message_is_cut_between_two_characters() {
        let long = "ä".repeat(PANIC_BYTES_MAX);
        assert_eq!(bounded(&long).len(), PANIC_BYTES_MAX);
        assert_eq!(bounded(&format!("x{long}")).len(), PANIC_BYTES_MAX - 1);
        assert_eq!(bounded("short"), "short");
    }
}
