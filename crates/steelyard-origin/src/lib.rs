//! A small real HTTP/1.1 origin for the demo, the benches and the tests; it can be told to misbehave.
//!
//! It serves on native threads of its own: as a command ([`command::run`]) or inside another process
//! ([`Origin::start`]). What it answers follows from its [`Options`] and from the path of each request,
//! see [`behaviour`]. Dropping or closing an [`Origin`] resets every connection, as a killed process would.

mod alphabet;
pub mod behaviour;
mod body;
pub mod command;
mod connection;
mod date;
mod exchange;
mod head;
mod instrument;
mod misbehave;
mod options;
mod origin;
mod shared;
mod wire;

pub use options::{Options, OptionsError};
pub use origin::{Origin, StartError};
pub use shared::Stats;
