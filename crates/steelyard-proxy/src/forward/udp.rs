//! The story of datagrams: whose session they are of, which endpoint it is with, what comes back.
//!
//! A session holds a slot of its endpoint and a connected socket, and no buffers. It has no end of its own: it ends when
//! nothing has moved for a while, after as many replies as were promised, or to make room for another.

mod answers;
mod links;
mod owed;
mod session;
mod sessions;

use super::admission::Refusal;
use super::tcp::View;
use crate::connections::key;
use crate::shared::{Dropped, ListenerState};
use crate::sys::{self, datagrams::Batch};
use crate::timer::{GiveUp, earlier};
use crate::worker::{Pinned, Seat, Worker, is_want_of_descriptors};
use owed::Promise;
use rustix::event::epoll;
use rustix::io::Errno;
use session::Session;
use sessions::{Pair, Sessions, Standing};
use std::collections::HashMap;
use std::io;
use std::mem::take;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use steelyard_core::listener::Listener;
use steelyard_core::pool::Pool;
use steelyard_core::time::Nanos;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Endpoints that one datagram tries. Few fail at once: most say only later that nobody is there.
const TRIES_MAX: u32 = 8;

/// A shortage of descriptors or ports is over when there was none for this long.
const SHORTAGE: Nanos = Nanos::from_millis(5_000);

/// Carries the datagrams of one socket.
pub(crate) struct Carrier {
    worker: Rc<Worker>,
    state: Arc<ListenerState>,
    socket: tokio::net::UdpSocket,
    /// Ready when any session's endpoint has written; events carry tokens of sessions.
    answers: AsyncFd<OwnedFd>,
    sessions: Sessions<Session>,
    /// The snapshot that the sessions follow.
    pinned: Rc<Pinned>,
    /// What there is to expect in them.
    promise: Promise,
    /// Whether it takes in new sessions.
    open: bool,
    tally: Tally,
    /// When descriptors or ports were last short.
    said_short: Option<Nanos>,
}

/// Datagrams and bytes that have been counted and not yet told.
#[derive(Default)]
struct Tally {
    received: [u64; 2],
    sent: [u64; 2],
    dropped: [u64; Dropped::ALL.len()],
    evicted: u64,
}

impl Carrier {
    /// Must be called within the runtime.
    pub fn new(
        worker: &Rc<Worker>,
        state: &Arc<ListenerState>,
        socket: std::net::UdpSocket,
    ) -> io::Result<Self> {
        let mut carrier = Self {
            worker: worker.clone(),
            state: state.clone(),
            socket: tokio::net::UdpSocket::from_std(socket)?,
            answers: sys::readable(epoll::create(epoll::CreateFlags::CLOEXEC)?)?,
            sessions: Sessions::default(),
            pinned: worker.pin(),
            promise: Promise::default(),
            open: true,
            tally: Tally::default(),
            said_short: None,
        };
        carrier.look_up_promise();
        Ok(carrier)
    }

    /// Waits for datagrams of either side, and carries some. Nothing is lost when the future is dropped.
    pub async fn carry(&mut self) -> io::Result<()> {
        tokio::select! {
            ready = self.socket.readable() => {
                ready?;
                self.take_asked();
            }
            ready = self.answers.readable() => {
                drop(ready?);
                self.take_answers();
            }
        }
        Ok(())
    }

    /// Carries what clients have written already, as much as goes into one batch; says whether there was any. The system
    /// itself is asked: the runtime may not have heard of it yet.
    pub fn take_waiting(&mut self) -> bool {
        let worker = self.worker.clone();
        let batch = &mut *worker.batch();
        let received = batch.receive(&self.socket, 0);
        self.take(batch, received)
    }

    /// Carries what clients have written, as much as goes into one batch.
    fn take_asked(&mut self) {
        let worker = self.worker.clone();
        let batch = &mut *worker.batch();
        let socket = &self.socket;
        let received = socket.try_io(Interest::READABLE, || batch.receive(socket, 0));
        self.take(batch, received);
    }

