//! Content in clear text that nobody has to look at: the kernel passes it from one socket to the other.

use crate::codec::{Sink, Source};
use crate::fault::{Fault, Side};
use crate::pipes::{Pipe, Pipes};
use crate::timer::{GiveUp, Timer};
use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};

/// What is moved at once.
const BULK_BYTES: usize = 1 << 20;

/// Passes on what there is, once there is something, and says how much that was; `None` where no pipe is to be had. The read
/// gives up at `give_up`, a write that moves nothing when the sink says so.
pub(super) async fn pass(
    source: Source<'_>,
    sink: Sink<'_>,
    (pipes, timer): (&Pipes, &Timer),
    give_up: GiveUp,
) -> Result<Option<usize>, Fault> {
    let bytes_max = usize::try_from(source.left).unwrap_or(usize::MAX).min(BULK_BYTES);
    let taken = poll_fn(|cx| match take(source, pipes, bytes_max, cx) {
        Poll::Ready(outcome) => Poll::Ready(outcome),
        Poll::Pending => timer.poll(give_up, cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
    });
    let taken = taken.await.map_err(|error| Fault::of_read(&error, source.side, true))?;
    let Some((mut pipe, count)) = taken else { return Ok(None) };
    if count == 0 {
        return Err(if source.side == Side::Client { Fault::ClientGone } else { Fault::CutShort });
    }
    while pipe.held() > 0 {
        let patience = timer.after(sink.patience_ms);
        let written = poll_fn(|cx| match sink.transport.poll_out_of(&mut pipe, cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome.map(drop)),
            Poll::Pending => timer.poll(patience, cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        });
        written.await.map_err(|error| Fault::of_write(&error, sink.side))?;
    }
    Ok(Some(count))
}

/// Takes what has come into a pipe, which is held only once there is something.
fn take(
    source: Source<'_>,
    pipes: &Pipes,
    bytes_max: usize,
    cx: &mut std::task::Context<'_>,
) -> Poll<io::Result<Option<(Pipe, usize)>>> {
    ready!(source.transport.poll_readable(cx))?;
    let Ok(mut pipe) = pipes.lend() else { return Poll::Ready(Ok(None)) };
    let count = ready!(source.transport.poll_into(&mut pipe, bytes_max, cx))?;
    Poll::Ready(Ok(Some((pipe, count))))
}
