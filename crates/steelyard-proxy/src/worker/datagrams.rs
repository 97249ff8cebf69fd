//! How a worker carries datagrams of one socket: until it is told to close, and then for as long as sessions are owed.

use super::{Closing, Worker};
use crate::forward::udp::Carrier;
use crate::shared::ListenerState;
use crate::timer::{Timer, earlier};
use std::future::poll_fn;
use std::net::UdpSocket;
use std::rc::Rc;
use std::sync::Arc;
use steelyard_core::time::Nanos;

/// When the process drains, a session that is owed nothing ends once nothing has moved in it for this long.
const QUIET: Nanos = Nanos::from_millis(1_000);
/// How long an address that is given up is kept for replies that are owed.
const LEAVE: Nanos = Nanos::from_millis(500);
/// Between two looks for sessions that can end.
const LOOK: Nanos = Nanos::from_millis(50);
/// Batches that are taken in at once when it closes: what was there before, and not all that keeps coming.
const WAITING_MAX: usize = 64;

/// Batches after which others have their turn, and the runtime hears of what has come meanwhile.
const TURN_BATCHES: u32 = 4;

/// How it ends.
struct Ending {
    /// How long nothing has to have moved in a session that is owed nothing.
    quiet: Nanos,
    /// When all sessions end.
    until: Option<Nanos>,
    next_look: Nanos,
}

/// Carries datagrams until it is told to close and no session is left.
pub(super) async fn carry(
    worker: &Rc<Worker>,
    listener: &Arc<ListenerState>,
    socket: UdpSocket,
    closing: &Closing,
) {
    let mut carrier = match Carrier::new(worker, listener, socket) {
        Ok(carrier) => carrier,
        Err(error) => {
            return tracing::error!(listener = listener.name, %error, "the socket cannot be used");
        }
    };
    let timer = Timer::new(worker.shared.clock);
    let mut ending: Option<Ending> = None;
    let mut turn = 0;
    loop {
        timer.wake();
        carrier.follow();
        let now = timer.now();
        carrier.expire(now);
        if let Some(ending) = &mut ending
            && ending.next_look <= now
        {
            ending.next_look = now.plus(LOOK);
            if ending.until.is_some() {
                take_waiting(&mut carrier);
            }
            if carrier.end_quiet(ending.quiet, now) || ending.until.is_some_and(|until| until <= now) {
                return;
            }
        }
        let until = earlier(carrier.due(), ending.as_ref().map(|ending| ending.next_look));
        tokio::select! {
            () = closing.now.notified(), if ending.is_none() => {
                take_waiting(&mut carrier);
                let now = timer.look();
                ending = Some(if closing.is_awaited() {
                    Ending { quiet: Nanos(0), until: Some(now.plus(LEAVE)), next_look: now }
                } else {
                    carrier.close();
                    Ending { quiet: QUIET, until: None, next_look: now }
                });
            }
            () = worker.reloads.notified() => {}
            () = poll_fn(|cx| {
                timer.wake();
                timer.poll(until, cx)
            }) => {}
            outcome = carrier.carry() => {
                if let Err(error) = outcome {
                    return tracing::error!(listener = listener.name, %error, "the socket cannot be used");
                }
                // In a flood there is always something to carry, and nothing would wait by itself.
                turn += 1;
                if turn == TURN_BATCHES {
                    turn = 0;
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

fn take_waiting(carrier: &mut Carrier) {
    let _ = (0..WAITING_MAX).take_while(|_| carrier.take_waiting()).count();
}
