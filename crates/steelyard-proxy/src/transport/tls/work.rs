//! What the library asks for, step by step, and where content and records come from and go to.

use super::lend;
use crate::buffer::Buffer;
use rustls::Error;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus, WriteTraffic,
};

/// What is to be done after a step.
pub(super) enum Next {
    Again,
    Done,
    PeerClosed,
    Failed(Error),
}

/// Where content comes from and goes to.
pub(super) struct Work<'a> {
    pub room: &'a mut [u8],
    pub filled: usize,
    pub plain: &'a mut Option<Buffer>,
    pub outgoing: &'a mut Option<Buffer>,
    pub data: [&'a [u8]; 2],
}

impl Work<'_> {
    /// Does what the library asks for; says how many bytes of the records are done with.
    pub fn step<Data>(&mut self, status: UnbufferedStatus<'_, '_, Data>) -> (usize, Next) {
        let UnbufferedStatus { mut discard, state } = status;
        let next = match state {
            Err(error) => Next::Failed(error),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                let mut outcome = Next::Again;
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            self.take(record.payload);
                        }
                        Err(error) => outcome = Next::Failed(error),
                    }
                }
                outcome
            }
            Ok(ConnectionState::EncodeTlsData(mut message)) => {
                write(self.outgoing, |room| {
                    message.encode(room).map_err(|error| match error {
                        EncodeError::InsufficientSize(size) => Some(size),
                        EncodeError::AlreadyEncoded => None,
                    })
                });
                Next::Again
            }
            Ok(ConnectionState::TransmitTlsData(sent)) => {
                // It lies in a buffer of ours, which nothing overtakes.
                sent.done();
                Next::Again
            }
            Ok(ConnectionState::WriteTraffic(traffic)) => self.encrypt(traffic),
            Ok(ConnectionState::PeerClosed) => Next::PeerClosed,
            // Early data is not asked for.
            Ok(_) => Next::Done,
        };
        (discard, next)
    }

    fn take(&mut self, payload: &[u8]) {
        let free = &mut self.room[self.filled..];
        // Behind what nobody has read there is nothing to be read first.
        let count = if self.plain.is_some() { 0 } else { payload.len().min(free.len()) };
        free[..count].copy_from_slice(&payload[..count]);
        self.filled += count;
        if count < payload.len() {
            put(self.plain.get_or_insert_with(lend), &payload[count..]);
        }
    }

    fn encrypt<Data>(&mut self, mut traffic: WriteTraffic<'_, Data>) -> Next {
        for part in std::mem::take(&mut self.data) {
            if part.is_empty() {
                continue;
            }
            let written = write(self.outgoing, |room| {
                traffic.encrypt(part, room).map_err(|error| match error {
                    EncryptError::InsufficientSize(size) => Some(size),
                    EncryptError::EncryptExhausted => None,
                })
            });
            if !written {
                return Next::Failed(Error::EncryptError);
            }
        }
        Next::Done
    }
}

/// Writes behind what is to be sent; the room grows where it does not suffice. `false` where nothing can be written.
fn write(
    outgoing: &mut Option<Buffer>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> bool {
    let outgoing = outgoing.get_or_insert_with(lend);
    loop {
        match write(outgoing.room()) {
            Ok(count) => {
                outgoing.filled(count);
                return true;
            }
            Err(Some(_)) => outgoing.grow(),
            Err(None) => return false,
        }
    }
}

fn put(buffer: &mut Buffer, bytes: &[u8]) {
    while buffer.room().len() < bytes.len() {
        buffer.grow();
    }
    buffer.room()[..bytes.len()].copy_from_slice(bytes);
    buffer.filled(bytes.len());
}

/// Writes the word that nothing more comes, where one can be written.
pub(super) fn close_notify<Data>(status: UnbufferedStatus<'_, '_, Data>, outgoing: &mut Buffer) {
    if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state
        && let Ok(count) = traffic.queue_close_notify(outgoing.room())
    {
        outgoing.filled(count);
    }
}
