//! What must hold of the readers of HTTP/3: frames, sections of fields, and the requests that they tell.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use steelyard_proxy::head::Fields;
use steelyard_proxy::http1::{Limits, chunked, encode};
use steelyard_proxy::http3::code::{Code, Failure};
use steelyard_proxy::http3::frames::{self, Frames, Head, Source};
use steelyard_proxy::http3::qpack::{self, Section};
use steelyard_proxy::http3::{settings, translate};

use super::{check_asked, decode, text};

/// What an HTTP/3 client writes on a stream is read the same however it comes; what it asks for is what an endpoint of
/// HTTP/1.1 is asked, and what it sets is sound.
///
/// The first byte says how large the pieces are in which the others come.
pub fn http3_stream(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else { return };
    let whole = read_frames(stream, stream.len().max(1), true);
    for pieces in [1, 2 + usize::from(size)] {
        assert_eq!(read_frames(stream, pieces, true), whole, "in pieces of {pieces}");
    }
    let (all, outcome) = whole;
    let heads = |frames: &[(Head, Vec<u8>)]| frames.iter().map(|(head, _)| *head).collect::<Vec<_>>();
    let (passed_over, other) = read_frames(stream, 2 + usize::from(size), false);
    assert_eq!((heads(&passed_over), other), (heads(&all), outcome), "what is not taken is passed over");
    for (head, payload) in &all {
        if head.length != payload.len() as u64 {
            assert!(matches!(outcome, Err(Failure::Connection(Code::FrameError, _))), "cut short");
            break;
        }
        match head.kind {
            frames::HEADERS => section(payload),
            frames::SETTINGS if !payload.is_empty() && settings::check(payload).is_ok() => {
                assert!(settings::check(&[&payload[..], payload].concat()).is_err(), "the same twice");
            }
            _ => {}
        }
    }
}

/// Frames with what was taken of their payloads, and how their stream ended.
type ReadFrames = (Vec<(Head, Vec<u8>)>, Result<(), Failure>);

/// Pieces of a stream, before each of which there is nothing for a moment.
struct Pieces {
    pieces: VecDeque<Bytes>,
    waits: bool,
}

impl Source for Pieces {
    fn poll_piece(&mut self, bytes_max: usize, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        self.waits = !self.waits;
        if self.waits {
            return Poll::Pending;
        }
        let Some(mut piece) = self.pieces.pop_front() else { return Poll::Ready(Ok(None)) };
        if piece.len() > bytes_max {
            self.pieces.push_front(piece.split_off(bytes_max));
        }
        Poll::Ready(Ok(Some(piece)))
    }

    fn stop(&mut self, _: Code) {}
}

/// Reads a stream that comes in pieces of this size, with payloads whole or with what of them is there at once.
fn read_frames(stream: &[u8], size: usize, whole: bool) -> ReadFrames {
    let pieces = stream.chunks(size).map(Bytes::copy_from_slice).collect();
    let mut frames = Frames::new(Pieces { pieces, waits: false });
    let mut cx = Context::from_waker(Waker::noop());
    let mut all = Vec::new();
    loop {
        let head = match frames.poll_head(&mut cx) {
            Poll::Pending => continue,
            Poll::Ready(Ok(Some(head))) => head,
            Poll::Ready(end) => return (all, end.map(|_| ())),
        };
        let mut payload = Vec::new();
        let read = loop {
            match frames.poll_whole(&mut payload, &mut cx) {
                _ if !whole => break Ok(()),
                Poll::Pending => {}
                Poll::Ready(outcome) => break outcome,
            }
        };
        all.push((head, payload));
        if read.is_err() {
            return (all, read);
        }
    }
}

/// A section of fields, as the head of a request and as trailers.
fn section(section: &[u8]) {
    if let Some(fields) = qpack_fields(section) {
        let mut out = Vec::new();
        qpack::begin(&mut out);
        for (name, value) in &fields {
            qpack::write(&mut out, name, value);
        }
        let lower = |(name, value): (Vec<u8>, Vec<u8>)| (name.to_ascii_lowercase(), value);
        let lower: Vec<_> = fields.into_iter().map(lower).collect();
        assert_eq!(qpack_fields(&out), Some(lower), "what we write");
    }
    for ended in [false, true] {
        let (mut bytes, mut fields) = (Vec::new(), Fields::new());
        let key = || *b"dGhlIHNhbXBsZSBub25jZQ==";
        let limits = Limits::default();
        if let Ok(head) = translate::request(section, ended, &limits, key, &mut bytes, &mut fields) {
            check_asked(&head, &bytes, &fields);
        }
    }
    let (mut bytes, mut fields) = (Vec::new(), Fields::new());
    if translate::trailers(section, chunked::TRAILER_BYTES_MAX, &mut bytes, &mut fields).is_ok() {
        let mut out = Vec::new();
        encode::trailers(&mut out, &bytes, &fields);
        let again = decode(&out, out.len()).expect("what we write is sound").expect("and whole");
        let mut again_fields = Fields::new();
        chunked::trailer_fields(&again.trailers, &mut again_fields).expect("what we write is sound");
        assert_eq!(text(&again.trailers, &again_fields), text(&bytes, &fields));
    }
}

fn qpack_fields(section: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut section = Section::new(section).ok()?;
    let mut fields = Vec::new();
    while let Some((name, value)) = section.next().ok()? {
        let mut field = (Vec::new(), Vec::new());
        name.write(&mut field.0).ok()?;
        value.write(&mut field.1).ok()?;
        fields.push(field);
    }
    Some(fields)
}
