//! Questions for loads over HTTP/2: each is a stream, over one connection for all.

use super::Stream;
use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use http::header::{ACCEPT, HeaderValue, USER_AGENT};
use http::{Request, Uri, Version};
use std::io;
use steelyard_core::report::{REPORT_BYTES_MAX, REPORT_FIELD, Report};
use tokio::task::JoinHandle;

/// Bytes of a head that are looked at.
const HEAD_BYTES_MAX: u32 = 16 * 1024;

/// A connection. It ends with this.
#[derive(Debug)]
pub(in crate::control) struct Streams {
    sender: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Streams {
    /// Begins HTTP/2. Must be called within the runtime.
    pub async fn begin(stream: Box<dyn Stream>) -> io::Result<Self> {
        let mut builder = Builder::new();
        builder.enable_push(false).max_header_list_size(HEAD_BYTES_MAX);
        let (sender, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
        // How it ends is heard from the questions on it.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, driver })
    }

    /// Asks; says what the endpoint reports and whether the connection can be used again. An error is a connection that
    /// ended before any answer.
    pub async fn ask(&self, uri: Uri) -> Result<(Option<Report>, bool), h2::Error> {
        match self.report(uri).await {
            Ok(report) => Ok((report, true)),
            // It says nothing of the connection.
            Err(error) if error.is_reset() => Ok((None, true)),
            Err(error) => Err(error),
        }
    }

    async fn report(&self, uri: Uri) -> Result<Option<Report>, h2::Error> {
        let mut request = Request::new(());
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = uri;
        let agent = HeaderValue::from_static(concat!("steelyard/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("*/*"));
        let mut sender = self.sender.clone().ready().await?;
        let (response, _) = sender.send_request(request, true)?;
        let response = response.await?;
        if response.status() != 200 {
            return Ok(None);
        }
        let field = response.headers().get(REPORT_FIELD).and_then(|value| value.to_str().ok());
        if let Some(report) = field.and_then(Report::from_field) {
            return Ok(Some(report));
        }
        let body = read(response.into_body()).await?;
        Ok(body.and_then(|body| Report::from_json(&body)))
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A body; `None` where it is too large for a report.
async fn read(mut body: RecvStream) -> Result<Option<BytesMut>, h2::Error> {
    let mut bytes = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        if bytes.len() + data.len() > REPORT_BYTES_MAX {
            return Ok(None);
        }
        bytes.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(Some(bytes))
}
