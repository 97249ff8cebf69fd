//! One request and its answer.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;

use crate::alphabet;
use crate::behaviour::Behaviour;
use crate::body::Body;
use crate::date;
use crate::head::{self, Framing, Head, Method};
use crate::shared::{InFlight, Shared};
use crate::wire::{BUFFER_BYTES_MAX, Wire};

/// How much of a body `/echo` gives back.
const ECHO_BYTES_MAX: usize = 64 * 1024;

/// What becomes of the connection.
pub(crate) enum After {
    Keep,
    KeepFor(Duration),
    Close,
    Reset,
    Echo,
}

/// How an answer's body ends.
#[derive(Clone, Copy)]
pub(crate) enum Ends {
    Length(u64),
    Chunked,
    Connection,
    /// There is none, and no field that says so.
    Bodiless,
}

pub(crate) struct Exchange<'a> {
    pub(crate) wire: &'a mut Wire,
    pub(crate) shared: &'a Shared,
    pub(crate) head: Head,
    /// The head's bytes, kept where the answer repeats them.
    raw: Vec<u8>,
    pub(crate) body: Body,
    served: u64,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(wire: &'a mut Wire, shared: &'a Shared, mut head: Head, served: u64) -> Self {
        if !head.behaviour.is_instrument()
            && let Some(fault) = shared.fault()
        {
            head.behaviour = fault;
        }
        let raw = match head.behaviour {
            Behaviour::Echo | Behaviour::Raw { .. } => wire.input()[..head.size].to_vec(),
            _ => Vec::new(),
        };
        wire.consume(head.size);
        let body = Body::new(head.framing);
        Self { wire, shared, head, raw, body, served }
    }

    pub(crate) async fn run(mut self) -> io::Result<After> {
        if self.head.behaviour.is_instrument() {
            return self.instrument().await;
        }
        let shared = self.shared;
        let _in_flight = InFlight::enter(&shared.counts);
        let _turn = match &shared.busy {
            Some(busy) => {
                self.wire.flush().await?;
                tokio::select! {
                    biased;
                    permit = busy.acquire() => permit.ok(),
                    error = self.wire.gone() => return Err(error),
                }
            }
            None => None,
        };
        let delay = shared.delay();
        if !delay.is_zero() {
            self.wire.pause(delay).await?;
        }
        self.answer().await
    }

    async fn answer(&mut self) -> io::Result<After> {
        let behaviour = std::mem::replace(&mut self.head.behaviour, Behaviour::Page);
        match behaviour {
            Behaviour::Page => {
                self.receive().await?;
                Ok(self.page(self.shared.status))
            }
            Behaviour::Status(status) => {
                self.receive().await?;
                Ok(self.page(status))
            }
            Behaviour::Delay(time) => {
                self.receive().await?;
                self.wire.pause(time).await?;
                Ok(self.page(self.shared.status))
            }
            Behaviour::NoContent => self.bodiless(204, &[]).await,
            Behaviour::NotModified => {
                // A 304 may name the length of what it does not send: a trap for whoever frames by it.
                self.bodiless(304, &[("etag", "\"1\""), ("content-length", "62")]).await
            }
            Behaviour::Bytes(bytes) => self.bytes(bytes, Ends::Length(bytes)).await,
            Behaviour::CloseDelimited(bytes) => self.bytes(bytes, Ends::Connection).await,
            Behaviour::Chunked { pieces, bytes, trailer } => self.chunked(pieces, bytes, trailer).await,
            Behaviour::Echo => self.echo().await,
            Behaviour::EchoBody => self.echo_body().await,
            Behaviour::Malformed => {
                self.receive().await?;
                Ok(self.text(400, &[], b"this path is not understood"))
            }
            other => self.misbehave(other).await,
        }
    }

    /// Reads the body to its end; asks for it first where the client waits to be asked.
    pub(crate) async fn receive(&mut self) -> io::Result<()> {
        self.go_on();
        self.body.drain(self.wire).await
    }

    fn go_on(&mut self) {
        if self.head.expects_continue && self.head.minor == 1 && !self.body.is_done() {
            self.wire.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.head.expects_continue = false;
        }
    }

    /// Appends the head of a final answer.
    pub(crate) fn begin(&mut self, status: u16, fields: &[(&str, &str)], ends: Ends) {
        if matches!(ends, Ends::Connection) {
            self.head.keep_alive = false;
        }
        let output = &mut self.wire.output;
        output.extend_from_slice(status_line(status));
        if output.ends_with(b" ") {
            // Writing to a vector cannot fail.
            let _ = write!(output, "{status} Status\r\n");
        }
        output.extend_from_slice(b"x-origin: ");
        output.extend_from_slice(self.shared.name.as_bytes());
        output.extend_from_slice(b"\r\ndate: ");
        date::append(output);
        output.extend_from_slice(b"\r\n");
        match ends {
            Ends::Length(length) => {
                let _ = write!(output, "content-type: text/plain\r\ncontent-length: {length}\r\n");
            }
            Ends::Chunked => output.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Ends::Connection | Ends::Bodiless => {}
        }
        for (name, value) in fields {
            let _ = write!(output, "{name}: {value}\r\n");
        }
        match (self.head.keep_alive, self.head.minor) {
            (false, _) => output.extend_from_slice(b"connection: close\r\n"),
            (true, 0) => output.extend_from_slice(b"connection: keep-alive\r\n"),
            (true, _) => {}
        }
        output.extend_from_slice(b"\r\n");
    }

    /// A whole answer with a body at hand.
    pub(crate) fn text(&mut self, status: u16, fields: &[(&str, &str)], body: &[u8]) -> After {
        self.begin(status, fields, Ends::Length(body.len() as u64));
        if self.head.method != Method::Head {
            self.wire.output.extend_from_slice(body);
        }
        self.after()
    }

    /// The ordinary page, with a status.
    pub(crate) fn page(&mut self, status: u16) -> After {
        let shared = self.shared;
        match status {
            204 | 304 => {
                self.begin(status, &[], Ends::Bodiless);
                self.after()
            }
            _ => self.text(status, &[], &shared.page),
        }
    }

    pub(crate) fn after(&self) -> After {
        if self.head.keep_alive { After::Keep } else { After::Close }
    }

    /// `count` bytes of the alphabet, from its start.
    pub(crate) async fn alphabet(&mut self, count: u64) -> io::Result<()> {
        let block = alphabet::BLOCK.as_slice();
        let mut left = count;
        while left > 0 {
            let take = left.min(block.len() as u64);
            self.wire.write(&block[..take as usize]).await?;
            left -= take;
        }
        Ok(())
    }

    async fn bodiless(&mut self, status: u16, fields: &[(&str, &str)]) -> io::Result<After> {
        self.receive().await?;
        self.begin(status, fields, Ends::Bodiless);
        Ok(self.after())
    }

    async fn bytes(&mut self, count: u64, ends: Ends) -> io::Result<After> {
        self.receive().await?;
        self.begin(200, &[], ends);
        if self.head.method != Method::Head {
            self.alphabet(count).await?;
        }
        Ok(self.after())
    }

    async fn chunked(&mut self, pieces: u64, bytes: u64, trailer: bool) -> io::Result<After> {
        self.receive().await?;
        let (chunked, announced) = (self.head.minor == 1, [("trailer", "x-checksum")]);
        let fields = if trailer && chunked { &announced[..] } else { &[] };
        self.begin(200, fields, if chunked { Ends::Chunked } else { Ends::Connection });
        if self.head.method == Method::Head {
            return Ok(self.after());
        }
        for _ in 0..pieces {
            if chunked {
                self.wire.write(format!("{bytes:x}\r\n").as_bytes()).await?;
            }
            self.alphabet(bytes).await?;
            if chunked {
                self.wire.write(b"\r\n").await?;
                // Each chunk leaves by itself, as it would from a program that makes it piece by piece.
                self.wire.flush().await?;
            }
        }
        if chunked {
            let checksum = trailer.then(|| format!("x-checksum: {}\r\n", pieces * alphabet::sum(bytes)));
            self.wire.write(format!("0\r\n{}\r\n", checksum.unwrap_or_default()).as_bytes()).await?;
        }
        Ok(self.after())
    }

    async fn echo(&mut self) -> io::Result<After> {
        self.go_on();
        let (mut piece, mut kept) = (Vec::new(), Vec::new());
        while self.body.read(self.wire, &mut piece).await? {
            let room = ECHO_BYTES_MAX - kept.len();
            kept.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        let framing = match self.head.framing {
            Framing::NONE => "none",
            Framing::Length(_) => "length",
            Framing::Chunked => "chunked",
        };
        let line = head::with_request(&self.raw, |_, request| {
            let field =
                |field: &httparse::Header<'_>| json!([field.name, String::from_utf8_lossy(field.value)]);
            Ok(json!({
                "origin": self.shared.name,
                "method": request.method,
                "target": request.path,
                "version": format!("HTTP/1.{}", self.head.minor),
                "headers": request.headers.iter().map(field).collect::<Vec<_>>(),
                "framing": framing,
                "body_bytes": self.body.bytes,
                "body": String::from_utf8_lossy(&kept),
                "trailers": self.body.trailers,
                "requests_before": self.served,
            }))
        });
        // The head was parsed before, so it parses again.
        let line = line.ok().flatten().unwrap_or_default();
        Ok(self.text(200, &[], line.to_string().as_bytes()))
    }

    async fn echo_body(&mut self) -> io::Result<After> {
        self.go_on();
        let ends = match self.head.framing {
            Framing::Length(length) => Ends::Length(length),
            Framing::Chunked => Ends::Chunked,
        };
        self.begin(200, &[], ends);
        let mut piece = Vec::with_capacity(BUFFER_BYTES_MAX);
        let chunked = matches!(ends, Ends::Chunked) && self.head.method != Method::Head;
        while self.body.read(self.wire, &mut piece).await? {
            if chunked {
                self.wire.write(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
            }
            if self.head.method != Method::Head {
                self.wire.write(&piece).await?;
            }
            if chunked {
                self.wire.write(b"\r\n").await?;
            }
        }
        if chunked {
            self.wire.write(b"0\r\n\r\n").await?;
        }
        Ok(self.after())
    }

    /// The head's bytes, for behaviours that keep them.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }
}

/// The status line of the common statuses; of others only its beginning.
fn status_line(status: u16) -> &'static [u8] {
    match status {
        200 => b"HTTP/1.1 200 OK\r\n",
        204 => b"HTTP/1.1 204 No Content\r\n",
        304 => b"HTTP/1.1 304 Not Modified\r\n",
        400 => b"HTTP/1.1 400 Bad Request\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        405 => b"HTTP/1.1 405 Method Not Allowed\r\n",
        426 => b"HTTP/1.1 426 Upgrade Required\r\n",
        500 => b"HTTP/1.1 500 Internal Server Error\r\n",
        502 => b"HTTP/1.1 502 Bad Gateway\r\n",
        503 => b"HTTP/1.1 503 Service Unavailable\r\n",
        _ => b"HTTP/1.1 ",
    }
}
