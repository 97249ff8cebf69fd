//! Programs that the whole-proxy benchmarks need: a no-parse relay and a load generator.
//!
//! Both are one thread around one epoll set, so that what is measured is the proxy between them.

pub mod arguments;
pub mod client;
pub mod idle;
pub mod latency;
pub mod load;
