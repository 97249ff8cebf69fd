//! The story of a connection that is carried as it is: admit, pick, connect, carry, account.
//!
//! It is one request of its pool, in flight for as long as it lasts. Of what it carries nothing is known, so that nothing is
//! repeated once an endpoint has accepted it, and its time teaches nothing.

use super::Client;
use super::admission::{self, Refusal};
use super::attempt::not_loaded;
use super::slot::Slot;
use super::tunnel::Tunnel;
use super::way::Passage;
use crate::accepted::listener_of;
use crate::connections::{Connection, Security, Wanted};
use crate::fault::Fault;
use crate::hello::{self, Beginning};
use crate::timer::GiveUp;
use crate::transport::Transport;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use steelyard_core::histogram::bump;
use steelyard_core::key::KeyView;
use steelyard_core::listener::Listener;
use steelyard_core::pool::Pool;
use steelyard_core::route::{Decision, RouteView};

/// What is carried as it is, as routes and keys see it: whence it comes, and whither it wants to go.
pub(super) struct View<'a> {
    pub peer: Option<IpAddr>,
    pub host: &'a [u8],
}

impl RouteView for View<'_> {
    fn host(&self) -> &[u8] {
        self.host
    }

    fn path(&self) -> &[u8] {
        b"/"
    }

    fn field(&self, _: &[u8]) -> Option<&[u8]> {
        None
    }
}

impl KeyView for View<'_> {
    fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    fn path(&self) -> &[u8] {
        b"/"
    }

    fn query(&self) -> Option<&[u8]> {
        None
    }

    fn fields(&self, _: &str) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }
}

/// Carries a connection to its end.
pub(crate) async fn carry(client: &Client<'_>, transport: &Transport) {
    // Nothing has been answered, which an orderly end could be taken for.
    match Box::pin(establish(client, transport)).await {
        Some(tunnel) => tunnel.carry_as_it_is(client, transport).await,
        None => transport.reset_on_close(),
    }
}

/// Finds an endpoint that accepts the connection; `None` where there is none.
async fn establish(client: &Client<'_>, transport: &Transport) -> Option<Box<Tunnel>> {
    let listener = listener_of(client.worker, client.state)?;
    client.state.requests.fetch_add(1, Ordering::Relaxed);
    let name = match client.facts {
        Some(facts) => facts.server_name.clone(),
        None if listener.routes_by_host => name_of(client, transport, &listener).await?,
        None => None,
    };
    let name = name.as_deref();
    let view = View { peer: client.peer, host: name.unwrap_or_default().as_bytes() };
    let pool = choose(client, &listener, &view)?;
    let timeouts = &pool.config().timeouts;
    let give_up = client.timer.after(timeouts.total_ms);
    pool.count_request();
    let mut seeker = pool.seeker(&view);
    let mut last: Option<Fault> = None;
    loop {
        let slot = match admission::admit(client, pool, &seeker, transport.reset(), give_up).await {
            Ok(slot) => slot,
            Err(refusal) => {
                refused(client, pool, refusal, last.as_ref());
                return None;
            }
        };
        if last.is_some() {
            bump(&slot.cells().retries, 1);
        }
        match connect(client, pool, &slot, name, transport.reset(), give_up).await {
            Ok(connection) => {
                let mut slot = slot;
                slot.tunnelled(client.timer.now());
                slot.let_pool_go();
                let passage = Passage::Http1(connection, Vec::new());
                return Some(Box::new(Tunnel { slot, passage, idle_ms: timeouts.tunnel_ms, give_up }));
            }
            Err(fault) => {
                slot.fail(&fault);
                seeker.exclude(slot.endpoint());
                drop(slot);
                let again = fault.retry_on().is_some_and(|on| pool.config().retry.on.contains(&on));
                tracing::debug!(listener = client.state.name, pool = pool.name(), %fault, "no endpoint yet");
                if !again {
                    return None;
                }
                last = Some(fault);
            }
        }
    }
}

/// The name that a client asks for in the TLS that it begins with the endpoint, where it asks for one; `None` where it does not
/// come to say.
async fn name_of(
    client: &Client<'_>,
    transport: &Transport,
    listener: &Listener,
) -> Option<Option<Box<str>>> {
    let until = client.timer.after(listener.timeouts.handshake_ms);
    let until = |cx: &mut Context<'_>| client.place.until(until, cx);
    let buffers = &client.worker.buffers;
    let looking = transport.look(hello::HELLO_BYTES_MAX, buffers, client.timer, until, hello::read);
    let why = match looking.await {
        Ok(Some(Ok(Beginning::Named(name)))) => return Some(Some(name)),
        Ok(Some(Ok(Beginning::Nameless | Beginning::Other))) => return Some(None),
        Ok(Some(Err(malformed))) => malformed.to_string(),
        Ok(None) => "it ended before it said".to_owned(),
        Err(error) => error.to_string(),
    };
    tracing::debug!(
        listener = client.state.name,
        why,
        "a connection that did not come to say where it wants to go"
    );
    client.count_bad_request();
    None
}

/// The pool that a route names for the connection, or that of the listener.
fn choose<'l>(client: &Client<'_>, listener: &'l Listener, view: &View<'_>) -> Option<&'l Arc<Pool>> {
    match listener.router.decide(view, &mut *client.worker.rng.borrow_mut()) {
        Decision::Pool { pool, .. } => Some(pool),
        Decision::NotFound | Decision::Redirect(_) | Decision::Respond(_) => {
            tracing::debug!(listener = client.state.name, "a connection that no route claims");
            None
        }
    }
}

fn refused(client: &Client<'_>, pool: &Pool, refusal: Refusal, last: Option<&Fault>) {
    if refusal == Refusal::Waited {
        pool.shared().queue_timeouts.fetch_add(1, Ordering::Relaxed);
    }
    let why = last.map_or_else(|| refusal.words().to_owned(), ToString::to_string);
    tracing::debug!(listener = client.state.name, pool = pool.name(), why, "a connection was turned away");
}

/// Opens a connection to the endpoint, unless the client is gone first.
async fn connect(
    client: &Client<'_>,
    pool: &Pool,
    slot: &Slot,
    name: Option<&str>,
    gone: impl Future<Output = ()>,
    give_up: GiveUp,
) -> Result<Connection, Fault> {
    let config = pool.config();
    let wanted = Wanted {
        rules: &config.connections,
        connect_ms: config.timeouts.connect_ms,
        give_up,
        repeatable: true,
        fresh: true,
        security: Security::of(pool, slot.endpoint()).ok_or_else(not_loaded)?.carried(),
        preface: client.preface(pool, name),
    };
    let mut taking =
        pin!(client.worker.idle.take(slot.endpoint(), &client.worker.shared, client.timer, &wanted));
    let mut gone = pin!(gone);
    poll_fn(|cx| match taking.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(outcome),
        Poll::Pending => gone.as_mut().poll(cx).map(|()| Err(Fault::ClientGone)),
    })
    .await
}
