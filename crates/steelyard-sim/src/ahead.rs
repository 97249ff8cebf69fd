//! Numbers drawn ahead of their use, since a processor draws many at once faster than one at a time.

use std::array;

/// How many are drawn at once.
const COUNT: usize = 64;

/// The next values of something that nothing else draws from: they are the same as if each were drawn when it is used.
#[derive(Debug)]
pub(crate) struct Ahead<T> {
    values: [T; COUNT],
    next: usize,
}

impl<T: Copy + Default> Default for Ahead<T> {
    fn default() -> Self {
        Self { values: array::from_fn(|_| T::default()), next: COUNT }
    }
}

impl<T: Copy> Ahead<T> {
    /// The next value; `fill` draws those behind it where none is left.
    #[inline]
    pub fn next(&mut self, fill: impl FnOnce(&mut [T; COUNT])) -> T {
        if self.next == COUNT {
            fill(&mut self.values);
            self.next = 0;
        }
        let value = self.values[self.next];
        self.next += 1;
        value
    }
}
