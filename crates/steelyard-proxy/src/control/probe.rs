//! One active health check: what is sent, what counts as good, and how it is told to people.

mod http2;

use crate::proxied;
use crate::tls::{PoolTls, Spoken};
use crate::transport::Insecure;
use http::uri::Scheme;
use http2::Http2;
pub(super) use http2::uri;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use steelyard_core::document::{self, Protocol, ProxyVersion};
use steelyard_core::endpoint::Address;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, UnixStream};
use tokio::time::{Instant, timeout};

/// Bytes of a response that are looked at.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Fields of a response that are looked at.
const FIELDS_MAX: usize = 100;

/// One check of one endpoint.
#[derive(Debug, Clone)]
pub struct Probe {
    address: Address,
    limit: Duration,
    question: Question,
    /// What is spoken where nothing else is agreed on.
    spoken: Spoken,
    /// TLS, and the name that the endpoint was configured with.
    tls: Option<(Arc<PoolTls>, String)>,
    /// The header of the PROXY protocol that comes before everything.
    header: Vec<u8>,
}

/// What is asked once there is a connection.
#[derive(Debug, Clone)]
enum Question {
    Nothing,
    /// One path, in whichever version is spoken.
    Path(Http, Http2),
    /// A service of gRPC.
    Service(Http2),
    /// What is sent in a datagram, without any connection.
    Datagram(Vec<u8>),
}

/// What an HTTP probe asks and expects.
#[derive(Debug, Clone)]
struct Http {
    request: Vec<u8>,
    expected: Vec<(u16, u16)>,
}

/// What a probe said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint is well.
    Good(String),
    /// It is not.
    Bad(String),
    /// Nothing was learnt: this process lacked what a probe needs.
    Ours(String),
}

/// What the bytes of a response say so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    /// Too little to tell.
    Partial,
    /// An interim response that ends here.
    Interim(usize),
    /// The answer.
    Status(u16),
    /// No HTTP.
    Nonsense,
}

impl Probe {
    /// The probe that a pool of this protocol prescribes for an endpoint, which was configured as `configured`.
    pub fn new(health: &document::Health, protocol: Protocol, address: Address, configured: &str) -> Self {
        let own = if configured.starts_with("unix:") { "localhost" } else { configured };
        let host = health.host.as_deref().unwrap_or(own);
        let expected = || health.expect_status.clone();
        let address = match (address, health.port) {
            (Address::Socket(address), Some(port)) => Address::Socket((address.ip(), port).into()),
            (address, _) => address,
        };
        let (spoken, scheme) = spoken_first(protocol);
        let question = match (&health.grpc, &health.path) {
            _ if health.udp.is_some() => {
                Question::Datagram(health.udp.as_deref().map(bytes).unwrap_or_default())
            }
            (Some(service), _) => Question::Service(Http2::grpc(service, &scheme, host)),
            (None, None) => Question::Nothing,
            (None, Some(path)) => Question::Path(
                Http { request: request(path, host), expected: expected() },
                Http2::get(path, &scheme, host, expected()),
            ),
        };
        Self {
            address,
            limit: Duration::from_millis(health.timeout_ms),
            question,
            spoken,
            tls: None,
            header: Vec::new(),
        }
    }

    /// The same over TLS, as the pool's requests go, to an endpoint that was configured as `configured`.
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

    /// Runs it; takes no longer than its limit.
    pub async fn run(self) -> Verdict {
        match timeout(self.limit, self.check()).await {
            Ok(verdict) => verdict,
            Err(_) => Verdict::Bad(format!("timed out after {}", Span(self.limit))),
        }
    }

    async fn check(&self) -> Verdict {
        let outcome = match &self.address {
            Address::Socket(address) if let Question::Datagram(bytes) = &self.question => {
                datagram(*address, bytes).await
            }
            Address::Socket(address) => match TcpStream::connect(address).await {
                Ok(stream) => self.secure(stream).await,
                Err(error) => Err(error),
            },
            Address::Unix(path) => match UnixStream::connect(path).await {
                Ok(stream) => self.secure(stream).await,
                Err(error) => Err(error),
            },
        };
        outcome.unwrap_or_else(|error| blame(&error))
    }

