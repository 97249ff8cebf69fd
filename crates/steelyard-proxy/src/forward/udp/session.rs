//! One session: what it holds, and how it ends.

use super::owed::Owed;
use crate::forward::slot::Slot;
use crate::sys;
use crate::worker::Seat;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use steelyard_core::seeker::Seeker;
use steelyard_core::time::Nanos;

/// What lies between one client's address and one of ours.
pub(super) struct Session {
    /// `None` once its endpoint has refused it, until its client writes again.
    pub link: Option<Link>,
    /// What it looks for an endpoint with, once one has refused it.
    pub seeker: Option<Box<Seeker>>,
    /// Whether its pool has counted it.
    pub counted: bool,
    /// What was written, and what its client can still expect.
    pub owed: Owed,
    _seat: Seat,
}

impl Session {
    /// A session that has no endpoint yet.
    pub fn new(seat: Seat) -> Self {
        Self { link: None, seeker: None, counted: false, owed: Owed::default(), _seat: seat }
    }

    /// It has no more use for its endpoint.
    pub fn part(&mut self, now: Nanos) {
        if let Some(link) = self.link.take() {
            link.end(now);
        }
    }
}

/// A session's way to its endpoint.
pub(super) struct Link {
    pub slot: Slot,
    pub socket: Connected,
    /// Whether the endpoint has ever answered on it.
    pub answered: bool,
}

impl Link {
    /// Whether the session may go on with its endpoint: it is still in the pool, and not down while others are not.
    pub fn is_sound(&self) -> bool {
        self.slot.pool().is_some_and(|pool| !pool.has_given_up(self.slot.endpoint()))
    }

    fn end(self, now: Nanos) {
        if !self.answered {
            // Silence teaches nothing: many a protocol knows no answers, and what anybody may send here from any address
            // need not be worth one.
            self.slot.set_sent(None);
        }
        self.slot.end(now);
    }
}

/// A connected socket: the kernel lets nobody else answer on it. Forks close it.
pub(super) struct Connected(OwnedFd);

impl Connected {
    pub fn to(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
        connect(&socket, &address)?;
        sys::connection_opened(&socket);
        Ok(Self(socket))
    }
}

impl AsFd for Connected {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        sys::connection_closes(&self.0);
    }
}
