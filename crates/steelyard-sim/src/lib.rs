//! The simulator: what the proxy would do under a load, found out under a virtual clock.
//!
//! Arrivals, service times and faults are drawn from seeded streams; every decision (admission, policy, threshold,
//! queue, retry, ejection, probe) is made by the very code that the proxy runs, called in the same order. Only
//! [`balancer`] calls it. Nothing here waits or looks at a clock, but for [`driver`], which spreads replications over
//! threads.

mod ahead;
pub mod arrivals;
pub mod balancer;
mod batches;
mod cache;
pub mod clock;
mod deadlines;
pub mod driver;
mod events;
mod faults;
pub mod histogram;
mod keys;
pub mod plan;
mod probes;
pub mod report;
mod requests;
pub mod run;
pub mod scenario;
mod series;
pub mod service;
mod stations;
pub mod statistics;
pub mod streams;
mod tally;
