//! One question to an endpoint for its own load, over a connection that is kept for the next.

mod streams;

use super::probe::{spoken_first, uri};
use crate::proxied;
use crate::tls::{PoolTls, Spoken};
use http::Uri;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use steelyard_core::document::{self, ProxyVersion};
use steelyard_core::endpoint::Address;
use steelyard_core::report::{REPORT_BYTES_MAX, REPORT_FIELD, Report};
use streams::Streams;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Where endpoints are asked, unless configured.
const PATH: &str = "/.steelyard/load";
/// How long an answer may take, unless configured.
const TIMEOUT_MS: u64 = 50;
/// How long opening a connection may take, where the pool does not bound it.
const OPEN_MS_MAX: u64 = 10_000;
/// Bytes of a head that are looked at.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Fields of a head that are looked at.
const FIELDS_MAX: usize = 100;

/// What carries questions.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Debug + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Debug + 'static> Stream for S {}

/// A connection to an endpoint on which questions are asked, one after the other.
#[derive(Debug)]
pub(super) enum Line {
    Http1(Box<dyn Stream>),
    Http2(Streams),
}

/// What there is of a connection between two questions.
#[derive(Debug)]
pub(super) enum Kept {
    /// One that lies idle.
    Line(Line),
    /// One that is still being opened.
    Opening(Opening),
}

/// A connection that is being opened on a task of its own, so that it outlives the question which began it. That ends
/// with this.
#[derive(Debug)]
pub(super) struct Opening(JoinHandle<io::Result<Line>>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A question.
#[derive(Debug, Clone)]
pub(super) struct Question {
    address: Address,
    /// In HTTP/1.1.
    request: Vec<u8>,
    /// In HTTP/2.
    uri: Uri,
    /// How long it may take to be answered, and before that to wait for a connection.
    limit: Duration,
    /// How long it may take to open a connection, which it need not wait for.
    open_limit: Duration,
    /// What is spoken where nothing else is agreed on.
    spoken: Spoken,
    /// TLS, and the name that the endpoint was configured with.
    tls: Option<(Arc<PoolTls>, String)>,
    /// The header of the PROXY protocol that a connection begins with.
    header: Vec<u8>,
}

/// What came of it, and what is left of the connection that can be used again.
pub(super) type Answer = (Outcome, Option<Kept>);

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    /// The endpoint reports its load.
    Report(Report),
    /// It says nothing of use.
    Nothing,
    /// It has not been asked, since the connection is still being opened.
    PutOff,
}

/// How the bytes of an answer end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// After so many of the body.
    After(usize),
    /// With the connection.
    WithConnection,
}

/// A head that was read.
#[derive(Debug)]
struct Head {
    size: usize,
    good: bool,
    field: Option<Report>,
    ends: Ends,
    keep: bool,
}

