//! A health check over HTTP/2: a GET, or gRPC's own (`grpc.health.v1.Health/Check`).

use super::{Verdict, judge};
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::header::{CONTENT_TYPE, HeaderMap, TE, USER_AGENT};
use http::uri::Scheme;
use http::{Method, Request, Response, Uri, Version};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

/// Bytes of a head that are looked at.
const HEAD_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of an answer of gRPC that are looked at: its message has four at the most.
const MESSAGE_BYTES_MAX: usize = 256;
/// A flag and a length stand before every message of gRPC.
const PREFIX_BYTES: usize = 5;
/// `SERVING` in `grpc.health.v1.HealthCheckResponse`.
const SERVING: u64 = 1;

/// What is asked, and what counts as good.
#[derive(Debug, Clone)]
pub(super) struct Http2 {
    uri: Uri,
    wants: Wants,
}

#[derive(Debug, Clone)]
enum Wants {
    Status(Vec<(u16, u16)>),
    Serving(String),
}

/// An answer of gRPC.
struct Answer {
    status: Option<String>,
    message: BytesMut,
}

impl Http2 {
    /// A GET of this path.
    pub fn get(path: &str, scheme: &Scheme, host: &str, expected: Vec<(u16, u16)>) -> Self {
        Self { uri: uri(path, scheme, host), wants: Wants::Status(expected) }
    }

    /// Whether a service of gRPC is serving; the empty name is the whole server's.
    pub fn grpc(service: &str, scheme: &Scheme, host: &str) -> Self {
        let uri = uri("/grpc.health.v1.Health/Check", scheme, host);
        Self { uri, wants: Wants::Serving(service.to_owned()) }
    }

