//! What every codec yields: the head of a request or a response, neutral of the HTTP version that carried it.
//!
//! Nothing is copied: names and values are [`Span`]s into the one buffer the head was read into. A span is only
//! meaningful together with that buffer, for as long as its bytes stay where they are. Buffers are bounded far
//! below 4 GiB, so offsets are 32 bits wide.

mod authority;
mod field_kind;
mod method;
mod target;

pub use authority::authority_is_valid;
pub use field_kind::{FieldKind, names_read_alike};
pub use method::Method;
pub use target::{path_is_valid, query_is_valid};

/// A range of bytes in the buffer that holds a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Span {
    /// The span from `start` to `end`.
    #[inline]
    pub fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && u32::try_from(end).is_ok());
        Self { start: start as u32, end: end as u32 }
    }

    /// The bytes of this span in the buffer that it was made for. Of any other buffer it may be empty, never a panic.
    #[inline]
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        buffer.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Length in bytes.
    #[inline]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there is nothing in it.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// One field line: its name and value without surrounding white space, and what its name means to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpan {
    /// The name as it was sent.
    pub name: Span,
    /// The value, without the white space around it.
    pub value: Span,
    /// What the name means, found once while parsing.
    pub kind: FieldKind,
}

/// The fields of a head in the order they came. The vector is the caller's, reused from one head to the next.
pub type Fields = Vec<FieldSpan>;

/// How the length of a message's content is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no content.
    None,
    /// So many bytes, announced beforehand; may be zero.
    Length(u64),
    /// Chunked transfer coding, or its like: the end is marked when it comes.
    Chunked,
    /// Until the connection closes; responses only. Such content may always have been cut short.
    UntilClose,
}

/// The version of HTTP that a message came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
    /// HTTP/3
    Http3,
}

impl Version {
    /// Whether a connection carries many exchanges at once, each framed for itself.
    pub fn has_streams(self) -> bool {
        matches!(self, Self::Http2 | Self::Http3)
    }
}

/// A request that was parsed and found sound. Spans are of the buffer it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method, if it is one we know.
    pub method: Method,
    /// The method as sent.
    pub method_span: Span,
    /// The path as sent, not normalised. Empty for an absolute-form target without one (it stands for `/`, or for
    /// `*` with OPTIONS, RFC 9112 section 3.2.4); `*` for the asterisk form.
    pub path: Span,
    /// What follows the first `?`.
    pub query: Option<Span>,
    /// Host and port: of an absolute-form target, which wins (RFC 9112 section 3.2.2), else of the Host field.
    /// Empty only for HTTP/1.0 requests without either.
    pub authority: Span,
    /// The version the client speaks.
    pub version: Version,
    /// How long the content is; never [`Framing::UntilClose`].
    pub framing: Framing,
    /// Whether the client lets the connection live on after this exchange.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends content.
    pub expect_continue: bool,
    /// The Upgrade field, when the connection may really change protocol: HTTP/1.1, `Connection: upgrade`, one
    /// field, and nothing in it that would carry HTTP past us (`h2c`, `TLS/1.0`).
    pub upgrade: Option<Span>,
    /// Whether the client takes trailer fields (`TE: trailers`).
    pub te_trailers: bool,
    /// Bytes of the head, from the start of the buffer, empty lines before it included.
    pub head_bytes: u32,
}

impl RequestHead {
    /// The path to be sent in origin form, or `*`. `bytes` is the buffer that the head was parsed from.
    pub fn origin_path<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        match self.path.of(bytes) {
            // RFC 9112 section 3.2.4: only where there is no query either.
            b"" if self.method == Method::Options && self.query.is_none() => b"*",
            b"" => b"/",
            path => path,
        }
    }
}

/// A response head that was parsed and found sound. Spans are of the buffer it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// 100 to 599.
    pub status: u16,
    /// The reason phrase as sent, often empty.
    pub reason: Span,
    /// The version the endpoint speaks.
    pub version: Version,
    /// How long the content is; [`Framing::None`] for answers to HEAD and for 1xx, 204 and 304.
    pub framing: Framing,
    /// What Content-Length said, which HEAD and 304 have without content.
    pub content_length: Option<u64>,
    /// Whether the endpoint lets the connection live on.
    pub keep_alive: bool,
    /// `Keep-Alive: timeout=`, in seconds.
    pub keep_alive_timeout_s: Option<u32>,
    /// The Upgrade field of a 101: the protocol the endpoint changes to.
    pub upgrade: Option<Span>,
    /// Bytes of the head from the start of the buffer.
    pub head_bytes: u32,
}
