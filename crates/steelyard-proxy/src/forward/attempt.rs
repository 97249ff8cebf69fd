//! One attempt at one endpoint: send, wait for the answer, carry it back.

mod exchange;
mod upgrade;

use super::replay::Replay;
use super::slot::Slot;
use super::way::{Passage, Way};
use super::{After, Client, Plan};
use crate::codec::{Answer, Answered, Asked};
use crate::connections::{Connection, Security, Wanted};
use crate::fault::{Fault, Side};
use crate::http1::Limits;
use crate::http1::incoming::Incoming;
use crate::http1::outgoing::Outgoing;
use crate::http2::ask::{self, OpenStream};
use crate::http2::group::{Leave, Permit};
use exchange::Ended;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use steelyard_core::document::{PoolTimeouts, Protocol};
use steelyard_core::seeker::Seeker;
use steelyard_core::time::Nanos;

/// A reused connection that ends within so long of the request had been closed before the endpoint knew of it.
const STALE_MAX: Nanos = Nanos::from_millis(1_000);
/// So many new connections one request may be sent over after others have gone away before they came to it.
const FRESH_MAX: u32 = 64;
/// So many of them where no request at all was looked at on the one before.
const FRUITLESS_MAX: u32 = 2;

/// An attempt that did not end well.
pub(super) struct Failed {
    pub fault: Fault,
    /// Whether the client has been sent a part of the response.
    pub begun: bool,
    /// Whether the endpoint closed an idle connection just as it was used again, which is no failure of its own.
    pub stale: bool,
    /// How the connection goes away, if it takes no more requests.
    leave: Option<Leave>,
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self { fault, begun: false, stale: false, leave: None }
    }
}

impl Failed {
    /// Whether the request may be sent once more: an endpoint that did not look at it could not act upon it.
    fn may_repeat(&self, replay: &Replay) -> bool {
        replay.is_possible() || self.fault.is_untouched() && replay.is_known()
    }
}

/// The new connections that one attempt was sent over.
#[derive(Default)]
struct Fresh {
    all: u32,
    fruitless: u32,
}

impl Fresh {
    /// Counts one more; says whether there may be one.
    fn may_follow(&mut self, failed: &Failed) -> bool {
        let may = match failed.leave {
            // How many requests an endpoint takes over one connection is its own affair, as long as it takes some.
            Some(Leave { fruitful: true }) => self.all < FRESH_MAX,
            Some(Leave { fruitful: false }) => self.fruitless < FRUITLESS_MAX && self.all < FRESH_MAX,
            None => self.all == 0,
        };
        self.all += 1;
        self.fruitless += u32::from(failed.leave.is_none_or(|leave| !leave.fruitful));
        may
    }

    /// Whether there were so many that the endpoint is to blame for it.
    fn are_used_up(&self) -> bool {
        self.all > FRESH_MAX || self.fruitless > FRUITLESS_MAX
    }
}

/// One attempt.
pub(super) struct Attempt<'a> {
    pub client: &'a Client<'a>,
    pub plan: &'a Plan<'a>,
    pub slot: &'a Slot,
    /// Whether a 5xx is not passed on but tried again elsewhere, where somebody else could take it.
    pub repeat_5xx: bool,
    /// Endpoints that have been tried before.
    pub seeker: &'a Seeker,
}

/// It is loaded before the pool is in force.
pub(super) fn not_loaded() -> Fault {
    Fault::Connect(std::io::Error::other("TLS has not been loaded"))
}

/// What an attempt that went well leaves behind.
pub(super) enum Done {
    /// An answered request.
    Answered(After),
    /// A way that carries another protocol now.
    Tunnel(Passage),
}

