//! The client's side of HTTP/2: as much of RFC 9113 as GET requests and their answers need.
//!
//! The header block of a request is the same each time, so it is written once by hand: its fields go into the
//! server's dynamic table with the first request and are named by number from then on, as a browser does it.
//! Of a response's block only the status is read, which comes first and is in the static table.

use std::io;

use crate::client::{HOST, Inbox, USER_AGENT, unexpected};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;
/// No peer may send longer frames, since the client does not allow any.
const FRAME_BYTES_MAX: usize = 16_384;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 30;
/// Bytes after which the connection's window is filled up again.
const REFILL_AT: u32 = 1 << 20;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const WITH_PRIORITY: u8 = 0x20;

const SETTING_TABLE_SIZE: u16 = 1;
const SETTING_ENABLE_PUSH: u16 = 2;
const SETTING_STREAM_WINDOW: u16 = 4;
const TABLE_BYTES: u32 = 4096;

/// One connection's streams.
pub struct Http2 {
    path: Vec<u8>,
    scheme: u8,
    next_stream: u32,
    /// Streams that have no whole answer yet, and when each was due.
    open: Vec<(u32, u64)>,
    partial: Vec<u8>,
    consumed: u32,
}

impl Http2 {
    /// Appends what a connection begins with.
    pub fn begin(path: &str, is_tls: bool, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(PREFACE);
        let mut settings = Vec::new();
        for (setting, value) in [(SETTING_ENABLE_PUSH, 0), (SETTING_STREAM_WINDOW, STREAM_WINDOW)] {
            settings.extend_from_slice(&setting.to_be_bytes());
            settings.extend_from_slice(&u32::to_be_bytes(value));
        }
        frame(SETTINGS, 0, 0, &settings, out);
        frame(WINDOW_UPDATE, 0, 0, &CONNECTION_WINDOW.to_be_bytes(), out);
        Self {
            path: path.as_bytes().to_vec(),
            // `:scheme` http or https, of the static table.
            scheme: if is_tls { 0x87 } else { 0x86 },
            next_stream: 1,
            open: Vec::new(),
            partial: Vec::new(),
            consumed: 0,
        }
    }

    /// Appends a request that was due at a moment of the run.
    pub fn ask(&mut self, due: u64, out: &mut Vec<u8>) {
        // `:method` GET of the static table.
        let mut block = vec![0x82, self.scheme];
        if self.path == b"/" {
            block.push(0x84);
        } else {
            // `:path`, kept out of the table.
            block.push(0x04);
            string(&self.path, &mut block);
        }
        if self.next_stream == 1 {
            // `:authority`, `user-agent` and `accept`, each put into the table.
            for (name, value) in [(0x41, HOST), (0x7a, USER_AGENT), (0x53, "*/*")] {
                block.push(name);
                string(value.as_bytes(), &mut block);
            }
        } else {
            block.extend_from_slice(&[0xc0, 0xbf, 0xbe]);
        }
        frame(HEADERS, END_STREAM | END_HEADERS, self.next_stream, &block, out);
        self.open.push((self.next_stream, due));
        self.next_stream += 2;
    }

    /// Takes what came, and appends what must be said to it.
    pub fn feed(&mut self, bytes: &[u8], inbox: &mut Inbox, out: &mut Vec<u8>) -> io::Result<()> {
        if self.partial.is_empty() {
            let used = self.frames(bytes, inbox, out)?;
            self.partial.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        let used = self.frames(&whole, inbox, out)?;
        whole.drain(..used);
        self.partial = whole;
        Ok(())
    }

    /// Reads whole frames and says how many bytes they were.
    fn frames(&mut self, bytes: &[u8], inbox: &mut Inbox, out: &mut Vec<u8>) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some((head, after)) = rest.split_at_checked(FRAME_HEAD_BYTES) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            if length > FRAME_BYTES_MAX {
                return Err(unexpected("frame longer than allowed"));
            }
            let Some((payload, next)) = after.split_at_checked(length) else { break };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            self.frame(head[3], head[4], stream, payload, inbox, out)?;
            rest = next;
        }
        Ok(bytes.len() - rest.len())
    }

    fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        match kind {
            DATA | HEADERS if flags & PADDED != 0 => return Err(unexpected("padding")),
            DATA => {
                inbox.keep(payload);
                inbox.body_bytes += payload.len() as u64;
                self.refill(payload.len() as u32, out);
            }
            HEADERS => is_200(flags, payload)?,
            SETTINGS if flags & ACK == 0 => {
                check_settings(payload)?;
                frame(SETTINGS, ACK, 0, &[], out);
            }
            PING if flags & ACK == 0 => frame(PING, ACK, 0, payload, out),
            SETTINGS | PING | PRIORITY | WINDOW_UPDATE => {}
            _ => return Err(unexpected("a stream or the connection was given up")),
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            let at = self.open.iter().position(|(id, _)| *id == stream);
            let (_, due) = self.open.swap_remove(at.ok_or_else(|| unexpected("an answer nobody asked for"))?);
            inbox.answered.push(due);
        }
        Ok(())
    }

    fn refill(&mut self, came: u32, out: &mut Vec<u8>) {
        self.consumed += came;
        if self.consumed >= REFILL_AT {
            frame(WINDOW_UPDATE, 0, 0, &self.consumed.to_be_bytes(), out);
            self.consumed = 0;
        }
    }
}

fn is_200(flags: u8, payload: &[u8]) -> io::Result<()> {
    if flags & END_HEADERS == 0 || flags & WITH_PRIORITY != 0 {
        return Err(unexpected("head in several frames, or with a priority"));
    }
    match after_table_sizes(payload).first() {
        Some(0x88) => Ok(()),
        _ => Err(unexpected("status other than 200")),
    }
}

/// Changes of the table's size come before the first field.
fn after_table_sizes(block: &[u8]) -> &[u8] {
    let mut rest = block;
    while let [first, after @ ..] = rest
        && first & 0xe0 == 0x20
    {
        let more = if first & 0x1f == 0x1f {
            after.iter().position(|byte| byte & 0x80 == 0).map_or(after.len(), |at| at + 1)
        } else {
            0
        };
        rest = &after[more..];
    }
    rest
}

fn check_settings(payload: &[u8]) -> io::Result<()> {
    for setting in payload.chunks_exact(6) {
        let name = u16::from_be_bytes([setting[0], setting[1]]);
        let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
        if name == SETTING_TABLE_SIZE && value < TABLE_BYTES {
            return Err(unexpected("a smaller table than requests need"));
        }
    }
    Ok(())
}

/// Appends a string as it is, without Huffman's code.
fn string(bytes: &[u8], block: &mut Vec<u8>) {
    debug_assert!(bytes.len() < 127, "lengths of one byte only");
    block.push(bytes.len() as u8);
    block.extend_from_slice(bytes);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests;
