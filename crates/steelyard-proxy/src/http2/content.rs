//! The content of one direction of a stream, given out piece by piece. The peer may send more only once a piece has been
//! taken.

use super::translate;
use crate::codec::{Piece, Trailers};
use crate::head::FieldSpan;
use bytes::Bytes;
use h2::RecvStream;
use std::task::{Context, Poll, Waker, ready};

/// Where content stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is none, whatever comes, until it becomes a tunnel.
    Shut,
    /// There may be more.
    Open,
    /// Its end has come.
    Arrived,
    /// Its end has been given out.
    Ended,
}

/// What a stream carries towards us.
#[derive(Debug)]
pub(super) struct Content {
    body: RecvStream,
    /// What has come and was not given out.
    next: Bytes,
    /// What was given out last.
    given: Bytes,
    state: State,
    section: Vec<u8>,
    fields: Vec<FieldSpan>,
}

impl Content {
    /// The content of a message; `shut` = its head says that there is none.
    pub fn new(body: RecvStream, shut: bool) -> Self {
        let state = if shut { State::Shut } else { State::Open };
        Self { body, next: Bytes::new(), given: Bytes::new(), state, section: Vec::new(), fields: Vec::new() }
    }

    /// From here on it is whatever comes.
    pub fn become_tunnel(&mut self) {
        self.state = State::Open;
    }

    /// Whether its end has been given out.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether some has come that was not given out.
    pub fn has_unread(&self) -> bool {
        !self.next.is_empty()
    }

    /// What has already come; `None` = [`Content::poll`] must bring more. Whatever was given out before has been taken.
    pub fn arrived(&mut self) -> Result<Option<Piece<'_>>, h2::Error> {
        let taken = std::mem::take(&mut self.given).len();
        if taken > 0 {
            // What belongs to a stream that is gone is released with it.
            let _ = self.body.flow_control().release_capacity(taken);
        }
        match self.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => return Ok(None),
            Poll::Ready(outcome) => outcome?,
        }
        if self.next.is_empty() {
            self.state = State::Ended;
            return Ok(Some(Piece::End(Trailers { section: &self.section, fields: &self.fields })));
        }
        self.given = std::mem::take(&mut self.next);
        Ok(Some(Piece::Data(&self.given)))
    }

    /// Ready when there is something to give out.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        while self.state == State::Open && self.next.is_empty() {
            if let Some(data) = ready!(self.body.poll_data(cx)) {
                self.next = data?;
                continue;
            }
            if let Some(trailers) = ready!(self.body.poll_trailers(cx))? {
                translate::trailers(&trailers, &mut self.section, &mut self.fields);
            }
            self.state = State::Arrived;
        }
        Poll::Ready(Ok(()))
    }
}