impl Question {
    /// The question that a pool asks an endpoint, which was configured as `configured`.
    pub fn new(config: &document::Pool, address: Address, configured: &str) -> Self {
        let policy = &config.policy;
        let path = policy.probe_path.as_deref().unwrap_or(PATH);
        let host = if configured.starts_with("unix:") { "localhost" } else { configured };
        let version = env!("CARGO_PKG_VERSION");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: steelyard/{version}\r\nAccept: */*\r\n\r\n"
        );
        let (spoken, scheme) = spoken_first(config.protocol);
        Self {
            address,
            request: request.into_bytes(),
            uri: uri(path, &scheme, host),
            limit: Duration::from_millis(policy.probe_timeout_ms.unwrap_or(TIMEOUT_MS)),
            open_limit: Duration::from_millis(config.timeouts.connect_ms.unwrap_or(OPEN_MS_MAX)),
            spoken,
            tls: None,
            header: Vec::new(),
        }
    }

    /// The same over TLS, to an endpoint that was configured as `configured`.
    #[must_use]
    pub fn over(self, tls: Option<&Arc<PoolTls>>, configured: &str) -> Self {
        Self { tls: tls.map(|tls| (Arc::clone(tls), configured.to_owned())), ..self }
    }

    /// The same to an endpoint that wants to be told whose each connection is: this is nobody's.
    #[must_use]
    pub fn announced(mut self, version: Option<ProxyVersion>) -> Self {
        if let Some(version) = version {
            proxied::local(version, &mut self.header);
        }
        self
    }

    /// Asks; waits no longer than its limit for a connection, and no longer than that for an answer.
    pub async fn ask(self, kept: Option<Kept>) -> Answer {
        let mut opening = match kept {
            Some(Kept::Opening(opening)) => opening,
            Some(Kept::Line(line)) => match self.ask_on(line).await {
                Ok(answer) => return answer,
                // The endpoint has closed it meanwhile.
                Err(_) => self.open_apart(),
            },
            None => self.open_apart(),
        };
        match timeout(self.limit, &mut opening.0).await {
            Err(_) => (Outcome::PutOff, Some(Kept::Opening(opening))),
            Ok(Ok(Ok(line))) => self.ask_on(line).await.unwrap_or((Outcome::Nothing, None)),
            Ok(_) => (Outcome::Nothing, None),
        }
    }

    /// Begins to open a connection.
    fn open_apart(&self) -> Opening {
        let (question, limit) = (self.clone(), self.open_limit);
        Opening(tokio::spawn(async move { timeout(limit, question.open()).await? }))
    }

    async fn open(&self) -> io::Result<Line> {
        match &self.address {
            Address::Socket(address) => {
                let stream = TcpStream::connect(address).await?;
                // Without it a question may wait for the acknowledgement of the last.
                let _ = stream.set_nodelay(true);
                self.begin(stream).await
            }
            Address::Unix(path) => self.begin(UnixStream::connect(path).await?).await,
        }
    }

    /// Says first whose the connection is where that is wanted, then begins TLS where the pool speaks it, and HTTP/2
    /// where that is spoken.
    async fn begin(&self, mut stream: impl Stream) -> io::Result<Line> {
        stream.write_all(&self.header).await?;
        let (stream, spoken): (Box<dyn Stream>, _) = match &self.tls {
            None => (Box::new(stream), self.spoken),
            Some((tls, configured)) => {
                let (stream, spoken) = tls.connect(configured, stream).await?;
                (Box::new(stream), spoken)
            }
        };
        Ok(match spoken {
            Spoken::Http1 => Line::Http1(stream),
            Spoken::Http2 => Line::Http2(Streams::begin(stream).await?),
        })
    }

    /// Asks over a connection, which ends when the answer takes too long. An error is one that had ended before any.
    async fn ask_on(&self, mut line: Line) -> io::Result<Answer> {
        let asking = async {
            match &mut line {
                Line::Http1(stream) => ask(stream, &self.request).await,
                Line::Http2(streams) => streams.ask(self.uri.clone()).await.map_err(io::Error::other),
            }
        };
        let Ok(asked) = timeout(self.limit, asking).await else { return Ok((Outcome::Nothing, None)) };
        let (report, keep) = asked?;
        Ok((report.map_or(Outcome::Nothing, Outcome::Report), keep.then_some(Kept::Line(line))))
    }
}

/// Asks; says what the endpoint reports and whether the connection can be used again. An error is a connection that
/// ended before any answer.
async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
) -> io::Result<(Option<Report>, bool)> {
    stream.write_all(request).await?;
    let mut bytes = Vec::with_capacity(512);
    let head = loop {
        match parse(&bytes) {
            Ok(Some(head)) => break head,
            Ok(None) if bytes.len() < HEAD_BYTES_MAX => {}
            _ => return Ok((None, false)),
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let (wanted, mut whole) = match head.ends {
        Ends::After(size) if size > REPORT_BYTES_MAX => return Ok((head.report(b""), false)),
        Ends::After(size) => (size, true),
        Ends::WithConnection => (REPORT_BYTES_MAX + 1, false),
    };
    while bytes.len() < head.size + wanted {
        if stream.read_buf(&mut bytes).await? == 0 {
            if whole {
                return Ok((None, false));
            }
            break;
        }
    }
    // More than was announced is no answer to this question.
    whole &= bytes.len() == head.size + wanted;
    Ok((head.report(&bytes[head.size..]), whole && head.keep))
}

impl Head {
    fn report(&self, body: &[u8]) -> Option<Report> {
        if !self.good {
            return None;
        }
        self.field.or_else(|| Report::from_json(body))
    }
}

/// The head of an answer; `None` as long as it has not all come, an error where it is none.
fn parse(bytes: &[u8]) -> Result<Option<Head>, httparse::Error> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(size) = response.parse(bytes)? else { return Ok(None) };
    let values = |name: &str| {
        let name = name.to_owned();
        let named = move |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(&name);
        let texts = response.headers.iter().filter(named);
        texts.map(|field| std::str::from_utf8(field.value).unwrap_or_default())
    };
    let framed = values("transfer-encoding").next().is_some();
    let length = values("content-length").next().filter(|_| !framed);
    let closes = values("connection").any(|value| value.to_ascii_lowercase().contains("close"));
    Ok(Some(Head {
        size,
        good: response.code == Some(200),
        field: values(REPORT_FIELD).next().and_then(Report::from_field),
        ends: match length {
            Some(length) => Ends::After(length.parse().map_err(|_| httparse::Error::HeaderValue)?),
            None => Ends::WithConnection,
        },
        keep: response.version == Some(1) && !closes,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    const THREE: Option<Report> = Some(Report { in_flight: 3, latency_s: 0.0125 });

    /// What is made of these bytes, after which the endpoint stays on the line or hangs up.
    fn said(answer: &[u8], hangs_up: bool) -> Option<(Option<Report>, bool)> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut near, mut far) = duplex(64 * 1024);
            far.write_all(answer).await.unwrap();
            let mut rest = Some(far);
            if hangs_up {
                rest.take().unwrap().shutdown().await.unwrap();
            }
            ask(&mut near, b"").await.ok()
        })
    }

    #[test]
    fn a_report_is_read_and_the_connection_kept() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n{\"in_flight\": 3, \"latency_ms\": 12.5}";
        assert_eq!(said(answer, false), Some((THREE, true)));
        let field = b"HTTP/1.1 200 OK\r\nX-Steelyard-Load: in_flight=3, latency_ms=12.5\r\n\
            content-length: 2\r\n\r\nok";
        assert_eq!(said(field, false), Some((THREE, true)));
    }

    #[test]
    fn a_connection_that_ends_is_not_kept() {
        let old = b"HTTP/1.0 200 OK\r\n\r\n{\"in_flight\": 3, \"latency_ms\": 12.5}";
        assert_eq!(said(old, true), Some((THREE, false)));
        let close = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 36\r\n\r\n\
            {\"in_flight\": 3, \"latency_ms\": 12.5}";
        assert_eq!(said(close, false), Some((THREE, false)));
    }

    #[test]
    fn anything_else_is_no_report() {
        for answer in [
            &b"HTTP/1.1 404 Not Found\r\nContent-Length: 36\r\n\r\n{\"in_flight\": 3, \"latency_ms\": 12.5}"
                [..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
            b"nonsense\r\n\r\n",
        ] {
            let (report, _) = said(answer, true).expect("it is an answer");
            assert_eq!(report, None, "{}", String::from_utf8_lossy(answer));
        }
        let endless = [b"HTTP/1.1 200 OK\r\n\r\n", vec![b' '; 8 * 1024].as_slice()].concat();
        assert_eq!(said(&endless, false), Some((None, false)));
    }

    #[test]
    fn a_connection_closed_before_any_answer_is_worth_another() {
        assert_eq!(said(b"", true), None);
        assert_eq!(said(b"HTTP/1.1 20", true), None);
    }
}
