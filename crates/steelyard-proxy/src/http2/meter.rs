//! How much a peer asks for beside what it is for: frames that carry no content cost it, bytes that are carried earn.
//!
//! `h2` bounds what streams, header blocks and buffered frames may take. It answers every PING and SETTINGS though, and
//! looks at every PRIORITY and every update of a window, however many there are (CVE-2019-9512, 9513, 9515). Frame heads are read
//! from the bytes as they come in, since `h2` does not tell of them.

use super::PREFACE;
use crate::account::Account;
use steelyard_core::time::Nanos;

/// What one frame costs, in bytes carried: more than the answer to a PING earns, less than a small response.
const FRAME_COST: u64 = 32;
/// Length, kind, flags and stream (RFC 9113 section 4.1).
const HEAD_BYTES: usize = 9;
const KIND_DATA: u8 = 0;
const KIND_HEADERS: u8 = 1;
const KIND_SETTINGS: u8 = 4;
const KIND_GOAWAY: u8 = 7;
/// Bytes of the last stream that a GOAWAY names, at its beginning.
const LAST_BYTES: usize = 4;

/// Reads frame heads, and keeps the account.
#[derive(Debug)]
pub(super) struct Meter {
    /// Bytes that belong to no frame, or to the payload of one that was counted.
    skip: usize,
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    account: Account,
    /// Whether the peer has said what it may be asked.
    settings: bool,
    /// The last stream that the peer looks at, once it has said that it ends the connection.
    last: Option<u32>,
    /// Bytes of that which are still to come.
    last_bytes: usize,
}

impl Meter {
    /// A meter for a peer that may send so many frames without content at once. `preface` says whether it is a client,
    /// whose first bytes are no frame.
    pub fn new(frames_max: u32, preface: bool) -> Self {
        Self {
            skip: if preface { PREFACE.len() } else { 0 },
            head: [0; HEAD_BYTES],
            head_bytes: 0,
            account: Account::new(u64::from(frames_max) * FRAME_COST),
            settings: false,
            last: None,
            last_bytes: 0,
        }
    }

    /// Looks at bytes that the peer has sent.
    pub fn take_in(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let count = self.skip.min(bytes.len());
                self.skip -= count;
                self.read_last(&bytes[..count]);
                bytes = &bytes[count..];
                continue;
            }
            let count = (HEAD_BYTES - self.head_bytes).min(bytes.len());
            self.head[self.head_bytes..self.head_bytes + count].copy_from_slice(&bytes[..count]);
            self.head_bytes += count;
            bytes = &bytes[count..];
            if self.head_bytes == HEAD_BYTES {
                self.head_bytes = 0;
                self.count();
            }
        }
    }

    /// Counts the frame whose head has come.
    fn count(&mut self) {
        let [a, b, c, kind, ..] = self.head;
        self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        match kind {
            // Streams and empty DATA frames are counted elsewhere.
            KIND_DATA => self.account.earn(self.skip as u64),
            KIND_HEADERS => {}
            KIND_SETTINGS if !self.settings => self.settings = true,
            kind => {
                if kind == KIND_GOAWAY {
                    self.last = Some(0);
                    self.last_bytes = LAST_BYTES.min(self.skip);
                }
                self.account.spend(FRAME_COST);
            }
        }
    }

    /// Reads what of a payload is the last stream of a GOAWAY.
    fn read_last(&mut self, payload: &[u8]) {
        let count = self.last_bytes.min(payload.len());
        self.last_bytes -= count;
        for &byte in &payload[..count] {
            self.last = self.last.map(|last| last << 8 | u32::from(byte));
        }
    }

    /// The last stream that the peer looks at, if it has said that it ends the connection; 0 where it looks at none.
    pub fn last_stream(&self) -> Option<u32> {
        self.last.filter(|_| self.last_bytes == 0)
    }

    /// Whether the peer has said what it may be asked, which is the first that it says.
    pub fn has_settings(&self) -> bool {
        self.settings
    }

    /// Counts bytes that were sent to the peer.
    pub fn earn(&mut self, bytes: usize) {
        self.account.earn(bytes as u64);
    }

    /// Whether the peer has asked for too much.
    pub fn is_exhausted(&self) -> bool {
        self.account.is_exhausted()
    }

    /// Gives back what has come back with time.
    pub fn recover(&mut self, now: Nanos) {
        self.account.recover(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let [.., a, b, c] = (payload as u32).to_be_bytes();
        let mut frame = vec![a, b, c, kind, 0, 0, 0, 0, 0];
        frame.resize(HEAD_BYTES + payload, 0xff);
        frame
    }

    #[test]
    fn the_last_stream_is_read_however_its_bytes_come() {
        for step in 1..40 {
            let mut meter = Meter::new(9, false);
            let mut goaway = frame(KIND_GOAWAY, 8);
            goaway[HEAD_BYTES..HEAD_BYTES + LAST_BYTES].copy_from_slice(&[0, 1, 2, 3]);
            let bytes = [frame(KIND_HEADERS, 30), goaway, frame(KIND_HEADERS, 30)].concat();
            meter.take_in(&bytes[..39 + HEAD_BYTES + 3]);
            assert_eq!(meter.last_stream(), None);
            bytes[39 + HEAD_BYTES + 3..].chunks(step).for_each(|chunk| meter.take_in(chunk));
            assert_eq!(meter.last_stream(), Some(0x01_0203));
        }
    }

    #[test]
    fn frames_are_found_however_their_bytes_come() {
        const PING: u8 = 6;
        for step in 1..40 {
            let mut meter = Meter::new(4, true);
            let mut bytes = PREFACE.to_vec();
            for _ in 0..3 {
                bytes.extend(frame(PING, 8));
            }
            bytes.extend(frame(KIND_HEADERS, 100));
            bytes.chunks(step).for_each(|chunk| meter.take_in(chunk));
            assert!(!meter.is_exhausted(), "three of four, {step} bytes at a time");
            frame(PING, 8).chunks(step).for_each(|chunk| meter.take_in(chunk));
            assert!(meter.is_exhausted(), "four of four, {step} bytes at a time");
        }
    }

    #[test]
    fn what_is_carried_earns() {
        let mut meter = Meter::new(2, false);
        for _ in 0..100 {
            meter.take_in(&frame(8, 4));
            meter.earn(FRAME_COST as usize);
            meter.take_in(&frame(8, 4));
            meter.take_in(&frame(KIND_DATA, FRAME_COST as usize));
            assert!(!meter.is_exhausted());
        }
    }

    #[test]
    fn answers_to_pings_do_not_earn_the_next_ones() {
        let mut meter = Meter::new(100, false);
        for _ in 0..300 {
            meter.take_in(&frame(6, 8));
            meter.earn(HEAD_BYTES + 8);
        }
        assert!(meter.is_exhausted());
    }

    #[test]
    fn time_gives_back() {
        let mut meter = Meter::new(60, false);
        meter.recover(Nanos::from_millis(1_000));
        (0..59).for_each(|_| meter.take_in(&frame(6, 8)));
        meter.recover(Nanos::from_millis(3_000));
        meter.take_in(&frame(6, 8));
        meter.take_in(&frame(6, 8));
        assert!(!meter.is_exhausted(), "two of the three that are there after two seconds");
        meter.take_in(&frame(6, 8));
        assert!(meter.is_exhausted());
        meter.recover(Nanos::from_millis(60_000));
        assert!(meter.is_exhausted(), "for good");
    }
}
