//! The streams that carry no request: ours, and those of the client (RFC 9114 section 6.2, RFC 9204 section 4.2).

use super::code::{Code, Failure};
use super::frames::{self, Frames};
use super::peer::Peer;
use super::settings::{self, ENABLE_CONNECT_PROTOCOL, MAX_FIELD_SECTION_SIZE};
use super::{qpack, varint};
use bytes::Buf;
use quinn::{Connection, RecvStream, SendStream};
use std::future::{pending, poll_fn};
use std::pin::pin;

const CONTROL: u64 = 0x0;
const PUSH: u64 = 0x1;
const ENCODER: u64 = 0x2;
const DECODER: u64 = 0x3;

/// Numbers in frames have no more bytes.
const NUMBER_BYTES_MAX: u64 = varint::BYTES_MAX as u64;

/// Speaks to the client of the connection itself: what it may ask, and in the end that it is to leave. It never ends well,
/// since our stream must stay open as long as the connection.
pub(super) async fn speak(
    connection: &Connection,
    peer: &Peer,
    header_bytes_max: u32,
) -> Result<(), Failure> {
    let Ok(mut stream) = connection.open_uni().await else { return Err(Failure::Gone) };
    let mut settings = Vec::new();
    for (name, value) in [(MAX_FIELD_SECTION_SIZE, u64::from(header_bytes_max)), (ENABLE_CONNECT_PROTOCOL, 1)]
    {
        varint::write(&mut settings, name);
        varint::write(&mut settings, value);
    }
    let mut out = Vec::new();
    varint::write(&mut out, CONTROL);
    frame(&mut out, frames::SETTINGS, &settings);
    send(&mut stream, &out).await?;
    let mut stopped = pin!(stream.stopped());
    let mut said = None;
    loop {
        let next = peer.goaway.get();
        if next == said {
            tokio::select! {
                () = peer.told.notified() => continue,
                outcome = &mut stopped => return Err(if outcome.is_ok() { CLOSED } else { Failure::Gone }),
            }
        }
        let Some(first_refused) = next else { return pending().await };
        let mut number = Vec::new();
        varint::write(&mut number, first_refused);
        let mut out = Vec::new();
        frame(&mut out, frames::GOAWAY, &number);
        send(&mut stream, &out).await?;
        said = next;
    }
}

fn frame(out: &mut Vec<u8>, kind: u64, payload: &[u8]) {
    varint::write(out, kind);
    varint::write(out, payload.len() as u64);
    out.extend_from_slice(payload);
}

async fn send(stream: &mut SendStream, bytes: &[u8]) -> Result<(), Failure> {
    stream.write_all(bytes).await.map_err(|error| match error {
        quinn::WriteError::Stopped(_) => CLOSED,
        _ => Failure::Gone,
    })
}

/// Listens to one stream of the client that carries no request.
pub(super) async fn listen(stream: RecvStream, peer: &Peer) -> Result<(), Failure> {
    peer.spend_frame();
    let mut frames = Frames::new(stream);
    let Some(kind) = frames.kind().await? else { return Ok(()) };
    if kind == PUSH {
        return Err(Failure::Connection(Code::StreamCreationError, "a client cannot push"));
    }
    if kind > DECODER {
        // Of a kind that we do not know.
        frames.stop(Code::StreamCreationError);
        return Ok(());
    }
    if peer.opened.get() & 1 << kind != 0 {
        return Err(Failure::Connection(Code::StreamCreationError, "a second stream of a kind"));
    }
    peer.opened.set(peer.opened.get() | 1 << kind);
    let outcome = match kind {
        ENCODER => encoder(&mut frames).await,
        DECODER => decoder(&mut frames).await,
        _ => control(&mut frames, peer).await,
    };
    match outcome {
        // A reset is an end like any other, and where the connection is gone this is not heard.
        Ok(()) | Err(Failure::Gone) => Err(CLOSED),
        failed => failed,
    }
}