    fn take(&mut self, batch: &mut Batch, received: io::Result<usize>) -> bool {
        let count = match received {
            Ok(count) => count,
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    tracing::debug!(listener = self.state.name, %error, "could not receive");
                }
                return false;
            }
        };
        // What comes after a change is carried by it.
        self.follow();
        let now = self.worker.shared.clock.now();
        let mut start = 0;
        while start < count {
            let pair = pair_of(batch, start);
            let alike = |place: &usize| batch.head(*place).whole && pair_of(batch, *place) == pair;
            let end = start + (start..count).take_while(alike).count();
            for place in start..end.max(start + 1) {
                let length = batch.head(place).length as u64;
                add(&mut self.tally.received, 1, length);
            }
            if end == start {
                self.drop(Dropped::TooLarge, 1);
                start += 1;
                continue;
            }
            self.pass_on(batch, start..end, pair, now);
            start = end;
        }
        self.tell();
        true
    }

    /// Passes datagrams of one client on to its session's endpoint.
    fn pass_on(&mut self, batch: &mut Batch, mut places: Range<usize>, pair: Pair, now: Nanos) {
        let place = match self.sessions.find(&pair) {
            Some(place) => {
                if self.sessions[place].owed.is_answered() {
                    self.sessions.know(place);
                }
                self.sessions.touch(place, now);
                place
            }
            None => match self.take_in(pair, now) {
                Ok(place) => place,
                Err(why) => return self.drop(why, places.len()),
            },
        };
        let promise = self.promise;
        let mut tries = 0;
        let mut repeated = None;
        while !places.is_empty() {
            let linked =
                if tries < TRIES_MAX { self.see_to_link(place, now) } else { Err(Dropped::NoEndpoint) };
            if let Err(why) = linked {
                self.drop(why, places.len());
                break;
            }
            let session = &mut self.sessions[place];
            let Some(link) = &session.link else { break };
            match batch.send(&link.socket, places.clone(), false) {
                Ok(sent) => {
                    let bytes = (places.start..places.start + sent).map(|place| batch.head(place).length);
                    link.slot.count(0, bytes.sum());
                    if link.slot.sent().is_none() && !link.answered {
                        link.slot.set_sent(Some(now));
                    }
                    session.owed.ask(sent as u64, promise, now);
                    places.start += sent;
                }
                Err(error) => match Errno::from_io_error(&error) {
                    // Where a router has said so of an earlier datagram, this one has not been looked at.
                    Some(Errno::MSGSIZE) if repeated != Some(places.start) => repeated = Some(places.start),
                    Some(Errno::MSGSIZE) => {
                        self.drop(Dropped::TooLarge, 1);
                        places.start += 1;
                    }
                    Some(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM | Errno::PERM) => {
                        self.drop(Dropped::ToEndpoint, places.len());
                        break;
                    }
                    // Most often this tells of an earlier datagram, which is lost. This one tries another endpoint.
                    _ => {
                        self.refused(place, error);
                        tries += 1;
                    }
                },
            }
        }
        // One that has never had an endpoint is none.
        if !self.sessions[place].owed.has_begun() {
            self.end(place, now);
        }
    }

    /// A session for a pair that has none.
    fn take_in(&mut self, pair: Pair, now: Nanos) -> Result<usize, Dropped> {
        if !self.open {
            return Err(Dropped::Draining);
        }
        let seat = |carrier: &Self| Seat::take(&carrier.state, &carrier.worker.shared, false);
        let seat = match seat(self) {
            Some(seat) => Some(seat),
            None if self.make_room(None, now) => seat(self),
            None => None,
        };
        let seat = seat.ok_or(Dropped::Sessions)?;
        Ok(self.sessions.insert(pair, now, Session::new(seat)))
    }

    /// Ends the session that has been silent for longest among those of strangers, but for this one; says whether there was
    /// one.
    fn make_room(&mut self, but: Option<usize>, now: Nanos) -> bool {
        match self.sessions.oldest(Standing::Stranger) {
            Some((place, _)) if Some(place) != but => {
                self.tally.evicted += 1;
                self.end(place, now);
                true
            }
            _ => false,
        }
    }

    /// When the next session ends if nothing moves in it.
    pub fn due(&self) -> GiveUp {
        let idle = self.promise.idle?;
        let end = |standing| self.sessions.oldest(standing).map(|(_, touched)| touched.plus(idle));
        earlier(end(Standing::Stranger), end(Standing::Known))
    }

    /// Ends the sessions in which nothing has moved for as long as may be.
    pub fn expire(&mut self, now: Nanos) {
        let Some(idle) = self.promise.idle else { return };
        for standing in [Standing::Stranger, Standing::Known] {
            while let Some((place, touched)) = self.sessions.oldest(standing)
                && touched.plus(idle) <= now
            {
                self.end(place, now);
            }
        }
    }

    /// Turns away whoever has no session from here on.
    pub fn close(&mut self) {
        self.open = false;
    }

    /// Ends the sessions that are owed nothing and in which nothing has moved for so long; says whether none is left that has
    /// an end to wait for. Those in which nothing ever comes back have none, and last no longer than the others.
    pub fn end_quiet(&mut self, quiet: Nanos, now: Nanos) -> bool {
        let promise = self.promise;
        let is_over = |session: &Session, touched: Nanos| {
            !session.owed.is_due(promise, now) && touched.plus(quiet) <= now
        };
        for place in self.sessions.all(is_over) {
            self.end(place, now);
        }
        self.sessions.iter().all(|session| session.owed.is_one_sided(promise, now))
    }

    /// Follows a new snapshot, if there is one: what its sessions may go on with is settled by it.
    pub fn follow(&mut self) {
        let pinned = self.worker.pin();
        if Rc::ptr_eq(&pinned, &self.pinned) {
            return;
        }
        self.pinned = pinned;
        self.look_up_promise();
        let listener = self.listener();
        let leads = |pool: &Pool| listener.as_ref().is_some_and(|one| one.router.leads_to(pool.name()));
        let pools: Vec<_> = self.pinned.pools().iter().filter(|pool| leads(pool)).cloned().collect();
        let members = pools.iter().flat_map(|pool| pool.members().iter().map(move |member| (member, pool)));
        let present: HashMap<usize, _> =
            members.map(|(member, pool)| (key(&member.endpoint), pool)).collect();
        for session in self.sessions.iter_mut() {
            // Names of endpoints are those of one pool, which may be another now.
            session.seeker = None;
            if let Some(link) = &mut session.link {
                link.slot.follow(present.get(&key(link.slot.endpoint())).copied());
            }
        }
    }

    fn end(&mut self, place: usize, now: Nanos) {
        self.sessions.remove(place).part(now);
    }

    /// The listener in force; its last one, once it has left.
    fn listener(&self) -> Option<Arc<Listener>> {
        self.pinned.listener(&self.state.name).or_else(|| self.state.farewell.get()).cloned()
    }

    /// Takes over what the listener in force says is to be expected.
    fn look_up_promise(&mut self) {
        if let Some(listener) = self.listener() {
            self.promise = Promise {
                responses: listener.responses,
                idle: listener.timeouts.idle_ms.map(Nanos::from_millis),
            };
        }
    }

    fn drop(&mut self, why: Dropped, count: usize) {
        self.tally.dropped[why as usize] += count as u64;
    }

    /// Says that descriptors or ports are short, unless it has been said a while ago.
    fn say_short(&mut self, error: &io::Error, now: Nanos) {
        if self.said_short.replace(now).is_none_or(|last| now.since(last) >= SHORTAGE) {
            tracing::warn!(
                listener = self.state.name,
                worker = self.worker.index,
                %error,
                "no descriptor or port for another session; raise the limit of open files or the range of ports \
                 (net.ipv4.ip_local_port_range), or lower limits.connections"
            );
        }
    }

    /// Tells what has been counted, once for many datagrams: other workers count in the same place.
    fn tell(&mut self) {
        let tally = take(&mut self.tally);
        let told = &self.state.datagrams;
        let pairs = [
            (&told.received, tally.received[0]),
            (&told.bytes_in, tally.received[1]),
            (&told.sent, tally.sent[0]),
            (&told.bytes_out, tally.sent[1]),
            (&told.evicted, tally.evicted),
        ];
        let dropped = told.dropped.iter().zip(tally.dropped);
        for (told, count) in pairs.into_iter().chain(dropped).filter(|(_, count)| *count > 0) {
            let told: &AtomicU64 = told;
            told.fetch_add(count, Ordering::Relaxed);
        }
    }
}

fn reason(refusal: Refusal) -> Dropped {
    if refusal == Refusal::Full { Dropped::Busy } else { Dropped::NoEndpoint }
}

/// What routes and policies see of a session's client.
fn view_of(pair: Pair) -> View<'static> {
    View { peer: Some(pair.client.ip().to_canonical()), host: b"" }
}

fn pair_of(batch: &Batch, place: usize) -> Pair {
    let head = batch.head(place);
    Pair { client: head.peer, local: head.local }
}

fn add(sum: &mut [u64; 2], datagrams: u64, bytes: u64) {
    sum[0] += datagrams;
    sum[1] += bytes;
}

/// Whether this process lacks what a session needs: a descriptor, or a port to write from.
fn is_short(error: &io::Error) -> bool {
    let ports = [Errno::AGAIN, Errno::ADDRNOTAVAIL, Errno::ADDRINUSE, Errno::NOSPC];
    is_want_of_descriptors(error) || ports.iter().any(|errno| Errno::from_io_error(error) == Some(*errno))
}
