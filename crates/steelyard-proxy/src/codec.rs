//! What the story of a request needs of a codec, whatever version of HTTP it speaks.
//!
//! There are four parts, two on each side: the client's question is [`Asked`] and gets its [`Answer`]; the endpoint
//! is sent an [`Ask`] and has [`Answered`]. Each part can be used while its neighbour is, so that both directions
//! move at once.

use crate::fault::{Fault, Side};
use crate::head::{FieldSpan, RequestHead, ResponseHead};
use crate::http1::encode::{Local, RequestEdit, ResponseEdit};
use crate::timer::GiveUp;
use crate::transport::Transport;

/// The fields of a trailer section and the bytes that their spans are of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trailers<'a> {
    /// What the spans point into.
    pub section: &'a [u8],
    /// The fields.
    pub fields: &'a [FieldSpan],
}

/// What content yields next.
#[derive(Debug)]
pub enum Piece<'a> {
    /// Some of it; never empty.
    Data(&'a [u8]),
    /// Its end.
    End(Trailers<'a>),
}

/// Where the rest of some content comes from as it is.
#[derive(Debug, Clone, Copy)]
pub struct Source<'t> {
    /// In clear text.
    pub transport: &'t Transport,
    /// Whose it is.
    pub side: Side,
    /// How many bytes follow.
    pub left: u64,
}

/// Where content goes as it is.
#[derive(Debug, Clone, Copy)]
pub struct Sink<'t> {
    /// In clear text.
    pub transport: &'t Transport,
    /// Whose it is.
    pub side: Side,
    /// How long a write may move nothing.
    pub patience_ms: Option<u64>,
}

/// Reads the content of a message, without copying.
pub trait ReadContent {
    /// What has already arrived; `None` = [`ReadContent::fill`] must bring more.
    fn arrived(&mut self) -> Result<Option<Piece<'_>>, Fault>;
    /// Reads more. Nothing is lost when it is dropped.
    async fn fill(&mut self, give_up: GiveUp) -> Result<(), Fault>;
    /// Where so much more comes from that it is worth not to be looked at; [`ReadContent::passed`] hears of it.
    fn source(&self) -> Option<Source<'_>> {
        None
    }
    /// So much has been taken from the source.
    fn passed(&mut self, _count: usize) {}
    /// Whether the end has been given out.
    fn is_ended(&self) -> bool;
    /// Whether bytes have arrived that have not been given out, be they of the content or behind it.
    fn has_unread(&self) -> bool;
}

/// Writes a message. Small writes are gathered until a flush.
pub trait WriteContent {
    /// Some content; never empty.
    async fn data(&mut self, bytes: &[u8]) -> Result<(), Fault>;
    /// The end of the content.
    async fn end(&mut self, trailers: Trailers<'_>) -> Result<(), Fault>;
    /// Where content may go without being looked at; nothing is gathered then.
    fn sink(&self) -> Option<Sink<'_>> {
        None
    }
    /// Sends what was gathered.
    async fn flush(&mut self) -> Result<(), Fault>;
}

/// A head that was read: its fields and the bytes that all spans are of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a, H> {
    /// What was found in it.
    pub head: &'a H,
    /// Its fields.
    pub fields: &'a [FieldSpan],
    /// What the spans point into.
    pub bytes: &'a [u8],
}

/// A client's request.
pub trait Asked: ReadContent {
    /// Its head.
    fn request(&self) -> Parts<'_, RequestHead>;
    /// Waits until the client has gone away.
    async fn gone(&self);
    /// Waits until the client has given up on this, where that can be seen before all of it has been read.
    fn given_up(&self) -> impl Future<Output = ()> + use<Self>;
    /// From here on the content is whatever comes, to the end of the connection.
    fn become_tunnel(&mut self);
}

/// The response to a client.
pub trait Answer: WriteContent {
    /// Gathers the head of an endpoint's response.
    fn head(&mut self, response: Parts<'_, ResponseHead>, edit: &ResponseEdit<'_>);
    /// Gathers an interim response.
    fn interim(&mut self, response: Parts<'_, ResponseHead>);
    /// Gathers a whole response of our own.
    fn local(&mut self, answer: &Local<'_>);
    /// From here on content goes out as it is, and a write that moves nothing for `patience_ms` fails.
    fn become_tunnel(&mut self, patience_ms: Option<u64>);
    /// Whether any byte of what was gathered since the last head has been sent.
    fn is_begun(&self) -> bool;
    /// Lets the client see that a response which has begun was not finished.
    fn break_off(&mut self);
}

/// A request to an endpoint.
pub trait Ask: WriteContent {
    /// Gathers the head and says how many bytes it has.
    fn head(&mut self, request: Parts<'_, RequestHead>, edit: &RequestEdit<'_>) -> usize;
    /// From here on content goes out as it is, and a write that moves nothing for `patience_ms` fails.
    fn become_tunnel(&mut self, patience_ms: Option<u64>);
}

/// An endpoint's response.
pub trait Answered: ReadContent {
    /// Reads the next head, interim ones included.
    async fn head(&mut self, asked: crate::head::Method) -> Result<ResponseHead, Fault>;
    /// The head that was read last.
    fn response(&self) -> Parts<'_, ResponseHead>;
    /// From here on the content is whatever comes, to the end of the connection.
    fn become_tunnel(&mut self);
    /// Whether the response has ended cleanly and the connection can carry another exchange.
    fn is_reusable(&self) -> bool;
}
