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

    /// Sets one for a request in the state that it is in now. Those in front that nobody waits for any more are
    /// forgotten, two for each that is set: the line stays short, and nobody else has to look. Gives the moment.
    #[inline]
    pub fn set(&mut self, request: Stamped, now: Nanos, is_current: impl Fn(Stamped) -> bool) -> Nanos {
        self.length.map_or(NEVER, |length| self.set_after(length, request, now, is_current))
    }

    #[inline(never)]
    fn set_after(
        &mut self,
        length: Nanos,
        request: Stamped,
        now: Nanos,
        is_current: impl Fn(Stamped) -> bool,
    ) -> Nanos {
        for _ in 0..2 {
            if self.line.front().is_some_and(|(_, first)| !is_current(*first)) {
                self.line.pop_front();
            }
        }
        let at = now.plus(length);
        self.line.push_back((at, request));
        at
    }

    /// When the next one runs out, though its request may have moved on.
    pub fn next_at(&self) -> Nanos {
        self.line.front().map_or(NEVER, |(at, _)| *at)
    }

    /// Takes that one out.
    pub fn take(&mut self) -> Option<Stamped> {
        self.line.pop_front().map(|(_, request)| request)
    }
}
