//! Answers that an ordinary server would not give, or not at that moment.

use std::io;
use std::time::Duration;

use crate::behaviour::Behaviour;
use crate::exchange::{After, Ends, Exchange};
use crate::head::{self, Method};

/// How much longer than what is sent a body cut short was to be.
const MISSING_BYTES: u64 = 1000;

impl Exchange<'_> {
    pub(crate) async fn misbehave(&mut self, behaviour: Behaviour) -> io::Result<After> {
        match behaviour {
            Behaviour::Reset => Ok(After::Reset),
            Behaviour::ResetAfter(bytes) => self.cut(bytes, After::Reset).await,
            Behaviour::Short(bytes) => self.cut(bytes, After::Close).await,
            Behaviour::Hang => Err(self.wire.gone().await),
            Behaviour::Drip { count, pause } => self.drip(count, pause).await,
            Behaviour::Garbage => {
                self.receive().await?;
                self.wire.output.extend_from_slice(b"\x00\xff this is no answer\r\n\r\n");
                Ok(After::Close)
            }
            Behaviour::Raw { keep } => self.repeat(keep).await,
            Behaviour::Early { close } => self.early(close).await,
            Behaviour::Continue => self.after_interim(b"HTTP/1.1 100 Continue\r\n\r\n").await,
            Behaviour::Hints => {
                let hints = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n";
                self.after_interim(hints).await
            }
            Behaviour::Upgrade(protocol) => self.upgrade(protocol).await,
            Behaviour::KeepaliveTimeout(seconds) => {
                self.receive().await?;
                let shared = self.shared;
                self.text(200, &[("keep-alive", &format!("timeout={seconds}"))], &shared.page);
                Ok(After::KeepFor(Duration::from_secs(seconds)))
            }
            Behaviour::Close { silent } => {
                self.receive().await?;
                self.head.keep_alive = silent;
                self.page(self.shared.status);
                Ok(After::Close)
            }
            // The rest is ordinary and was answered before.
            _ => Ok(self.page(500)),
        }
    }

    async fn cut(&mut self, bytes: u64, after: After) -> io::Result<After> {
        self.receive().await?;
        self.begin(200, &[], Ends::Length(bytes + MISSING_BYTES));
        if self.head.method != Method::Head {
            self.alphabet(bytes).await?;
        }
        self.wire.flush().await?;
        Ok(after)
    }

    async fn drip(&mut self, count: u64, pause: Duration) -> io::Result<After> {
        self.receive().await?;
        self.begin(200, &[], Ends::Length(count));
        if self.head.method != Method::Head {
            for _ in 0..count {
                self.wire.pause(pause).await?;
                self.wire.output.push(b'.');
                self.wire.flush().await?;
            }
        }
        Ok(self.after())
    }

    /// Sends the request's query or body as the answer, head and all.
    async fn repeat(&mut self, keep: bool) -> io::Result<After> {
        let query = head::with_request(self.raw(), |_, request| {
            Ok(request.path.and_then(|path| path.split_once('?')).map(|(_, query)| percent_decoded(query)))
        });
        let (mut piece, mut answer) = (Vec::new(), query.ok().flatten().flatten().unwrap_or_default());
        while self.body.read(self.wire, &mut piece).await? {
            answer.extend_from_slice(&piece);
        }
        self.wire.output.extend_from_slice(&answer);
        Ok(if keep { After::Keep } else { After::Close })
    }

    async fn early(&mut self, close: bool) -> io::Result<After> {
        // Whoever still waits for a 100 gets its final answer instead, and sends no body: the connection ends.
        let awaited = self.head.expects_continue && !self.body.is_done() && self.wire.input().is_empty();
        self.head.keep_alive &= !close && !awaited;
        let after = self.page(self.shared.status);
        self.wire.flush().await?;
        if !close && !awaited {
            self.body.drain(self.wire).await?;
        }
        Ok(after)
    }

    async fn after_interim(&mut self, interim: &[u8]) -> io::Result<After> {
        if self.head.minor == 1 {
            self.wire.output.extend_from_slice(interim);
            self.wire.flush().await?;
            self.head.expects_continue &= !interim.starts_with(b"HTTP/1.1 100");
        }
        self.receive().await?;
        Ok(self.page(self.shared.status))
    }

    async fn upgrade(&mut self, protocol: Option<String>) -> io::Result<After> {
        self.receive().await?;
        if protocol.is_none() && !self.head.asks_echo {
            let fields = [("upgrade", "echo"), ("connection", "upgrade")];
            return Ok(self.text(426, &fields, b"ask for the protocol echo"));
        }
        let protocol = protocol.as_deref().unwrap_or("echo");
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nx-origin: {}\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n",
            self.shared.name
        );
        self.wire.output.extend_from_slice(head.as_bytes());
        Ok(After::Echo)
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| (*byte as char).to_digit(16));
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::percent_decoded;

    #[test]
    fn percent_signs_are_decoded_where_they_encode() {
        assert_eq!(percent_decoded("a%20b%0d%0A%zz%"), b"a b\r\n%zz%");
    }
}
