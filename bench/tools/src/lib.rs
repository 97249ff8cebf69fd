//! Programs that the whole-proxy benchmarks need: a no-parse relay and a load generator.
//!
//! Both are one thread around one epoll set, so that what is measured is the proxy between them.

pub mod arguments;
pub mod client;
pub mod http1;
pub mod http2;
pub mod idle;
pub mod latency;
pub mod load;
pub mod once;
pub mod socket;
pub mod tls;
