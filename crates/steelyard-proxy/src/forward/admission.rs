//! Getting a slot: at once, or through the pool's queue.

use super::Client;
use super::slot::Slot;
use crate::timer::{GiveUp, earlier};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use steelyard_core::pool::{Pick, Pool};
use steelyard_core::queue::{Grant, Ticket};
use steelyard_core::seeker::Seeker;

/// Why there is no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No endpoint could serve it.
    Nobody,
    /// The queue is full, or there is none.
    Full,
    /// It waited for as long as it may wait in the queue.
    Waited,
    /// The time for the whole request was over while it waited.
    TotalTimeout,
    /// The client went away meanwhile.
    Gone,
}

impl Refusal {
    /// What the client is told.
    pub fn words(self) -> &'static str {
        match self {
            Self::Nobody => "no endpoint is available",
            Self::Full => "every endpoint is busy and the queue is full",
            Self::Waited | Self::TotalTimeout => "every endpoint was busy for too long",
            Self::Gone => "",
        }
    }
}

/// A place in the queue; given up when dropped.
struct Waiting<'a> {
    client: &'a Client<'a>,
    pool: &'a Arc<Pool>,
    ticket: Option<Ticket>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.pool.leave(ticket, self.client.timer.now());
        }
    }
}

/// Takes a slot, or waits for one until the client is `gone`.
pub(super) async fn admit(
    client: &Client<'_>,
    pool: &Arc<Pool>,
    seeker: &Seeker,
    gone: impl Future<Output = ()>,
    give_up: GiveUp,
) -> Result<Slot, Refusal> {
    let now = client.timer.now();
    let pick = pool.admit(now, &mut *client.worker.rng.borrow_mut(), seeker);
    if pool.calls_for_probes() {
        client.worker.shared.load_calls.notify_one();
    }
    match pick {
        Pick::Taken(index) => Ok(Slot::new(client.worker, pool, pool.members()[index].endpoint.clone())),
        Pick::Nobody => Err(Refusal::Nobody),
        Pick::Full => wait(client, pool, seeker, gone, give_up).await,
    }
}

async fn wait(
    client: &Client<'_>,
    pool: &Arc<Pool>,
    seeker: &Seeker,
    gone: impl Future<Output = ()>,
    give_up: GiveUp,
) -> Result<Slot, Refusal> {
    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let ticket = pool.enqueue(client.timer.now(), seeker.clone(), waker).ok_or(Refusal::Full)?;
    let mut waiting = Waiting { client, pool, ticket: Some(ticket) };
    let queue_until = client.timer.after(pool.config().queue.timeout_ms);
    let until = earlier(queue_until, give_up);
    let mut gone = pin!(gone);
    let grant = poll_fn(|cx| {
        if let Some(grant) = pool.claim(ticket, cx.waker()) {
            return Poll::Ready(Ok(grant));
        }
        if gone.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Refusal::Gone));
        }
        let late = if until == queue_until { Refusal::Waited } else { Refusal::TotalTimeout };
        client.timer.poll(until, cx).map(|()| Err(late))
    })
    .await?;
    waiting.ticket = None;
    match grant {
        Grant::Slot(endpoint) => Ok(Slot::new(client.worker, pool, endpoint)),
        Grant::Nobody => Err(Refusal::Nobody),
    }
}