    /// Asks, over a connection of its own.
    pub async fn ask(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<Verdict> {
        let start = Instant::now();
        let mut builder = h2::client::Builder::new();
        builder.enable_push(false).max_header_list_size(HEAD_BYTES_MAX);
        let (sender, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
        let outcome = tokio::select! {
            biased;
            outcome = self.exchange(sender, start) => outcome,
            _ = connection => return Ok(no_answer()),
        };
        Ok(outcome.unwrap_or_else(|_| no_answer()))
    }

    async fn exchange(
        &self,
        sender: h2::client::SendRequest<Bytes>,
        start: Instant,
    ) -> Result<Verdict, h2::Error> {
        let mut sender = sender.ready().await?;
        let mut request = Request::new(());
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri.clone();
        let fields = request.headers_mut();
        fields.insert(
            USER_AGENT,
            http::HeaderValue::from_static(concat!("steelyard/", env!("CARGO_PKG_VERSION"))),
        );
        match &self.wants {
            Wants::Status(expected) => {
                let (response, _) = sender.send_request(request, true)?;
                let status = response.await?.status().as_u16();
                Ok(judge(status, expected, start.elapsed()))
            }
            Wants::Serving(service) => {
                fields.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/grpc"));
                fields.insert(TE, http::HeaderValue::from_static("trailers"));
                *request.method_mut() = Method::POST;
                let (response, mut body) = sender.send_request(request, false)?;
                body.send_data(message(service), true)?;
                let answer = Answer::read(response.await?).await?;
                Ok(answer.judge(start.elapsed()))
            }
        }
    }
}

impl Answer {
    async fn read(response: Response<RecvStream>) -> Result<Self, h2::Error> {
        let status = |fields: &HeaderMap| {
            fields.get("grpc-status").and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        // What has no message has its status in the head.
        let mut answer = Self { status: status(response.headers()), message: BytesMut::new() };
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            let data = data?;
            let room = MESSAGE_BYTES_MAX.saturating_sub(answer.message.len());
            answer.message.extend_from_slice(&data[..data.len().min(room)]);
            body.flow_control().release_capacity(data.len())?;
        }
        if let Some(trailers) = body.trailers().await? {
            answer.status = status(&trailers).or(answer.status);
        }
        Ok(answer)
    }

    fn judge(&self, took: Duration) -> Verdict {
        match self.status.as_deref() {
            Some("0") => {}
            Some("5") => return Verdict::Bad("does not know the service (gRPC status 5)".to_owned()),
            Some("12") => return Verdict::Bad("has no gRPC health check (gRPC status 12)".to_owned()),
            Some(status) => return Verdict::Bad(format!("gRPC status {}", short(status))),
            None => return Verdict::Bad("no gRPC answer".to_owned()),
        }
        match serving_status(self.message.get(PREFIX_BYTES..).unwrap_or_default()) {
            Some(SERVING) => Verdict::Good(format!("SERVING in {}", super::Span(took))),
            Some(2) => Verdict::Bad("NOT_SERVING".to_owned()),
            Some(3) => Verdict::Bad("SERVICE_UNKNOWN".to_owned()),
            _ => Verdict::Bad("neither SERVING nor NOT_SERVING".to_owned()),
        }
    }
}

fn no_answer() -> Verdict {
    Verdict::Bad("no HTTP/2 answer".to_owned())
}

/// A status as it is shown: it comes from outside.
fn short(status: &str) -> &str {
    if status.len() <= 3 && status.bytes().all(|byte| byte.is_ascii_digit()) { status } else { "unknown" }
}

/// What was configured was checked; a host that is no authority for HTTP/2 is left out.
pub(in crate::control) fn uri(path: &str, scheme: &Scheme, host: &str) -> Uri {
    let with = |host| Uri::builder().scheme(scheme.clone()).authority(host).path_and_query(path).build();
    with(host).or_else(|_| with("localhost")).unwrap_or_default()
}

/// A `HealthCheckRequest`, in the form of gRPC: a flag, a length, and the one field of the message.
fn message(service: &str) -> Bytes {
    let mut field = BytesMut::new();
    if !service.is_empty() {
        // Field 1, of a length.
        field.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            field.put_u8(length as u8 | 0x80);
            length >>= 7;
        }
        field.put_u8(length as u8);
        field.put_slice(service.as_bytes());
    }
    let mut whole = BytesMut::with_capacity(PREFIX_BYTES + field.len());
    whole.put_u8(0);
    whole.put_u32(field.len() as u32);
    whole.put_slice(&field);
    whole.freeze()
}

/// Field 1 of a `HealthCheckResponse`, a number; what is not there is 0. `None` where there is something else.
fn serving_status(message: &[u8]) -> Option<u64> {
    match message {
        [] => Some(0),
        [0x08, status, ..] if *status < 0x80 => Some(u64::from(*status)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: Option<&str>, message: &[u8]) -> Verdict {
        Answer { status: status.map(str::to_owned), message: message.into() }.judge(Duration::from_millis(2))
    }

    fn bad(said: &str) -> Verdict {
        Verdict::Bad(said.to_owned())
    }

    #[test]
    fn a_question_is_the_name_of_a_service() {
        assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&message("app")[..], b"\0\0\0\0\x05\x0a\x03app");
        let long = "x".repeat(300);
        assert_eq!(&message(&long)[..8], [0, 0, 0, 1, 0x2f, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn only_serving_is_good() {
        assert_eq!(answer(Some("0"), b"\0\0\0\0\x02\x08\x01"), Verdict::Good("SERVING in 2 ms".to_owned()));
        assert_eq!(answer(Some("0"), b"\0\0\0\0\x02\x08\x02"), bad("NOT_SERVING"));
        assert_eq!(answer(Some("0"), b"\0\0\0\0\x02\x08\x03"), bad("SERVICE_UNKNOWN"));
        assert_eq!(answer(Some("0"), b"\0\0\0\0\0"), bad("neither SERVING nor NOT_SERVING"));
        assert_eq!(answer(Some("0"), b"nonsense"), bad("neither SERVING nor NOT_SERVING"));
        assert_eq!(answer(None, b"\0\0\0\0\x02\x08\x01"), bad("no gRPC answer"));
        assert_eq!(answer(Some("5"), b""), bad("does not know the service (gRPC status 5)"));
        assert_eq!(answer(Some("12"), b""), bad("has no gRPC health check (gRPC status 12)"));
        assert_eq!(answer(Some("14"), b""), bad("gRPC status 14"));
        assert_eq!(answer(Some("<script>"), b""), bad("gRPC status unknown"));
    }
}
