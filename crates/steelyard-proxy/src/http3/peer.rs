//! What the streams of one connection share: what its client has done wrong, and how much it may still ask for.

use super::code::{Code, Failure};
use crate::account::Account;
use std::cell::{Cell, RefCell};
use steelyard_core::document::ListenerLimits;
use tokio::sync::Notify;

/// What one frame without content costs, in bytes carried, as in HTTP/2.
const FRAME_COST: u64 = 32;

/// A client as all its streams see it.
#[derive(Debug)]
pub(super) struct Peer {
    /// Frames without content; bytes of content earn them.
    pub frames: RefCell<Account>,
    /// Why the connection cannot go on.
    failed: Cell<Option<(Code, &'static str)>>,
    /// Streams that there may be one of, by their kind.
    pub opened: Cell<u64>,
    /// What the client was told that it may ask up to; `None` = it was told nothing.
    pub goaway: Cell<Option<u64>>,
    /// Notified when it is to be told something else.
    pub told: Notify,
    /// Whether its handshake is complete, so that nothing that it sends can be a copy made by somebody else.
    pub proved: Cell<bool>,
}

impl Peer {
    pub fn new(limits: &ListenerLimits, proved: bool) -> Self {
        Self {
            frames: RefCell::new(Account::new(u64::from(limits.control_frames_max) * FRAME_COST)),
            failed: Cell::new(None),
            opened: Cell::new(0),
            goaway: Cell::new(None),
            told: Notify::new(),
            proved: Cell::new(proved),
        }
    }

    /// Counts a frame that carries nothing.
    pub fn spend_frame(&self) {
        self.frames.borrow_mut().spend(FRAME_COST);
    }

    /// Counts bytes of content.
    pub fn earn(&self, bytes: u64) {
        self.frames.borrow_mut().earn(bytes);
    }

    /// Notes what the whole connection suffers from.
    pub fn note(&self, failure: Failure) {
        if let Failure::Connection(code, why) = failure
            && self.failed.get().is_none()
        {
            self.failed.set(Some((code, why)));
        }
    }

    /// Why the connection cannot go on, if it cannot.
    pub fn failed(&self) -> Option<(Code, &'static str)> {
        let excess =
            || self.frames.borrow().is_exhausted().then_some((Code::ExcessiveLoad, "too many frames"));
        self.failed.get().or_else(excess)
    }

    /// Lets the client know that requests from this stream on are not served.
    pub fn tell(&self, first_refused: u64) {
        self.goaway.set(Some(first_refused));
        self.told.notify_one();
    }
}
