//! What of a request has been sent, kept in case it must be sent again.

use super::Plan;
use crate::free::Lent;
use crate::worker::Worker;
use steelyard_core::document;

/// The content that a first try has taken from the client.
pub(super) struct Replay {
    kept: Lent<u8>,
    bytes_max: usize,
    possible: bool,
    /// Whether `kept` is all there is.
    pub whole: bool,
}

impl Replay {
    pub fn new(worker: &Worker, plan: &Plan<'_>, rules: &document::Retry) -> Self {
        Self {
            kept: worker.vectors.lend(),
            bytes_max: rules.body_bytes_max as usize,
            possible: plan.head.method.is_idempotent() && plan.head.upgrade.is_none(),
            whole: false,
        }
    }

    /// Whether the request may be sent again and everything that was sent of it is still known.
    pub fn is_possible(&self) -> bool {
        self.possible
    }

    /// What was taken from the client so far.
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Keeps a piece that is about to be sent.
    pub fn keep(&mut self, piece: &[u8]) {
        if !self.possible {
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
        self.possible = false;
        self.kept.clear();
    }
}
