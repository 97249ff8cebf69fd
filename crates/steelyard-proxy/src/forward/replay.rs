//! What of a request has been sent, kept in case it must be sent again.

use super::Plan;
use crate::free::Lent;
use crate::worker::Worker;
use steelyard_core::document;

/// The content that a first try has taken from the client.
pub(super) struct Replay {
    kept: Lent<u8>,
    bytes_max: usize,
    /// Whether sending it twice intends no more than once.
    safe: bool,
    /// Whether everything that was sent is still known.
    known: bool,
    /// Whether `kept` is all there is.
    pub whole: bool,
}

impl Replay {
    pub fn new(worker: &Worker, plan: &Plan<'_>, rules: &document::Retry) -> Self {
        let safe = plan.head.method.is_idempotent() && plan.head.upgrade.is_none();
        // An endpoint of HTTP/2 may say that it did not look at a request, which is then safe to repeat in any case.
        let keeps = safe || plan.pool.config().protocol != document::Protocol::Http1;
        Self {
            kept: worker.vectors.lend(),
            bytes_max: if keeps { rules.body_bytes_max as usize } else { 0 },
            safe,
            known: true,
            whole: false,
        }
    }

    /// Whether the request may be sent again and everything that was sent of it is still known.
    pub fn is_possible(&self) -> bool {
        self.safe && self.known
    }

    /// Whether everything that was sent of the request is still known.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// What was taken from the client so far.
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Keeps a piece that is about to be sent.
    pub fn keep(&mut self, piece: &[u8]) {
        if !self.known {
            return;
        }
        if self.kept.len() + piece.len() > self.bytes_max {
            self.give_up();
        } else {
            self.kept.extend_from_slice(piece);
        }
    }

    /// Something was sent that is not kept.
    pub fn give_up(&mut self) {
        self.known = false;
        self.kept.clear();
    }
}
