//! Each behaviour of the origin, over real sockets.

mod client;
mod faults;
mod ordinary;