    async fn secure(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<Verdict> {
        if !self.header.is_empty() {
            stream.write_all(&self.header).await?;
        }
        let Some((tls, configured)) = &self.tls else { return self.ask(stream, self.spoken).await };
        match tls.connect(configured, stream).await {
            Ok((stream, spoken)) => self.ask(stream, spoken).await,
            Err(why) => {
                // How far it came is told by the verdict, each time that changes.
                tls.counts.fail();
                let insecure = why.get_ref().and_then(|inner| inner.downcast_ref::<Insecure>());
                Ok(Verdict::Bad(match insecure {
                    Some(Insecure::NoHttp2) => "does not agree on HTTP/2".to_owned(),
                    _ => format!("no TLS: {}", plain(&why)),
                }))
            }
        }
    }

    async fn ask(&self, stream: impl AsyncRead + AsyncWrite + Unpin, spoken: Spoken) -> io::Result<Verdict> {
        match (&self.question, spoken) {
            (Question::Nothing, _) if self.tls.is_some() => {
                Ok(Verdict::Good("connected over TLS".to_owned()))
            }
            (Question::Nothing | Question::Datagram(_), _) => Ok(Verdict::Good("connected".to_owned())),
            (Question::Path(http, _), Spoken::Http1) => http.ask(stream).await,
            (Question::Path(_, http) | Question::Service(http), Spoken::Http2) => http.ask(stream).await,
            (Question::Service(_), Spoken::Http1) => {
                Ok(Verdict::Bad("chose HTTP/1.1, and gRPC is spoken over HTTP/2".to_owned()))
            }
        }
    }
}

impl Http {
    async fn ask(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<Verdict> {
        let start = Instant::now();
        stream.write_all(&self.request).await?;
        let mut bytes = Vec::with_capacity(1024);
        loop {
            match parse(&bytes) {
                Head::Status(status) => return Ok(judge(status, &self.expected, start.elapsed())),
                Head::Interim(length) => drop(bytes.drain(..length)),
                Head::Nonsense => return Ok(no_answer()),
                Head::Partial if bytes.len() >= HEAD_BYTES_MAX => return Ok(no_answer()),
                Head::Partial => {
                    if stream.read_buf(&mut bytes).await? == 0 {
                        return Ok(no_answer());
                    }
                }
            }
        }
    }
}

/// Sends a datagram: any that comes back is an answer, whatever it says. Silence is none.
async fn datagram(address: SocketAddr, bytes: &[u8]) -> io::Result<Verdict> {
    let start = Instant::now();
    let here: SocketAddr =
        if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(here).await?;
    socket.connect(address).await?;
    socket.send(bytes).await?;
    // Of what comes only that it came is looked at.
    socket.recv(&mut [0; 1]).await?;
    Ok(Verdict::Good(format!("answered in {}", Span(start.elapsed()))))
}

/// The bytes that hexadecimal digits stand for; the configuration has been checked for others.
fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or_default(), 16);
    digits.map(|pair| byte(pair).unwrap_or_default()).collect()
}

/// What is spoken where nothing else is agreed on, and the scheme under which HTTP/2 is.
pub(super) fn spoken_first(protocol: Protocol) -> (Spoken, Scheme) {
    match protocol {
        Protocol::Http1 => (Spoken::Http1, Scheme::HTTP),
        Protocol::H2c => (Spoken::Http2, Scheme::HTTP),
        Protocol::H2 | Protocol::Auto => (Spoken::Http2, Scheme::HTTPS),
    }
}

/// What a status is worth.
fn judge(status: u16, expected: &[(u16, u16)], took: Duration) -> Verdict {
    if expected.iter().any(|(low, high)| (*low..=*high).contains(&status)) {
        return Verdict::Good(format!("{status} in {}", Span(took)));
    }
    let ranges = expected
        .iter()
        .map(|(low, high)| if low == high { low.to_string() } else { format!("{low}-{high}") });
    Verdict::Bad(format!("{status}, expected {}", ranges.collect::<Vec<_>>().join(", ")))
}

fn no_answer() -> Verdict {
    Verdict::Bad("no HTTP answer".to_owned())
}

fn request(path: &str, host: &str) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: steelyard/{version}\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    )
    .into_bytes()
}

fn parse(bytes: &[u8]) -> Head {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    match (response.parse(bytes), response.code) {
        (Ok(httparse::Status::Complete(length)), Some(100 | 102..=199)) => Head::Interim(length),
        (Ok(httparse::Status::Complete(_)), Some(status)) => Head::Status(status),
        (Ok(httparse::Status::Partial), _) => Head::Partial,
        _ => Head::Nonsense,
    }
}

/// Whose fault a failure is.
fn blame(error: &io::Error) -> Verdict {
    use rustix::io::Errno;
    let ours = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    if error.raw_os_error().is_some_and(|number| ours.iter().any(|errno| errno.raw_os_error() == number)) {
        return Verdict::Ours(error.to_string());
    }
    Verdict::Bad(match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset".to_owned(),
        io::ErrorKind::NotFound => "no such socket".to_owned(),
        _ => plain(error),
    })
}

/// An error in words for people.
fn plain(error: &io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// A span for people: whole seconds as such, else milliseconds.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            0 => f.write_str("less than 1 ms"),
            millis if millis >= 1000 && millis % 1000 == 0 => write!(f, "{} s", millis / 1000),
            millis => write!(f, "{millis} ms"),
        }
    }
}

#[cfg(test)]
mod tests;
