//! A single request, so that somebody can see what a proxy makes of it and what TLS was agreed upon.

use std::io;

use serde::Serialize;

use crate::client::{Client, Inbox, READ_BYTES, Way};
use crate::idle::await_answer;
use crate::tls::{Negotiated, Tls};

/// What came of it.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are the definitions")]
pub struct Answer {
    pub body: String,
    pub tls: Option<Negotiated>,
}

/// Makes two requests, one after the other and each on a connection of its own, and gives the first answer;
/// the second shows whether a session is resumed.
pub fn ask(way: &Way, request: &[u8]) -> io::Result<Answer> {
    let body = answer(way, request)?;
    if way.tls.is_some() {
        answer(way, request)?;
    }
    Ok(Answer {
        body: String::from_utf8_lossy(&body).into_owned(),
        tls: way.tls.as_ref().map(Tls::negotiated),
    })
}

fn answer(way: &Way, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut inbox = Inbox { bodies: Some(Vec::new()), ..Inbox::default() };
    let mut client = Client::connect(way)?;
    client.ask(0, request);
    client.flush()?;
    await_answer(&mut client, way, &mut vec![0; READ_BYTES], &mut inbox)?;
    Ok(inbox.bodies.unwrap_or_default())
}