const CLOSED: Failure = Failure::Connection(Code::ClosedCriticalStream, "a critical stream was closed");

async fn control(frames: &mut Frames, peer: &Peer) -> Result<(), Failure> {
    let unexpected = Failure::Connection(Code::FrameUnexpected, "a frame that is not for the control stream");
    let mut settled = false;
    let mut push_max = None;
    let mut goaway = None;
    while let Some(head) = frames.head().await? {
        peer.spend_frame();
        match head.kind {
            frames::SETTINGS if settled => return Err(unexpected),
            frames::SETTINGS if head.length > settings::BYTES_MAX => {
                return Err(Failure::Connection(Code::ExcessiveLoad, "too many settings"));
            }
            frames::SETTINGS => {
                settled = true;
                let mut payload = Vec::new();
                poll_fn(|cx| frames.poll_whole(&mut payload, cx)).await?;
                settings::check(&payload)?;
            }
            _ if !settled => {
                return Err(Failure::Connection(Code::MissingSettings, "the first frame is not SETTINGS"));
            }
            frames::GOAWAY => {
                let id = number(frames, head.length).await?;
                if goaway.replace(id).is_some_and(|before| id > before) {
                    return Err(Failure::Connection(Code::IdError, "GOAWAY goes up"));
                }
            }
            frames::MAX_PUSH_ID => {
                let id = number(frames, head.length).await?;
                if push_max.replace(id).is_some_and(|before| id < before) {
                    return Err(Failure::Connection(Code::IdError, "MAX_PUSH_ID goes down"));
                }
            }
            frames::CANCEL_PUSH => {
                number(frames, head.length).await?;
                return Err(Failure::Connection(Code::IdError, "nothing was promised"));
            }
            frames::DATA | frames::HEADERS | frames::PUSH_PROMISE => return Err(unexpected),
            kind if frames::is_of_http2(kind) => return Err(unexpected),
            _ => {}
        }
    }
    Ok(())
}

/// A payload that is one number and nothing else.
async fn number(frames: &mut Frames, length: u64) -> Result<u64, Failure> {
    let wrong = Failure::Connection(Code::FrameError, "a frame of a wrong length");
    if length > NUMBER_BYTES_MAX {
        return Err(wrong);
    }
    let mut payload = Vec::new();
    poll_fn(|cx| frames.poll_whole(&mut payload, cx)).await?;
    match varint::read(&payload) {
        Some((number, bytes)) if bytes == payload.len() => Ok(number),
        _ => Err(wrong),
    }
}

/// The client's encoder has no table to write to.
async fn encoder(frames: &mut Frames) -> Result<(), Failure> {
    /// Set Dynamic Table Capacity, to nothing.
    const NO_CAPACITY: u8 = 0b0010_0000;
    while let Some(bytes) = frames.bytes().await? {
        if bytes.iter().any(|byte| *byte != NO_CAPACITY) {
            return Err(Failure::Connection(Code::EncoderStreamError, "there is no dynamic table"));
        }
    }
    Ok(())
}

/// The client's decoder has nothing to acknowledge; it may say that it gives up on a stream.
async fn decoder(frames: &mut Frames) -> Result<(), Failure> {
    let wrong = Failure::Connection(Code::DecoderStreamError, "there is nothing to acknowledge");
    let mut begun = Vec::new();
    while let Some(bytes) = frames.bytes().await? {
        begun.extend_from_slice(&bytes);
        let mut rest = &begun[..];
        while let Some(first) = rest.first() {
            // Stream Cancellation (RFC 9204 section 4.4.2).
            if first & 0b1100_0000 != 0b0100_0000 {
                return Err(wrong);
            }
            match qpack::read_number(rest, 6) {
                Ok(Some((_, length))) => rest.advance(length),
                Ok(None) => break,
                Err(qpack::Malformed) => return Err(wrong),
            }
        }
        let read = begun.len() - rest.len();
        begun.drain(..read);
    }
    Ok(())
}
