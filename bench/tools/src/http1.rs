//! The client's side of HTTP/1.1: one request at a time, and the end of each response.

use std::io;

use crate::client::{Inbox, unexpected};

const HEADERS_MAX: usize = 64;

/// One connection's exchange.
#[derive(Default)]
pub struct Http1 {
    /// The begin of a head that came in pieces; empty on the common path.
    partial: Vec<u8>,
    body_left: u64,
    /// When the request under way was due.
    due: u64,
}

impl Http1 {
    /// Appends a request that was due at a moment of the run.
    pub fn ask(&mut self, due: u64, request: &[u8], out: &mut Vec<u8>) {
        self.due = due;
        out.extend_from_slice(request);
    }

    /// Whether what comes next is a body that nobody needs to see.
    pub fn is_in_body(&self) -> bool {
        self.body_left > 0
    }

    /// Takes what came. Anything but a 200 on a connection that stays is an error.
    pub fn feed(&mut self, bytes: &[u8], inbox: &mut Inbox) -> io::Result<()> {
        if self.body_left > 0 {
            inbox.keep(bytes);
            return self.body(bytes.len() as u64, inbox);
        }
        if self.partial.is_empty() {
            return self.head(bytes, inbox);
        }
        self.partial.extend_from_slice(bytes);
        let whole = std::mem::take(&mut self.partial);
        self.head(&whole, inbox)
    }

    /// Takes so many bytes of a body.
    pub fn body(&mut self, came: u64, inbox: &mut Inbox) -> io::Result<()> {
        inbox.body_bytes += came;
        self.body_left =
            self.body_left.checked_sub(came).ok_or_else(|| unexpected("more than the response"))?;
        if self.body_left == 0 {
            inbox.answered.push(self.due);
        }
        Ok(())
    }

    fn head(&mut self, bytes: &[u8], inbox: &mut Inbox) -> io::Result<()> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(bytes) {
            Ok(httparse::Status::Complete(size)) => {
                self.body_left = body_length(&response)?;
                inbox.keep(&bytes[size..]);
                self.body((bytes.len() - size) as u64, inbox)
            }
            Ok(httparse::Status::Partial) => {
                self.partial.extend_from_slice(bytes);
                Ok(())
            }
            Err(_) => Err(unexpected("malformed response")),
        }
    }
}

fn body_length(response: &httparse::Response<'_, '_>) -> io::Result<u64> {
    if response.code != Some(200) {
        return Err(unexpected("status other than 200"));
    }
    let mut length = None;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = str::from_utf8(header.value).ok().and_then(|text| text.parse().ok());
        } else if header.name.eq_ignore_ascii_case("connection")
            && header.value.eq_ignore_ascii_case(b"close")
        {
            return Err(unexpected("connection not kept"));
        }
    }
    length.ok_or_else(|| unexpected("no content-length"))
}
