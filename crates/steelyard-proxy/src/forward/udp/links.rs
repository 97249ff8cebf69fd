//! How a session comes by an endpoint, and how it loses it.

use super::session::{Connected, Link};
use super::{Carrier, TRIES_MAX, is_short, reason, view_of};
use crate::fault::Fault;
use crate::forward::admission::{Refusal, at_once};
use crate::forward::slot::Slot;
use crate::shared::Dropped;
use rustix::event::epoll;
use std::io;
use steelyard_core::endpoint::Address;
use steelyard_core::route::Decision;
use steelyard_core::time::Nanos;

impl Carrier {
    /// Sees to it that a session has an endpoint, and not one that has left or is down while others are not.
    pub(super) fn see_to_link(&mut self, place: usize, now: Nanos) -> Result<(), Dropped> {
        let session = &mut self.sessions[place];
        if let Some(link) = &session.link {
            if link.is_sound() {
                return Ok(());
            }
            session.part(now);
        }
        let listener = self.listener().ok_or(Dropped::NoEndpoint)?;
        let view = view_of(self.sessions.pair(place));
        let session = &mut self.sessions[place];
        let decision = listener.router.decide(&view, &mut *self.worker.rng.borrow_mut());
        let Decision::Pool { pool, .. } = decision else { return Err(Dropped::NoEndpoint) };
        let mut seeker = session.seeker.take().map_or_else(|| pool.seeker(&view), |seeker| *seeker);
        if !std::mem::replace(&mut session.counted, true) {
            pool.count_request();
        }
        let mut tried = 0;
        loop {
            let slot = match at_once(&self.worker, pool, &seeker, now) {
                Ok(slot) => slot,
                // Where all have refused it, all are asked again.
                Err(Refusal::Nobody) if !seeker.excludes_none() => {
                    seeker = pool.seeker(&view);
                    at_once(&self.worker, pool, &seeker, now).map_err(reason)?
                }
                Err(refusal) => return Err(reason(refusal)),
            };
            let outcome = match self.open_link(place, &slot) {
                Err(error) if is_short(&error) => {
                    self.say_short(&error, now);
                    if !self.make_room(Some(place), now) {
                        return Err(Dropped::Descriptors);
                    }
                    self.open_link(place, &slot)
                }
                outcome => outcome,
            };
            match outcome {
                Ok(socket) => {
                    let session = &mut self.sessions[place];
                    session.link = Some(Link { slot, socket, answered: false });
                    session.seeker = (!seeker.excludes_none()).then(|| Box::new(seeker));
                    return Ok(());
                }
                Err(error) if is_short(&error) => return Err(Dropped::Descriptors),
                Err(error) => {
                    slot.fail(&Fault::Connect(error));
                    seeker.exclude(slot.endpoint());
                    tried += 1;
                    if tried == TRIES_MAX {
                        return Err(Dropped::NoEndpoint);
                    }
                }
            }
        }
    }

    /// A socket to the endpoint of this slot, whose answers are heard as those of this session.
    fn open_link(&self, place: usize, slot: &Slot) -> io::Result<Connected> {
        // The configuration knows no others here.
        let Address::Socket(address) = *slot.endpoint().address() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let socket = Connected::to(address)?;
        let token = epoll::EventData::new_u64(self.sessions.token(place));
        epoll::add(self.answers.get_ref(), &socket, token, epoll::EventFlags::IN)?;
        Ok(socket)
    }

    /// The endpoint of a session could not be reached, or says that nobody is there.
    pub(super) fn refused(&mut self, place: usize, error: io::Error) {
        let view = view_of(self.sessions.pair(place));
        let session = &mut self.sessions[place];
        let Some(link) = session.link.take() else { return };
        if let Some(pool) = link.slot.pool() {
            let seeker = session.seeker.get_or_insert_with(|| Box::new(pool.seeker(&view)));
            seeker.exclude(link.slot.endpoint());
        }
        link.slot.fail(&Fault::Connect(error));
    }
}
