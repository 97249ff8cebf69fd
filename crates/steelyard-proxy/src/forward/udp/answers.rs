//! What endpoints write, on its way to clients.

use super::sessions::Pair;
use super::{Carrier, add};
use crate::shared::Dropped;
use crate::sys::datagrams::{BATCH, Batch};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::io;
use std::mem::{MaybeUninit, take};
use steelyard_core::time::Nanos;
use tokio::io::Interest;

/// Sessions whose endpoints are heard at once.
const EVENTS: usize = 32;

impl Carrier {
    /// Carries what endpoints have written.
    pub(super) fn take_answers(&mut self) {
        let mut room = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let events = self.answers.try_io(Interest::READABLE, |answers| {
            match epoll::wait(answers, &mut room, Some(&at_once))?.0 {
                [] => Err(io::ErrorKind::WouldBlock.into()),
                events => Ok(events),
            }
        });
        let Ok(events) = events else { return };
        let worker = self.worker.clone();
        let batch = &mut *worker.batch();
        let now = worker.shared.clock.now();
        let mut filled = 0;
        for event in &*events {
            if filled == BATCH {
                self.send_back(batch, take(&mut filled));
            }
            if let Some(place) = self.sessions.named(event.data.u64()) {
                filled += self.hear(place, batch, filled, now);
            }
        }
        self.send_back(batch, filled);
        self.tell();
    }

    /// Takes what the endpoint of a session has written behind the first `filled` places; returns how many came.
    fn hear(&mut self, place: usize, batch: &mut Batch, filled: usize, now: Nanos) -> usize {
        let promise = self.promise;
        let Pair { client, local } = self.sessions.pair(place);
        let session = &mut self.sessions[place];
        let Some(link) = &mut session.link else { return 0 };
        let count = match batch.receive(&link.socket, filled) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return 0,
            // A router has said that a datagram was too large for the path: that is no answer of the endpoint.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::MSGSIZE) => return 0,
            Err(error) => {
                self.refused(place, error);
                return 0;
            }
        };
        let mut bytes = 0;
        for place in filled..filled + count {
            let head = batch.head_mut(place);
            (head.peer, head.local) = (client, local);
            bytes += head.length;
        }
        link.slot.count(bytes, 0);
        if !link.answered {
            link.answered = true;
            link.slot.replied(now);
        }
        session.seeker = None;
        session.owed.answer(count as u64, promise, now);
        if session.owed.is_complete(promise) {
            self.end(place, now);
        } else {
            self.sessions.touch(place, now);
        }
        count
    }

    /// Sends the first `filled` datagrams to their clients.
    fn send_back(&mut self, batch: &mut Batch, filled: usize) {
        let mut start = 0;
        while start < filled {
            let end = start + (start..filled).take_while(|&place| batch.head(place).whole).count();
            if end == start {
                self.drop(Dropped::TooLarge, 1);
                start += 1;
                continue;
            }
            match batch.send(&self.socket, start..end, true) {
                Ok(sent) => {
                    for place in start..start + sent {
                        add(&mut self.tally.sent, 1, batch.head(place).length as u64);
                    }
                    start += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.drop(Dropped::ToClient, end - start);
                    start = end;
                }
                Err(error) => {
                    let too_large = Errno::from_io_error(&error) == Some(Errno::MSGSIZE);
                    self.drop(if too_large { Dropped::TooLarge } else { Dropped::ToClient }, 1);
                    start += 1;
                }
            }
        }
    }
}
