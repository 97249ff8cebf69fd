//! How a connection to an endpoint of HTTP/2 comes to be there.

use super::group::{Group, Opening};
use super::io::Pipe;
use super::line::{Line, drive};
use super::meter::Meter;
use super::{SEND_BUFFER_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX, connection_window};
use crate::connections::{Connection, Security, Wanted, connect, count_in, key};
use crate::http1::Limits;
use crate::timer::{GiveUp, Timer};
use crate::worker::Worker;
use h2::client::Builder;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use steelyard_core::document;
use steelyard_core::endpoint::Endpoint;
use steelyard_core::time::Nanos;

/// Frames without content that an endpoint may send within a minute, beside one for every 32 bytes carried.
const CONTROL_FRAMES_MAX: u32 = 10_000;

/// What came of an attempt to open a connection.
#[derive(Debug)]
pub(super) enum Opened {
    /// There was room on another before.
    Room,
    /// One whose streams are shared.
    Line(Rc<Line>),
    /// One over which the endpoint chose to speak HTTP/1.1.
    Older(Connection),
}

/// By what a connection is opened.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub connections: document::Connections,
    connect_ms: Option<u64>,
    /// What it begins with, before TLS.
    first: Vec<u8>,
    /// What the endpoint was configured with, where it has to prove its name.
    configured: Box<str>,
    /// Older ones do not do.
    younger: Option<Nanos>,
}

impl Rules {
    pub fn of(wanted: &Wanted<'_>, younger: Option<Nanos>) -> Self {
        let configured = match wanted.security {
            Security::ClearText => "",
            Security::Tls(_, configured) | Security::Carried(_, configured) => configured,
        };
        Self {
            connections: wanted.rules.clone(),
            connect_ms: wanted.connect_ms,
            first: wanted.first(),
            configured: configured.into(),
            younger,
        }
    }
}

/// Opens a connection on a task of its own, since more than one may wait for it.
pub(super) fn spawn(group: &Rc<Group>, endpoint: &Arc<Endpoint>, worker: &Rc<Worker>, rules: Rules) {
    group.opening.set(Opening::Counting);
    let (group, endpoint, worker) = (Rc::clone(group), Arc::clone(endpoint), Rc::clone(worker));
    tokio::task::spawn_local(async move {
        let timer = Timer::new(worker.shared.clock);
        let outcome = {
            let mut opening = pin!(open(&group, &endpoint, &worker, &rules, &timer));
            poll_fn(|cx| {
                timer.wake();
                opening.as_mut().poll(cx)
            })
            .await
        };
        group.opened(outcome, &worker, &rules.connections);
    });
}

/// Opens a connection, unless there is room before there may be one.
async fn open(
    group: &Rc<Group>,
    endpoint: &Arc<Endpoint>,
    worker: &Rc<Worker>,
    rules: &Rules,
    timer: &Timer,
) -> io::Result<Opened> {
    let has_room = || {
        let room = group.line(rules.younger).is_some();
        if !room {
            worker.lines.close_one(key(endpoint));
        }
        room
    };
    let give_up = timer.after(rules.connect_ms);
    // Whoever waited so long knows it already.
    let counted = count_in(endpoint, &worker.shared, timer, rules.connections.max, give_up, has_room).await;
    let Ok(Some(count)) = counted else { return Ok(Opened::Room) };
    group.opening.set(Opening::Connecting);
    let give_up = timer.after(rules.connect_ms);
    let security = match &group.secured_by {
        None => Security::ClearText,
        Some(tls) => Security::Tls(tls, &rules.configured),
    };
    let transport = connect(endpoint.address(), &rules.first, security, timer, give_up).await?;
    let connection = Connection::new(transport, security, group.whose, count);
    if group.leaves_it_open() && !connection.speaks_http2() {
        return Ok(Opened::Older(connection));
    }
    begin(connection, group, worker, rules.connections.idle_timeout_ms, (timer, give_up))
        .await
        .map(Opened::Line)
}

/// Begins HTTP/2, and waits until the endpoint has said what it may be asked. One that speaks another protocol never does:
/// nothing was asked of it then.
pub(super) async fn begin(
    connection: Connection,
    group: &Rc<Group>,
    worker: &Rc<Worker>,
    idle_ms: Option<u64>,
    (timer, give_up): (&Timer, GiveUp),
) -> io::Result<Rc<Line>> {
    let (transport, count) = connection.into_parts();
    let meter = Meter::new(CONTROL_FRAMES_MAX, false);
    let pipe = Pipe::new(transport, Vec::new(), worker.vectors.clone(), meter);
    // It only writes, to where there is room.
    let (sender, connection) = builder().handshake(pipe.end()).await.map_err(io::Error::other)?;
    let line = Rc::new(Line::new(sender, Rc::clone(&pipe), timer.look(), idle_ms, count));
    let driven = (Rc::clone(&line), Rc::clone(group));
    tokio::task::spawn_local(drive(connection, pipe, driven.0, driven.1, worker.shared.clock));
    if let Err(late) = wait(line.settled(), timer, give_up).await {
        line.retire();
        return Err(late);
    }
    if line.is_over() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP/2"));
    }
    if !line.has_room() {
        line.retire();
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "it takes no streams"));
    }
    line.rest();
    Ok(line)
}

/// Waits until told, or until it is late.
pub(super) async fn wait(told: impl Future<Output = ()>, timer: &Timer, give_up: GiveUp) -> io::Result<()> {
    let mut told = pin!(told);
    poll_fn(|cx| match told.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending => timer.poll(give_up, cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
    })
    .await
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(connection_window(STREAMS_MAX))
        .max_header_list_size(Limits::default().header_bytes_max)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX);
    builder
}
