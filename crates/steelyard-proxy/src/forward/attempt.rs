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
use crate::http2::group::Permit;
use exchange::Ended;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use steelyard_core::document::{PoolTimeouts, Protocol};
use steelyard_core::seeker::Seeker;
use steelyard_core::time::Nanos;

/// A reused connection that ends within so long of the request had been closed before the endpoint knew of it.
const STALE_MAX: Nanos = Nanos::from_millis(1_000);

/// An attempt that did not end well.
pub(super) struct Failed {
    pub fault: Fault,
    /// Whether the client has been sent a part of the response.
    pub begun: bool,
    /// Whether the endpoint closed an idle connection just as it was used again, which is no failure of its own.
    pub stale: bool,
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self { fault, begun: false, stale: false }
    }
}

impl Failed {
    /// Whether the request may be sent once more: an endpoint that did not look at it could not act upon it.
    fn may_repeat(&self, replay: &Replay) -> bool {
        replay.is_possible() || self.fault.is_untouched() && replay.is_known()
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
        let mut fresh = None;
        loop {
            let way = self.find_way(asked, replay, fresh).await?;
            let reused = way.is_reused();
            match self.exchange(way, asked, answer, replay).await {
                Ok(done) => return Ok(done),
                // One new connection to the same endpoint may follow, if the request is safe to repeat.
                Err(failed)
                    if self.is_stale(reused, &failed) && fresh.is_none() && failed.may_repeat(replay) =>
                {
                    fresh = Some(begun);
                    self.slot.set_sent(None);
                }
                Err(failed) => {
                    let stale = self.is_stale(reused, &failed);
                    return Err(Failed { stale, ..failed });
                }
            }
        }
    }

    /// Whether the endpoint closed the connection just as it was used again, which is no fault of its own. A connection
    /// that ends long after the request was sent was not idle to the endpoint.
    fn is_stale(&self, reused: bool, failed: &Failed) -> bool {
        let just_sent = |sent| self.client.timer.now().since(sent) <= STALE_MAX;
        let is_stale = match failed.fault {
            Fault::Unprocessed => true,
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
                Err(failed)
            }
        }
    }

    fn timeouts(&self) -> &PoolTimeouts {
        &self.plan.pool.config().timeouts
    }
}
