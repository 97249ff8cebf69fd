//! The pure core of Steelyard: policies, endpoint state, health verdicts, routing, snapshots.
//!
//! Nothing here waits, and nothing looks at a clock: functions take `now` and a generator. There are no sockets, no
//! threads and no runtime, so that the proxy, the simulator and the library drive the very same code.

pub mod address;
pub mod document;
pub mod endpoint;
pub mod health;
pub mod histogram;
pub mod key;
pub mod learned;
pub mod level;
pub mod listener;
pub mod load;
#[cfg(all(test, loom))]
mod loom;
pub mod native;
pub mod path;
pub mod policy;
pub mod pool;
pub mod prepared;
pub mod problem;
pub mod queue;
pub mod random;
pub mod reading;
pub mod report;
pub mod reported;
pub mod retry;
pub mod route;
#[cfg(test)]
mod sample;
pub mod seeker;
pub mod session;
pub mod slow_start;
pub mod snapshot;
pub mod subset;
mod sync;
pub mod time;
pub mod trusted;
