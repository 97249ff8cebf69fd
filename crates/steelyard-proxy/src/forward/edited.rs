//! Trailers towards an endpoint: what a route sets or removes does not pass in them either.

use crate::codec::{Sink, Trailers, WriteContent};
use crate::fault::Fault;
use crate::head::FieldSpan;
use crate::http1::encode::RequestEdit;
use std::cell::Cell;

/// A request's content on its way to the endpoint, its trailers edited as its head was.
pub(super) struct Edited<'a, A> {
    pub ask: &'a mut A,
    pub edit: &'a RequestEdit<'a>,
    /// Whether content is kept for another try, so that it has to be looked at.
    pub keeps: &'a Cell<bool>,
}

impl<A: WriteContent> WriteContent for Edited<'_, A> {
    async fn data(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.ask.data(bytes).await
    }

    async fn end(&mut self, trailers: Trailers<'_>) -> Result<(), Fault> {
        let Trailers { section, fields } = trailers;
        let is_edited = |field: &FieldSpan| self.edit.edits(field.name.of(section));
        if !fields.iter().any(is_edited) {
            return self.ask.end(trailers).await;
        }
        let fields: Vec<_> = fields.iter().filter(|field| !is_edited(field)).copied().collect();
        self.ask.end(Trailers { section, fields: &fields }).await
    }

    fn sink(&self) -> Option<Sink<'_>> {
        if self.keeps.get() { None } else { self.ask.sink() }
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        self.ask.flush().await
    }
}
