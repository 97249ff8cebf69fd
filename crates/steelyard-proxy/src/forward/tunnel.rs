//! What follows a change of protocol: bytes both ways, until both sides have ended.
//!
//! A tunnel may live for a day. It keeps its endpoint, its connections and its limits, and nothing of the snapshot that
//! the request began with.

use super::carry::Carriage;
use super::relay::relay;
use super::slot::Slot;
use super::upload::Upload;
use super::way::Passage;
use super::{After, Client};
use crate::codec::{Answer, Answered, Ask, Asked};
use crate::fault::{Fault, Side};
use crate::head::ResponseHead;
use crate::http1::{Limits, incoming::Incoming, outgoing::Outgoing};
use crate::timer::{GiveUp, earlier};
use crate::transport::Transport;
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use steelyard_core::time::Nanos;

/// A tunnel that is about to begin.
pub(crate) struct Tunnel {
    pub(super) slot: Slot,
    pub(super) passage: Passage,
    /// How long nothing may move, in milliseconds.
    pub(super) idle_ms: Option<u64>,
    /// When it ends however much moves.
    pub(super) give_up: GiveUp,
}

impl Tunnel {
    /// Carries bytes until both sides have ended, one is gone, or its time is over.
    pub async fn carry(
        mut self,
        client: &Client<'_>,
        asked: &mut impl Asked,
        answer: &mut impl Answer,
    ) -> After {
        asked.become_tunnel();
        answer.become_tunnel(self.idle_ms);
        let Self { slot, passage, idle_ms, give_up } = &mut self;
        let ends = Ends { slot, idle_ms: *idle_ms, give_up: *give_up };
        let outcome = match passage {
            Passage::Http1(connection, unread) => {
                let Client { worker, timer, .. } = client;
                let transport = &connection.transport;
                let limits = Limits::default();
                let mut answered = Incoming::<ResponseHead>::new(
                    transport,
                    timer,
                    Side::Endpoint,
                    limits,
                    &worker.buffers,
                    &worker.fields,
                );
                answered.put_back(unread);
                let mut ask = Outgoing::new(transport, timer, Side::Endpoint, *idle_ms, &worker.vectors);
                ends.both_ways(client, asked, &mut ask, &mut answered, answer).await
            }
            Passage::Http2(stream) => {
                let (mut ask, mut answered) = stream.halves(client);
                ends.both_ways(client, asked, &mut ask, &mut answered, answer).await
            }
        };
        if let Err(fault) = outcome {
            tracing::debug!(listener = client.state.name, %fault, "a tunnel ended");
            answer.break_off();
        }
        After::Close
    }
}

impl Tunnel {
    /// Carries bytes between two connections that were never anything else, until both sides have ended, one is gone, or
    /// its time is over.
    pub async fn carry_as_it_is(self, client: &Client<'_>, transport: &Transport) {
        let Self { slot, passage, idle_ms, give_up } = self;
        let Passage::Http1(connection, unread) = passage else { return };
        let mut carriage =
            Carriage::new(transport, &connection.transport, (&client.worker.buffers, &client.worker.pipes));
        carriage.begin_with(&[], &unread);
        let ends = Ends { slot: &slot, idle_ms, give_up };
        if let Err(fault) = ends.carry(client, &mut carriage).await {
            tracing::debug!(listener = client.state.name, %fault, "a connection was cut");
            // Nothing was on its way where nothing has moved for long and nothing is held; else each side is to see
            // that something is missing.
            if !matches!(fault, Fault::Stalled) {
                transport.reset_on_close();
                connection.transport.reset_on_close();
            }
        }
    }
}

/// What holds a tunnel, whatever its ends.
struct Ends<'a> {
    slot: &'a Slot,
    idle_ms: Option<u64>,
    give_up: GiveUp,
}

impl Ends<'_> {
    /// Carries bytes between two connections, looking at the clock and at what is counted once each time that the task
    /// wakes.
    async fn carry(&self, client: &Client<'_>, carriage: &mut Carriage<'_>) -> Result<(), Fault> {
        let timer = client.timer;
        let mut moved_at = timer.now();
        poll_fn(|cx| {
            let outcome = carriage.poll(cx);
            let (inward, outward) = carriage.take_moved();
            if inward + outward > 0 {
                self.slot.count(inward, outward);
                moved_at = timer.now();
            }
            if outcome.is_ready() {
                return outcome;
            }
            let idle = self.idle_ms.map(|ms| moved_at.plus(Nanos::from_millis(ms)));
            timer.poll(earlier(idle, self.give_up), cx).map(|()| {
                let is_quiet = idle.is_some_and(|at| at <= timer.now()) && carriage.is_empty();
                Err(if is_quiet { Fault::Stalled } else { Fault::TotalTimeout })
            })
        })
        .await
    }

    async fn both_ways(
        &self,
        client: &Client<'_>,
        asked: &mut impl Asked,
        ask: &mut impl Ask,
        answered: &mut impl Answered,
        answer: &mut impl Answer,
    ) -> Result<(), Fault> {
        ask.become_tunnel(self.idle_ms);
        answered.become_tunnel();
        let timer = client.timer;
        let moved = Cell::new(timer.now());
        let quiet_until = || {
            let idle = self.idle_ms.map(|ms| moved.get().plus(Nanos::from_millis(ms)));
            earlier(idle, self.give_up)
        };
        let means = (&client.worker.pipes, timer);
        let up = relay(
            asked,
            ask,
            means,
            || None,
            |piece| {
                self.slot.count(0, piece.size());
                moved.set(timer.now());
            },
        );
        let down = relay(
            answered,
            answer,
            means,
            || None,
            |piece| {
                self.slot.count(piece.size(), 0);
                moved.set(timer.now());
            },
        );
        let up = pin!(up);
        let mut upload = Upload::new(up);
        upload.race(pin!(down), timer, quiet_until, || Fault::Stalled).await?;
        upload.finish(timer, quiet_until).await
    }
}
