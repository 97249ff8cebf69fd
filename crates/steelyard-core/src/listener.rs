//! A listener as the workers use it: where it accepts, what it lets through, where requests go.

use crate::address::Bind;
use crate::document::{ListenerLimits, ListenerTimeouts};
use crate::route::Router;
use crate::trusted::Trusted;

/// One listener of a snapshot.
#[derive(Debug)]
pub struct Listener {
    /// Unique in its snapshot.
    pub name: String,
    /// Where it accepts; at least one, none in conflict with another of the snapshot.
    pub binds: Vec<Bind>,
    /// Bounds on what a client may send; none is 0.
    pub limits: ListenerLimits,
    /// How long a client may take; none is 0.
    pub timeouts: ListenerTimeouts,
    /// Whose forwarding headers are believed.
    pub trusted: Trusted,
    /// Whether an escaped slash in a path is let through; see [`crate::path::normalise`].
    pub allow_encoded_slash: bool,
    /// Which request goes where.
    pub router: Router,
}
