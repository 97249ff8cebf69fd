//! The response to a client on a stream.

use super::code::Code;
use super::frames;
use super::stream::SharedBack;
use super::{translate, varint};
use crate::codec::{Answer, Parts, Trailers, WriteContent};
use crate::fault::Fault;
use crate::head::ResponseHead;
use crate::http1::encode::{Local, ResponseEdit};
use crate::timer::Timer;
use bytes::{Bytes, BytesMut};

/// Content is gathered up to this size before it goes to the connection.
const GATHER_BYTES_MAX: usize = 16 * 1024;

/// How much of a response has gone to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fresh,
    Begun,
    Ended,
}

/// A response as it is written.
#[derive(Debug)]
pub(super) struct AnswerStream<'t> {
    back: SharedBack,
    timer: &'t Timer,
    patience_ms: Option<u64>,
    /// Frames of heads that were gathered and have not gone.
    heads: Vec<u8>,
    /// Content that was gathered and has not gone.
    gathered: BytesMut,
    /// Whether what was gathered is all.
    whole: bool,
    stage: Stage,
    /// Whether the client speaks gRPC.
    grpc: bool,
}

impl<'t> AnswerStream<'t> {
    /// Begins a response. A write that moves nothing for `patience_ms` fails.
    pub fn new(back: SharedBack, timer: &'t Timer, patience_ms: Option<u64>) -> Self {
        Self {
            back,
            timer,
            patience_ms,
            heads: Vec::new(),
            gathered: BytesMut::new(),
            whole: false,
            stage: Stage::Fresh,
            grpc: false,
        }
    }

    /// The client speaks gRPC.
    pub fn speaks_grpc(&mut self) {
        self.grpc = true;
    }

    /// Whether all of it has gone.
    pub fn is_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// What was gathered and has not gone is not to go.
    fn forget(&mut self) {
        self.heads.clear();
        self.gathered.clear();
    }

    /// Gathers a frame of fields.
    fn gather(&mut self, section: &[u8]) {
        varint::write(&mut self.heads, frames::HEADERS);
        varint::write(&mut self.heads, section.len() as u64);
        self.heads.extend_from_slice(section);
    }

    /// Sends what was gathered, with which the response ends where `end` says so.
    async fn push(&mut self, end: bool) -> Result<(), Fault> {
        let content = self.gathered.split().freeze();
        if !content.is_empty() {
            varint::write(&mut self.heads, frames::DATA);
            varint::write(&mut self.heads, content.len() as u64);
        }
        let heads = Bytes::from(std::mem::take(&mut self.heads));
        if !(heads.is_empty() && content.is_empty()) {
            // Only once it has gone, whole or in part, is there no way back.
            self.stage = Stage::Begun;
            self.back.write(&mut [heads, content], self.timer, self.patience_ms).await?;
        }
        if end {
            self.back.finish()?;
            self.stage = Stage::Ended;
        }
        Ok(())
    }
}

impl WriteContent for AnswerStream<'_> {
    async fn data(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() < GATHER_BYTES_MAX {
            return Ok(());
        }
        self.push(false).await
    }

    async fn end(&mut self, trailers: Trailers<'_>) -> Result<(), Fault> {
        if trailers.fields.is_empty() {
            return self.push(true).await;
        }
        self.push(false).await?;
        let mut section = Vec::new();
        translate::write_trailers(trailers, &mut section);
        self.gather(&section);
        self.push(true).await
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        if self.is_ended() { Ok(()) } else { self.push(self.whole).await }
    }
}

impl Answer for AnswerStream<'_> {
    fn head(&mut self, response: Parts<'_, ResponseHead>, edit: &ResponseEdit<'_>) {
        self.forget();
        let mut section = Vec::with_capacity(response.head.head_bytes as usize + 64);
        translate::response(response, edit, &mut section);
        self.gather(&section);
        self.stage = Stage::Fresh;
    }

    fn interim(&mut self, response: Parts<'_, ResponseHead>) {
        let mut section = Vec::new();
        translate::interim(response, &mut section);
        self.gather(&section);
    }

    fn local(&mut self, answer: &Local<'_>) {
        self.forget();
        let mut section = Vec::new();
        let body = translate::local(answer, self.grpc, &mut section);
        self.gather(&section);
        self.gathered = BytesMut::from(body);
        self.whole = true;
    }

    fn become_tunnel(&mut self, patience_ms: Option<u64>) {
        self.patience_ms = patience_ms;
    }

    fn is_begun(&self) -> bool {
        self.stage != Stage::Fresh
    }

    fn break_off(&mut self) {
        self.forget();
        self.back.reset(Code::InternalError);
    }
}

impl Drop for AnswerStream<'_> {
    /// What was not finished must not look as if it were.
    fn drop(&mut self) {
        if !self.is_ended() {
            self.back.reset(Code::InternalError);
        }
    }
}
