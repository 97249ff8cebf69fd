//! Timeouts of one length: they end in the order in which they were set, so a line is enough.

use crate::clock::NEVER;
use crate::requests::Stamped;
use std::collections::VecDeque;
use steelyard_core::time::Nanos;

/// The deadlines of one timeout.
#[derive(Debug)]
pub(crate) struct Deadlines {
    /// How long each runs; `None` = for ever.
    length: Option<Nanos>,
    line: VecDeque<(Nanos, Stamped)>,
}

impl Deadlines {
    pub fn new(length: Option<Nanos>) -> Self {
        Self { length, line: VecDeque::new() }
    }

    /// Sets one for a request in the state that it is in now.
    pub fn set(&mut self, request: Stamped, now: Nanos) {
        if let Some(length) = self.length {
            self.line.push_back((now.plus(length), request));
        }
    }

    /// When the next one runs out; those that nobody waits for any more are forgotten.
    pub fn next_at(&mut self, is_current: impl Fn(Stamped) -> bool) -> Nanos {
        while let Some((at, request)) = self.line.front() {
            if is_current(*request) {
                return *at;
            }
            self.line.pop_front();
        }
        NEVER
    }

    /// Takes out the one that has run out.
    pub fn take(&mut self) -> Option<Stamped> {
        self.line.pop_front().map(|(_, request)| request)
    }
}