impl Attempt<'_> {
    pub async fn run(
        &self,
        asked: &mut impl Asked,
        answer: &mut impl Answer,
        replay: &mut Replay,
    ) -> Result<Done, Failed> {
        let begun = self.client.timer.now();
        let (mut younger, mut fresh) = (None, Fresh::default());
        loop {
            let way = self.find_way(asked, replay, younger).await?;
            let reused = way.is_reused();
            match self.exchange(way, asked, answer, replay).await {
                Ok(done) => return Ok(done),
                // A new connection to the same endpoint may follow, if the request is safe to repeat.
                Err(failed)
                    if self.is_stale(reused, &failed)
                        && failed.may_repeat(replay)
                        && fresh.may_follow(&failed) =>
                {
                    younger = Some(begun);
                    self.slot.set_sent(None);
                }
                Err(failed) => {
                    let stale = self.is_stale(reused, &failed) && !fresh.are_used_up();
                    return Err(Failed { stale, ..failed });
                }
            }
        }
    }

    /// Whether the endpoint closed the connection just as it was used again, which is no fault of its own. A connection
    /// that ends long after the request was sent was not idle to the endpoint. One that many share may go away before it
    /// has come to all of them, however new it is.
    fn is_stale(&self, reused: bool, failed: &Failed) -> bool {
        let just_sent = |sent| self.client.timer.now().since(sent) <= STALE_MAX;
        let is_stale = match failed.fault {
            Fault::Unprocessed => return !failed.begun && (reused || failed.leave.is_some()),
            Fault::Reset => self.slot.sent().is_none_or(just_sent),
            _ => false,
        };
        reused && !failed.begun && is_stale
    }

    /// A way to the endpoint; where `fresh` says so, one that was opened after that moment.
    async fn find_way(
        &self,
        asked: &impl Asked,
        replay: &Replay,
        fresh: Option<Nanos>,
    ) -> Result<Way, Fault> {
        let config = self.plan.pool.config();
        let wanted = Wanted {
            rules: &config.connections,
            connect_ms: config.timeouts.connect_ms,
            give_up: self.plan.give_up,
            repeatable: replay.is_possible(),
            fresh: fresh.is_some(),
            security: Security::of(self.plan.pool, self.slot.endpoint()).ok_or_else(not_loaded)?,
            preface: self.client.preface(self.plan.pool, None),
        };
        let Client { worker, timer, .. } = self.client;
        let endpoint = self.slot.endpoint();
        let taking = async {
            match config.protocol {
                Protocol::H2c | Protocol::H2 | Protocol::Auto => {
                    Box::pin(worker.lines.take(endpoint, worker, timer, &wanted, fresh)).await
                }
                Protocol::Http1 => {
                    worker.idle.take(endpoint, &worker.shared, timer, &wanted).await.map(Way::Http1)
                }
            }
        };
        let mut taking = pin!(taking);
        let mut gone = pin!(asked.gone());
        poll_fn(|cx| match taking.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => gone.as_mut().poll(cx).map(|()| Err(Fault::ClientGone)),
        })
        .await
    }

    /// One request and its response. Here the codec towards the endpoint is chosen.
    async fn exchange(
        &self,
        way: Way,
        asked: &mut impl Asked,
        answer: &mut impl Answer,
        replay: &mut Replay,
    ) -> Result<Done, Failed> {
        match way {
            Way::Http1(connection) => self.over_http1(connection, asked, answer, replay).await,
            // In a box, since few come here and all would carry it.
            Way::Http2(permit) => Box::pin(self.over_http2(permit, asked, answer, replay)).await,
        }
    }

    async fn over_http1(
        &self,
        connection: Connection,
        asked: &mut impl Asked,
        answer: &mut impl Answer,
        replay: &mut Replay,
    ) -> Result<Done, Failed> {
        let Client { worker, timer, .. } = self.client;
        let transport = &connection.transport;
        let limits = Limits::default();
        let mut answered =
            Incoming::new(transport, timer, Side::Endpoint, limits, &worker.buffers, &worker.fields);
        let patience_ms = self.timeouts().idle_ms;
        let mut ask = Outgoing::new(transport, timer, Side::Endpoint, patience_ms, &worker.vectors);
        match self.converse(asked, answer, &mut ask, &mut answered, replay).await? {
            Ended::Tunnel => {
                let unread = answered.take_unread();
                drop((ask, answered));
                Ok(Done::Tunnel(Passage::Http1(connection, unread)))
            }
            Ended::Response { after, whole, stays_s } => {
                let reuse = whole && answered.is_reusable();
                drop((ask, answered));
                let now = timer.now();
                self.slot.end(now);
                if reuse && worker.is_current(self.plan.pool, self.slot.endpoint()) {
                    worker.idle.put(connection, &self.plan.pool.config().connections, stays_s, now);
                }
                Ok(Done::Answered(after))
            }
        }
    }

    async fn over_http2(
        &self,
        permit: Permit,
        asked: &mut impl Asked,
        answer: &mut impl Answer,
        replay: &mut Replay,
    ) -> Result<Done, Failed> {
        let Client { worker, timer, .. } = self.client;
        let (mut ask, mut answered) = ask::halves(&permit, self.client, self.timeouts().idle_ms);
        let outcome = self.converse(asked, answer, &mut ask, &mut answered, replay).await;
        if !worker.is_current(self.plan.pool, self.slot.endpoint()) {
            permit.retire();
        }
        match outcome {
            Ok(Ended::Tunnel) => {
                let ends = ask.into_ends(answered);
                Ok(Done::Tunnel(Passage::Http2(Box::new(OpenStream::new(ends, permit)))))
            }
            Ok(Ended::Response { after, .. }) => {
                self.slot.end(timer.now());
                Ok(Done::Answered(after))
            }
            Err(failed) => {
                if matches!(failed.fault, Fault::ResponseTimeout | Fault::Stalled) {
                    permit.is_overdue();
                }
                let leave = failed.fault.is_untouched().then(|| permit.leave()).flatten();
                Err(Failed { leave, ..failed })
            }
        }
    }

    fn timeouts(&self) -> &PoolTimeouts {
        &self.plan.pool.config().timeouts
    }
}
