//! What ends service and when: a 4-ary heap of numbers, earliest first, and among equals the one set first.

use steelyard_core::time::Nanos;

/// Bits of an event that name a server.
const SERVER_BITS: u32 = 24;
/// The most servers of all endpoints together.
pub(crate) const SERVERS_MAX: u64 = 1 << SERVER_BITS;

/// An end of service. Its number is unique in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub at: Nanos,
    pub number: u64,
    pub server: u32,
}

/// Children of a node.
const ARITY: usize = 4;
/// Later than any event.
const NOTHING: u128 = u128::MAX;

/// Events to come. Each is one number: the moment, then the event's own number, then the server.
#[derive(Debug)]
pub(crate) struct Events {
    /// Behind the last event there are as many nothings as a node may lack children, so that nobody has to count.
    heap: Vec<u128>,
    next: u64,
}

impl Default for Events {
    fn default() -> Self {
        Self { heap: vec![NOTHING; ARITY], next: 0 }
    }
}

impl Events {
    fn len(&self) -> usize {
        self.heap.len() - ARITY
    }

    /// Adds an event and gives its number.
    pub fn push(&mut self, at: Nanos, server: u32) -> u64 {
        let event = self.number(at, server);
        let place = self.len();
        self.heap.push(NOTHING);
        self.rise(place, event);
        self.next
    }

    /// Puts an event in the place of the next one, and gives its number.
    pub fn replace(&mut self, at: Nanos, server: u32) -> u64 {
        let event = self.number(at, server);
        self.sink(event);
        self.next
    }

    fn number(&mut self, at: Nanos, server: u32) -> u128 {
        self.next += 1;
        u128::from(at.0) << 64 | u128::from(self.next) << SERVER_BITS | u128::from(server)
    }

    /// When the next one is due.
    pub fn next_at(&self) -> Nanos {
        // The moment of nothing is never.
        Nanos((self.heap[0] >> 64) as u64)
    }

    /// The next one.
    pub fn first(&self) -> Option<Event> {
        let event = self.heap[0];
        (event != NOTHING).then(|| Event {
            at: Nanos((event >> 64) as u64),
            number: event as u64 >> SERVER_BITS,
            server: event as u32 & (SERVERS_MAX as u32 - 1),
        })
    }

    /// Takes the next one out.
    pub fn pop(&mut self) {
        let Some(last) = self.len().checked_sub(1) else { return };
        let event = std::mem::replace(&mut self.heap[last], NOTHING);
        self.heap.pop();
        if last > 0 {
            self.sink(event);
        }
    }

    fn rise(&mut self, start: usize, event: u128) {
        let mut place = start;
        while place > 0 {
            let parent = (place - 1) / ARITY;
            if self.heap[parent] <= event {
                break;
            }
            self.heap[place] = self.heap[parent];
            place = parent;
        }
        self.heap[place] = event;
    }

    /// Puts an event into the hole at the top: down along the least children to the bottom, and up again to where
    /// it belongs. What comes from the end of the heap belongs near the bottom.
    fn sink(&mut self, event: u128) {
        let end = self.len();
        let mut place = 0;
        loop {
            let first = ARITY * place + 1;
            if first >= end {
                break;
            }
            let Some(&[a, b, c, d]) = self.heap[first..].first_chunk::<ARITY>() else { break };
            // Which is the least is as good as random, and a wrong guess of the processor costs more than all four
            // comparisons: nothing here depends on a jump.
            let (left, right) = (usize::from(b < a), 2 + usize::from(d < c));
            let least = if d.min(c) < b.min(a) { right } else { left };
            self.heap[place] = self.heap[first + least];
            place = first + least;
        }
        self.rise(place, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_and_equals_as_they_were_set() {
        let mut events = Events::default();
        let mut expected = Vec::new();
        for step in 0..1_000u64 {
            let at = Nanos(step.wrapping_mul(0x9e37_79b9) % 97);
            expected.push((at, events.push(at, (step % 50) as u32)));
            if step % 3 == 0 {
                expected.sort_unstable();
                let event = events.first().unwrap();
                assert_eq!((event.at, event.number), expected.remove(0));
                if step % 2 == 0 {
                    events.pop();
                } else {
                    expected.push((Nanos(step), events.replace(Nanos(step), (step % 50) as u32)));
                }
            }
        }
        expected.sort_unstable();
        for (at, number) in expected {
            assert_eq!(events.next_at(), at);
            let event = events.first().unwrap();
            assert_eq!((event.at, event.number), (at, number));
            events.pop();
        }
        assert_eq!(events.first(), None);
        assert_eq!(events.next_at(), crate::clock::NEVER);
    }
}
