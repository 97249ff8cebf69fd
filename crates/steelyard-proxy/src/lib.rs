//! The data plane of Steelyard: listeners, HTTP/1.1, forwarding, connections to endpoints, probes.
//!
//! One current-thread runtime per worker, no work stealing; one native control thread. Nothing here calls Python.

mod accepted;
mod account;
pub mod buffer;
pub mod clock;
mod codec;
pub mod connections;
mod control;
pub mod engine;
pub mod fault;
mod forward;
mod free;
mod grpc;
pub mod head;
pub mod hello;
pub mod http1;
pub mod http2;
pub mod http3;
pub mod logging;
mod pipes;
pub mod proofs;
pub mod proxied;
mod pseudo;
mod registry;
mod secure;
pub mod shared;
pub mod sockets;
mod status;
mod sys;
pub mod timer;
pub mod tls;
pub mod transport;
pub mod worker;
