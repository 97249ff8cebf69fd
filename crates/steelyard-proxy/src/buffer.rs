//! Read buffers, lent by each worker to whoever has a request in progress. Idle connections hold none.

use std::cell::RefCell;
use std::rc::Rc;

/// The size of one buffer; a longer head makes it grow, and it is then not kept.
pub const BUFFER_BYTES: usize = 16 * 1024;
/// Buffers that a worker keeps for reuse.
const KEPT_MAX: usize = 256;

/// A worker's free buffers, newest first so that the next request finds a warm one.
#[derive(Debug, Clone)]
pub struct Buffers(Rc<Shelf>);

#[derive(Debug)]
struct Shelf {
    /// The size of each.
    bytes: usize,
    free: RefCell<Vec<Vec<u8>>>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self::of(BUFFER_BYTES)
    }
}

impl Buffers {
    /// Buffers of another size.
    pub fn of(bytes: usize) -> Self {
        Self(Rc::new(Shelf { bytes, free: RefCell::default() }))
    }

    /// Lends an empty buffer.
    pub fn lend(&self) -> Buffer {
        let bytes = self.0.free.borrow_mut().pop().unwrap_or_else(|| vec![0; self.0.bytes]);
        Buffer { bytes, start: 0, end: 0, home: self.clone() }
    }
}

/// A lent buffer; what was read and not yet consumed is `start..end`.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    home: Buffers,
}

impl Buffer {
    /// What was read and not yet consumed.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The same, to be changed in its place.
    pub fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Everything from the first byte that is still kept.
    pub fn whole(&self) -> &[u8] {
        &self.bytes[..self.end]
    }

    /// Where unread bytes begin.
    pub fn position(&self) -> usize {
        self.start
    }

    /// Marks bytes as read. They stay in place until [`Buffer::forget`].
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start, "only what was read can be consumed");
        self.start += count;
    }

    /// Drops everything before the unread bytes, which move to the front.
    pub fn forget(&mut self) {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }

    /// Makes the region after `kept` free again once all of it was consumed.
    pub fn rewind(&mut self, kept: usize) {
        if self.start == self.end && self.start > kept {
            self.start = kept;
            self.end = kept;
        }
    }

    /// Moves the unread bytes down to `kept`, over what was consumed behind it.
    pub fn compact(&mut self, kept: usize) {
        if self.start > kept {
            self.bytes.copy_within(self.start..self.end, kept);
            self.end -= self.start - kept;
            self.start = kept;
        }
    }

    /// Room to read into.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// Counts bytes that were read into the room.
    pub fn filled(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.bytes.len(), "a read stays within the room");
    }

    /// Grows so that at least one more byte fits.
    pub fn grow(&mut self) {
        let size = self.bytes.len() * 2;
        self.bytes.resize(size, 0);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.home.0.free.borrow_mut();
        if self.bytes.len() == self.home.0.bytes && free.len() < KEPT_MAX {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}
