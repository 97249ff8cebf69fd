//! One connection: request after request until somebody ends it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::exchange::{After, Exchange};
use crate::head::{Bad, Head};
use crate::shared::{Counts, Shared};
use crate::wire::Wire;

/// Serves one connection to its end.
pub(crate) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let wire = Wire::new(stream, Arc::clone(&shared));
    // An error here is the client's leaving; what it cut short has been counted.
    let _ = requests(wire, &shared).await;
}

async fn requests(mut wire: Wire, shared: &Shared) -> io::Result<()> {
    let mut idle_timeout = shared.idle_timeout;
    for served in 0u64.. {
        let head = match next_head(&mut wire, idle_timeout).await? {
            Next::Request(head) => head,
            Next::End => return Ok(()),
            Next::Bad(why) => return refuse(wire, shared, why).await,
        };
        let result = Exchange::new(&mut wire, shared, head, served).run().await;
        match result {
            Ok(After::Keep) => {}
            Ok(After::KeepFor(time)) => idle_timeout = time,
            Ok(After::Close) => return wire.close().await,
            Ok(After::Reset) => {
                wire.reset();
                return Ok(());
            }
            Ok(After::Echo) => return wire.echo().await,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return refuse(wire, shared, "malformed body").await;
            }
            Err(error) => {
                Counts::add(&shared.counts.aborted);
                return Err(error);
            }
        }
    }
    Ok(())
}

enum Next {
    Request(Head),
    Bad(Bad),
    End,
}

async fn next_head(wire: &mut Wire, idle_timeout: Duration) -> io::Result<Next> {
    loop {
        if !wire.input().is_empty() {
            match Head::parse(wire.input()) {
                Ok(Some(head)) => return Ok(Next::Request(head)),
                Ok(None) => {}
                Err(why) => return Ok(Next::Bad(why)),
            }
        }
        let more = if idle_timeout.is_zero() {
            wire.fill().await
        } else {
            tokio::time::timeout(idle_timeout, wire.fill()).await.unwrap_or(Ok(false))
        };
        match more {
            Ok(true) => {}
            Ok(false) => return Ok(Next::End),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Ok(Next::Bad("head too long"));
            }
            Err(error) => return Err(error),
        }
    }
}

async fn refuse(mut wire: Wire, shared: &Shared, why: Bad) -> io::Result<()> {
    Counts::add(&shared.counts.bad_requests);
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\nx-origin: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{why}",
        shared.name,
        why.len()
    );
    wire.output.extend_from_slice(head.as_bytes());
    wire.close().await
}
